"""One thread budget for everything: images and levels run beside each other, BLAS stays serial.

Parallel work is cut into tasks that do not depend on the number of threads, and each task multiplies
with one BLAS thread. So results are bit-equal on any number of threads, and no global thread setting
has to be kept.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import LibController, ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")

_LOOK_AHEAD = 2  # tasks a thread that may be finished or waiting beyond the one asked for

_SPARES_ONE = 4  # cores

_lock = threading.Lock()
_n_inside = 0
_libraries: list[LibController] | None = None
_found: list[int] = []


def available_cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def resolve(threads: int | None) -> int:
    """Number of threads to use: `threads`; for None every available core, of four or more all but one.

    So a computer stays usable. Of two or three cores one is half or a third of the speed: too much to leave idle.

    Raises
    ------
    ValueError
        If `threads` is not a whole number of at least 1.
    """
    if threads is None:
        n = available_cores()
        return n - (n >= _SPARES_ONE)
    if isinstance(threads, bool) or int(threads) != threads or threads < 1:
        raise ValueError(f"threads={threads!r}: give a whole number of at least 1, or None for every core")
    return int(threads)


@contextmanager
def serial_blas() -> Iterator[None]:
    """Hold BLAS at one thread; the setting found is restored when the last caller leaves.

    Callers may overlap (two threads scoring with one model), so they are counted; the first need not be the last to
    leave, so no thread may keep a limit to itself.
    """
    global _n_inside, _libraries, _found
    with _lock:
        if _n_inside == 0:
            if _libraries is None:  # looking for them takes 0.5 ms
                _libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            _found = [library.num_threads for library in _libraries]
            for library in _libraries:
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
    # From 3.8 on threadpoolctl lets only the thread that set OpenBLAS first set it again, unless that is forgotten.
    forget = getattr(library, "clear_controlling_thread", None)
    if forget:
        forget(force=True)
    library.set_num_threads(n_threads)
    if forget:
        forget(force=True)


def ordered_map(function: Callable[[T], R], items: Iterable[T], n_threads: int) -> Iterator[R]:
    """``map(function, items)`` on `n_threads` threads: results in order, few in flight at a time.

    An exception of `function` is raised at its place in the order.
    """
    if n_threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > n_threads * _LOOK_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
