"""Worker processes of a frozen program. Those of joblib cannot be started by one, and those of Python can."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def is_frozen() -> bool:
    """Return whether this program was frozen, by PyInstaller or another tool."""
    return bool(getattr(sys, "frozen", False))


def started(function: Callable[[T], R], tasks: Sequence[T], n_workers: int) -> Generator[R, None, None]:
    """Start worker processes that run a function on every task.

    Parameters
    ----------
    function : callable (task)
        Must be picklable.
    tasks : sequence
    n_workers : int

    Returns
    -------
    generator
        The results in order. A worker that is killed raises a BrokenExecutor. Closing it stops the workers.
    """
    pool = ProcessPoolExecutor(min(n_workers, len(tasks)), multiprocessing.get_context("spawn"))
    return _results(pool, [pool.submit(function, task) for task in tasks])


def _results(pool: ProcessPoolExecutor, futures: Sequence[Future[R]]) -> Generator[R, None, None]:
    try:
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # waits for tasks that are running
