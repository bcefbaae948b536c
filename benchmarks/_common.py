"""Shared by the benchmarks: description of the machine, interleaved timing, clocks and measured processes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

Watched = tuple[str, Any, str]  # a label, and the function that it stands for: module or class, and attribute

_PACKAGES = ("cfa-lite", "numpy", "numba", "onnxruntime", "scipy", "pillow", "threadpoolctl", "scikit-learn")
_MIN_TIMED_SECONDS = 2e-3  # one timing covers enough calls to take this long, so that the clock does not matter

# The kernel counts the memory of the parent at the time of exec in the peak of a process. Therefore a small process in
# between starts the command and measures it, and the memory of the benchmark does not count.
_MEASURE = """
import json, os, subprocess, sys, time

start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
print(json.dumps([seconds, os.waitstatus_to_exitcode(status), usage.ru_maxrss]))
"""


def parser(doc: str) -> argparse.ArgumentParser:
    """Return an argument parser whose help is the docstring of the script."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def numbers(text: str) -> list[int]:
    """Parse "0,1,2" into [0, 1, 2] for argparse."""
    return [int(part) for part in text.split(",")]


def print_machine(n_threads: int | str) -> None:
    """Print what the results depend on: processor, versions and threads."""
    print(f"processor  {_processor()}, {_cores()} cores, {platform.system()} {platform.machine()}")
    print(f"python     {platform.python_version()}")
    print(f"packages   {', '.join(f'{name} {_version(name)}' for name in _PACKAGES)}")
    print(f"threads    {n_threads}", flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def in_turn(items: list[Any], call: Callable[[Any], object]) -> Callable[[], object]:
    """Return a function that calls `call` with the next of `items`, so that no image stays in the cache."""
    place = -1

    def next_one() -> object:
        nonlocal place
        place = (place + 1) % len(items)
        return call(items[place])

    return next_one


def interleaved(
    alternatives: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """Return the seconds per call (rounds,) of each alternative. The alternatives run in turn: A B C, A B C, ...

    A slow phase of the machine then slows all alternatives, and their ratio within a round stays the same. The clock
    ``time.thread_time`` leaves out the time of other processes; use it for work on one thread only.
    """
    calls = {}
    for name, call in alternatives.items():
        call()  # compiles, allocates and fills caches
        start = clock()
        call()
        calls[name] = max(1, int(np.ceil(_MIN_TIMED_SECONDS / (clock() - start))))
    seconds = {name: np.empty(rounds) for name in alternatives}
    for i in range(rounds):
        for name, call in alternatives.items():
            start = clock()
            for _ in range(calls[name]):
                call()
            seconds[name][i] = (clock() - start) / calls[name]
    return seconds


def ratio(of: np.ndarray, to: np.ndarray) -> str:
    """Return the median of the ratios over the rounds, with their 10th and 90th percentiles."""
    low, median, high = np.percentile(of / to, (10, 50, 90))
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def print_interleaved(title: str, seconds: dict[str, np.ndarray]) -> None:
    """Print the median of each alternative, and its ratio to the first alternative."""
    first = next(iter(seconds.values()))
    print(f"\n{title}")
    width = max(map(len, seconds))
    print(f"  {'':{width}s}  {'median':>11s}  times the first (10% to 90%)")
    for name, taken in seconds.items():
        print(f"  {name:{width}s}  {np.median(taken) * 1e3:8.3f} ms  {ratio(taken, first)}", flush=True)


class Clocks:
    """Measure the seconds of watched functions by label. Time in a nested watched function counts for that one only.

    Seconds in other threads than the one that made this object are divided by `n_threads`, their number. A context
    manager counts while it is entered and left; its body does not count.
    """

    def __init__(self, n_threads: int = 1):
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._n_threads, self._own = n_threads, threading.get_ident()
        self._lock, self._here = threading.Lock(), threading.local()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Measure the body of a ``with`` block."""
        outer, self._here.inner = getattr(self._here, "inner", 0.0), 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            share = 1 if threading.get_ident() == self._own else self._n_threads
            with self._lock:
                self.spent[name] += (seconds - self._here.inner) / share
            self._here.inner = outer + seconds

    def counted(self, call: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        """Return a function that does the same as `call` and is measured under the label `name_of(*args)`."""

        def run(*args: Any, **options: Any) -> Any:
            name = name_of(*args)
            with self.timing(name):
                result = call(*args, **options)
            return self._held(result, name) if isinstance(result, AbstractContextManager) else result

        return run

    @contextmanager
    def _held(self, block: AbstractContextManager[Any], name: str) -> Iterator[Any]:
        with self.timing(name):
            value = block.__enter__()
        try:
            yield value
        finally:
            with self.timing(name):
                block.__exit__(*sys.exc_info())

    @contextmanager
    def watching(self, table: Sequence[Watched]) -> Iterator[None]:
        """Measure all functions of a table during a ``with`` block."""
        found = [(owner, attribute, getattr(owner, attribute)) for _, owner, attribute in table]
        for (name, *_), (owner, attribute, call) in zip(table, found):
            setattr(owner, attribute, self.counted(call, lambda *_, name=name: name))
        try:
            yield
        finally:
            for owner, attribute, call in found:
                setattr(owner, attribute, call)


def check_table(table: Sequence[Watched]) -> None:
    """End the script if a function of a table no longer exists."""
    for name, owner, attribute in table:
        if not hasattr(owner, attribute):
            sys.exit(f"{name!r}: {owner.__name__} has no attribute {attribute}. Update the table of the script.")


def cfa_lite_command() -> str:
    """Return the path of the ``cfa-lite`` command that is installed with this interpreter."""
    return str(Path(sys.executable).parent / "cfa-lite")


def run_measured(command: Sequence[str | os.PathLike[str]]) -> tuple[float, float]:
    """Run a command. Return its seconds and its peak memory in MB (Linux and macOS only)."""
    command = [os.fspath(part) for part in command]
    measured = subprocess.run([sys.executable, "-c", _MEASURE, *command], capture_output=True, text=True)
    if measured.returncode:
        sys.exit(f"{' '.join(command)} cannot be started.\n{measured.stderr}")
    seconds, exit_code, peak = json.loads(measured.stdout)
    if exit_code:
        sys.exit(f"{' '.join(command)} failed with exit code {exit_code}.\n{measured.stderr}")
    return seconds, peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes on macOS, kB on Linux
