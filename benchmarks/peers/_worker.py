"""Shared by the worker processes: answers requests over the standard streams.

It runs in environments that hold only the package to measure, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_Actions = dict[str, Callable[..., dict[str, Any]]]


def serve(package: str, also: tuple[str, ...], open_package: Callable[[], _Actions]) -> None:
    """Import the package, report the time, then answer each line of standard input with one on standard output.

    A request is a JSON object: "do" names the action, and the other entries are its arguments. Everything that the
    package prints goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    start = time.perf_counter()
    actions = open_package()
    seconds = time.perf_counter() - start
    answer({"import_seconds": seconds, "versions": [f"{name} {_version(name)}" for name in (package, *also)]})
    for line in sys.stdin:
        request = json.loads(line)
        answer(actions[request.pop("do")](**request) | {"peak_mb": peak_mb()})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def peak_mb() -> float:
    """Return the peak memory of this process.

    On Linux it comes from VmHWM, because ru_maxrss includes the memory of the parent at the start of this process.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1e3
