"""Threads: independent tasks run in a thread pool, and BLAS runs on one thread.

The division of work into tasks does not depend on the number of threads, and each task multiplies matrices on one
BLAS thread. Therefore results are bit-equal for any number of threads, and no global setting is needed.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import LibController, ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")

_LOOK_AHEAD = 2  # tasks per thread that may be started ahead of the next result
_MIN_CORES_TO_SPARE = 4

_lock = threading.Lock()
_n_inside = 0
_libraries: list[LibController] | None = None
_found: list[int] = []
_worker = threading.local()


def available_cores() -> int:
    """Count the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def resolve(threads: int | None) -> int:
    """Determine the number of threads to use.

    Parameters
    ----------
    threads : int, at least 1, or None
        None uses all available cores. If there are four or more, one is left free.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `threads` is not a whole number of at least 1.

    Notes
    -----
    The free core keeps the computer usable. With two or three cores, leaving one idle would cost too much speed.
    """
    if threads is None:
        n = available_cores()
        return n - (n >= _MIN_CORES_TO_SPARE)
    if isinstance(threads, bool) or int(threads) != threads or threads < 1:
        raise ValueError(f"threads={threads!r}: give a whole number of at least 1, or None for the default")
    return int(threads)


@contextmanager
def serial_blas() -> Iterator[None]:
    """Limit BLAS to one thread; the previous setting is restored when the last caller leaves.

    Callers can overlap, for example when two threads inspect images with one model, and they can leave in any order.
    Therefore callers are counted. The setting is one for the whole process, and other libraries set it too: a function
    of scikit-learn in another thread can restore its own value meanwhile. Therefore each caller sets it again.
    """
    global _n_inside, _libraries, _found
    with _lock:
        if _n_inside == 0:
            if _libraries is None:  # the search takes 0.5 ms
                _libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            _found = [library.num_threads for library in _libraries]
        for library in _libraries or []:
            if library.num_threads != 1:
                _set(library, 1)
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0 and _libraries is not None:
                for library, n_threads in zip(_libraries, _found):
                    _set(library, n_threads)


def _set(library: LibController, n_threads: int) -> None:
    # threadpoolctl 3.8 and later binds OpenBLAS's setting to the thread that set it first; another thread cannot change
    # it until this binding is cleared.
    clear = getattr(library, "clear_controlling_thread", None)
    if clear:
        clear(force=True)
    library.set_num_threads(n_threads)
    if clear:
        clear(force=True)


def ordered_map(function: Callable[[T], R], items: Iterable[T], n_threads: int) -> Iterator[R]:
    """Apply `function` to each item on `n_threads` threads and yield the results in order.

    Only a few items are in progress at a time. An exception of `function` is raised at the position of its item.

    Parameters
    ----------
    function : callable (item) -> result
    items : iterable
    n_threads : int, at least 1

    Yields
    ------
    result of `function` for each item
    """
    if n_threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    this = object()
    pool = ThreadPoolExecutor(n_threads, initializer=lambda: setattr(_worker, "pool", this))
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > n_threads * _LOOK_AHEAD:
                yield _first_of(pending)
        while pending:
            yield _first_of(pending)
    finally:
        running = [future for future in pending if not future.cancel()]
        # An unfinished iterator may be garbage-collected anywhere: in one of its own threads, which cannot wait for
        # itself, and in a thread that is just starting or ending. Before Python 3.13, that one holds a lock which
        # joining a thread needs. So tasks are waited for, and not threads.
        pool.shutdown(wait=False)
        if getattr(_worker, "pool", None) is not this:
            futures.wait(running)


def map_with_progress(
    phase: str,
    function: Callable[[int], R],
    n: int,
    n_threads: int,
    progress: Callable[[str, int, int], None],
) -> list[R]:
    """Apply `function` to the numbers 0 to `n` - 1 on `n_threads` threads, and tell `progress` how many are done."""
    found = []
    for one in ordered_map(function, range(n), n_threads):
        found.append(one)
        progress(phase, len(found), n)
    return found


def _first_of(pending: deque[Future[R]]) -> R:
    """Wait for the first result and take it out; it stays in if the waiting is interrupted."""
    result = pending[0].result()
    pending.popleft()
    return result
