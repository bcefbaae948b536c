"""Who works, if not this process: other processes of this PC, or the workers of a Dask cluster, through joblib."""

from __future__ import annotations

import functools
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from .. import threads
from .._version import __version__
from ..errors import WorkerError

T = TypeVar("T")
R = TypeVar("R")

_N_TRIES = 3  # in a row without anything done
_SECONDS = 5.0  # to reach a scheduler
_SECONDS_TO_JOIN = 10.0  # for a first worker


class Executor:
    """Who works: `n_workers` processes of this PC, or the workers of a Dask cluster. A context manager.

    Parameters
    ----------
    n_workers : int or None
        Needed where `scheduler` is None.
    scheduler : str or None
        Address of a Dask scheduler, such as 10.0.0.5:8786.
    n_threads : int or None
        On this PC of all processes together, by default every core; on a cluster of each task, by default one.

    Attributes
    ----------
    n_tasks : int
        Tasks worked at once.
    n_threads : int
        Of each task.

    Raises
    ------
    WorkerError
        If the cluster cannot be reached, has no worker, or has another version of this package.
    """

    def __init__(self, n_workers: int | None, scheduler: str | None = None, n_threads: int | None = None):
        self.scheduler = scheduler
        self._client: Any = None
        self._running: Generator[Any, None, None] | None = None
        if scheduler is not None:
            self._client = _connected(scheduler)
            self.n_tasks, self.n_threads = sum(self._client.nthreads().values()), n_threads or 1
        else:
            assert n_workers is not None
            self.n_tasks, self.n_threads = n_workers, max(1, threads.resolve(n_threads) // n_workers)

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        """End what goes on still, as after Ctrl-C."""
        self._end()
        if self._client:
            self._client.close(timeout=_SECONDS)

    def _end(self) -> None:
        if self._running:
            with warnings.catch_warnings(action="ignore"):  # joblib's, that tasks are given up
                self._running.close()
        self._running = None

    def path(self, path: Path) -> Path:
        """What a worker is to call a path: of a cluster, each has a working folder of its own."""
        return Path(os.path.abspath(path)) if self.scheduler else path

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], n_ahead: int, name: Callable[[T], str]
    ) -> Iterator[R]:
        """``map(function, tasks)``: results in order, up to `n_ahead` of them worked before they are asked for.

        Tasks whose worker is killed are worked again; what was given out never is.

        Parameters
        ----------
        name : callable
            What to call a task when workers die of it.

        Raises
        ------
        WorkerError
            If workers are killed again and again, or the cluster is lost.
        """
        done = n_tries = 0
        while done < len(tasks):
            before = done
            self._running = self._start(function, tasks[done : done + n_ahead])
            try:
                for result in self._running:
                    done += 1
                    yield result
            except BrokenExecutor as error:
                n_tries = n_tries + 1 if done == before else 1
                if n_tries == _N_TRIES:
                    raise WorkerError(
                        f"workers were killed {n_tries} times in a row, at {name(tasks[done])} or soon after it ({error})."
                        " Where memory is short, take fewer --workers."
                    ) from error
            except Exception as error:
                if not (self._client and _is_of_dask(error)):
                    raise
                raise WorkerError(
                    f"the cluster of {self.scheduler} gave up at {name(tasks[done])} or soon after it"
                    f" ({type(error).__name__}: {' '.join(str(error).split())}). Look after its workers."
                ) from error
            finally:
                self._end()

    def _start(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[R, None, None]:
        import joblib

        place: dict[str, Any] = {"backend": "dask", "client": self._client}
        if not self._client:
            place = {"backend": "loky", "n_jobs": self.n_tasks, "inner_max_num_threads": self.n_threads}
            function = functools.partial(_as_child_of, os.getpid(), function)
        with joblib.parallel_config(**place):
            pool = joblib.Parallel(return_as="generator", batch_size=1, max_nbytes=None)
        with _interrupts_are_ours():
            return pool(joblib.delayed(function)(task) for task in tasks)


def _connected(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise WorkerError("--dask needs Dask, which is not installed here: pip install 'cfa-lite[dask]'") from error
    for name in ("distributed", "distributed.client"):  # what ends a run is said once, by us
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(scheduler, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise WorkerError(
            f"no Dask scheduler answers at {scheduler} ({error}). Start it, or check the address."
        ) from error
    try:
        client.wait_for_workers(1, timeout=_SECONDS_TO_JOIN)
        for worker, version in client.run(_version, on_error="return").items():
            if version != __version__:
                raise WorkerError(
                    f"worker {worker} of {scheduler} has not cfa-lite {__version__} but {version!r}. Install it there."
                )
    except TimeoutError as error:
        client.close()
        raise WorkerError(f"the scheduler {scheduler} has no worker. Start some: dask worker {scheduler}") from error
    except WorkerError:
        client.close()
        raise
    return client


def _is_of_dask(error: Exception) -> bool:
    from distributed.scheduler import KilledWorker  # after a task has killed some

    return isinstance(error, (KilledWorker, CancelledError, OSError, TimeoutError))


def _version() -> str:
    return __version__


def _as_child_of(parent: int, function: Callable[[T], R], task: T) -> R:
    """``function(task)`` in a process that ends when `parent` is killed; joblib's would stay."""
    if os.getpid() != parent:  # of one process joblib makes none
        _watch(parent)
    return function(task)


@functools.cache
def _watch(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="cfa-lite-parent", daemon=True).start()


@contextmanager
def _interrupts_are_ours() -> Iterator[None]:
    """A block whose child processes never see Ctrl-C, which a terminal sends to all of them: this process ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as of_loky

    resource_tracker.ensure_running()  # these two, when they start, let it through again
    of_loky.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
