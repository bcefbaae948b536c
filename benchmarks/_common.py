"""What the benchmarks share: a description of the machine, a timer that interleaves, clocks, a measured process."""

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

Watched = tuple[str, Any, str]  # a name, and the module or class and the attribute that is its function

_PACKAGES = ("cfa-lite", "numpy", "numba", "onnxruntime", "scipy", "pillow", "threadpoolctl", "scikit-learn")
_MIN_TIMED_SECONDS = 2e-3  # a timing is of so many calls that it takes this long, or clock and caller would count

# The kernel counts what a process held before exec as its own peak, and that is its parent's memory. So a
# small process in between starts the command and measures it; a benchmark that holds images does not count.
_MEASURE = """
import json, os, subprocess, sys, time

start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
print(json.dumps([seconds, os.waitstatus_to_exitcode(status), usage.ru_maxrss]))
"""


def parser(doc: str) -> argparse.ArgumentParser:
    """An argument parser whose help is the script's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def numbers(text: str) -> list[int]:
    """For argparse: "0,1,2" -> [0, 1, 2]."""
    return [int(part) for part in text.split(",")]


def print_machine(n_threads: int | str) -> None:
    """Print what the numbers below it depend on."""
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
    """A function that calls `call` on the next of `items`, so that no image is always in the cache."""
    place = -1

    def next_one() -> object:
        nonlocal place
        place = (place + 1) % len(items)
        return call(items[place])

    return next_one


def interleaved(
    alternatives: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """Seconds a call (rounds,) of each alternative, run A B C, A B C, ...

    What slows the machine down for a while then slows all of them, and their ratio in a round stays. With
    ``time.thread_time`` for a clock, what other processes take does not count; for work of one thread only.
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
    """Median of the rounds' ratios, and where the middle 80 % of them lie."""
    low, median, high = np.percentile(of / to, (10, 50, 90))
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def print_interleaved(title: str, seconds: dict[str, np.ndarray]) -> None:
    """Print the median of each alternative, and its ratio to the first of them."""
    first = next(iter(seconds.values()))
    print(f"\n{title}")
    width = max(map(len, seconds))
    print(f"  {'':{width}s}  {'median':>11s}  times the first (10 % to 90 %)")
    for name, taken in seconds.items():
        print(f"  {name:{width}s}  {np.median(taken) * 1e3:8.3f} ms  {ratio(taken, first)}", flush=True)


class Clocks:
    """Seconds by name, of functions while they are watched; what one spends in another that is watched counts there.

    What runs in other threads than this object's own counts as seconds over `n_threads`, and there are so many of them. A
    context manager counts while it is entered and left, not for what it holds.
    """

    def __init__(self, n_threads: int = 1):
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._n_threads, self._own = n_threads, threading.get_ident()
        self._lock, self._here = threading.Lock(), threading.local()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Count a block."""
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

    def counted(self, call: Callable, name_of: Callable[..., str]) -> Callable:
        """A function that does what `call` does, counted under the name that `name_of` gives its arguments."""

        def run(*args: Any, **options: Any) -> Any:
            name = name_of(*args)
            with self.timing(name):
                result = call(*args, **options)
            return self._held(result, name) if isinstance(result, AbstractContextManager) else result

        return run

    @contextmanager
    def _held(self, block: AbstractContextManager, name: str) -> Iterator[Any]:
        with self.timing(name):
            value = block.__enter__()
        try:
            yield value
        finally:
            with self.timing(name):
                block.__exit__(*sys.exc_info())

    @contextmanager
    def watching(self, table: Sequence[Watched]) -> Iterator[None]:
        """Watch all functions of a table in a block."""
        found = [(owner, attribute, getattr(owner, attribute)) for _, owner, attribute in table]
        for (name, *_), (owner, attribute, call) in zip(table, found):
            setattr(owner, attribute, self.counted(call, lambda *_, name=name: name))
        try:
            yield
        finally:
            for owner, attribute, call in found:
                setattr(owner, attribute, call)


def check_table(table: Sequence[Watched]) -> None:
    """End with an error if a function of a table is no more; the code moves on, and the table has to follow."""
    for name, owner, attribute in table:
        if not hasattr(owner, attribute):
            sys.exit(f"{name}: {owner.__name__} has no {attribute} any more. Bring the script's table up to date.")


def cfa_lite_command() -> str:
    """The ``cfa-lite`` that is installed beside this interpreter."""
    return str(Path(sys.executable).parent / "cfa-lite")


def run_measured(command: Sequence[str | os.PathLike]) -> tuple[float, float]:
    """Run a command; seconds of the whole process, and its peak memory in MB (Linux and macOS only)."""
    command = [os.fspath(part) for part in command]
    measured = subprocess.run([sys.executable, "-c", _MEASURE, *command], capture_output=True, text=True)
    if measured.returncode:
        sys.exit(f"{' '.join(command)} cannot be started\n{measured.stderr}")
    seconds, exit_code, peak = json.loads(measured.stdout)
    if exit_code:
        sys.exit(f"{' '.join(command)} ended with {exit_code}\n{measured.stderr}")
    return seconds, peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kB elsewhere
