"""One thread budget for everything: pictures and levels run beside each other, BLAS stays serial.

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

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")

_LOOK_AHEAD = 2  # tasks a thread that may be finished or waiting beyond the one asked for

_lock = threading.Lock()
_n_inside = 0
_controller: ThreadpoolController | None = None
_release: Callable[[], None] | None = None


def available_cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def resolve(threads: int | None) -> int:
    """Number of threads to use: `threads`, or every available core for None.

    Raises
    ------
    ValueError
        If `threads` is not a whole number of at least 1.
    """
    if threads is None:
        return available_cores()
    if isinstance(threads, bool) or int(threads) != threads or threads < 1:
        raise ValueError(f"threads={threads!r}: give a whole number of at least 1, or None for every core")
    return int(threads)


@contextmanager
def serial_blas() -> Iterator[None]:
    """Hold BLAS at one thread; the setting found is restored when the last caller leaves.

    Callers may overlap (two threads scoring with one model), so they are counted. threadpoolctl lets only
    the thread that set a limit take it back, and the first caller need not be the last to leave: one
    thread that does nothing else sets and restores.
    """
    global _n_inside, _release
    with _lock:
        if _n_inside == 0:
            _release = _hold()
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0 and _release is not None:
                _release()
                _release = None


def _hold() -> Callable[[], None]:
    global _controller
    controller = _controller = _controller or ThreadpoolController()  # looking for libraries takes 0.5 ms
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with controller.limit(limits=1, user_api="blas"):
                held.set()
                leave.wait()
        finally:
            held.set()

    thread = threading.Thread(target=hold, name="cfa-lite-blas", daemon=True)
    thread.start()
    held.wait()

    def release() -> None:
        leave.set()
        thread.join()

    return release


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
