"""Process pools: local processes or a Dask cluster, through joblib."""

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
from ..errors import WorkerError, hide_messages_of_pillow
from . import frozen

T = TypeVar("T")
R = TypeVar("R")

_N_TRIES = 3  # attempts in a row without a finished task
_SECONDS = 5.0  # timeout to reach a scheduler
_SECONDS_TO_JOIN = 10.0  # timeout until the first worker joins


class Executor:
    """Run tasks in local processes or on a Dask cluster. Use it as a context manager.

    Parameters
    ----------
    n_workers : int or None
        Number of local processes. Required if `scheduler` is None.
    scheduler : str or None
        Address of a Dask scheduler, such as 10.0.0.5:8786.
    n_threads : int or None
        Local processes: threads of all processes together, by default one per core. Cluster: threads of each task, by
        default 1.

    Attributes
    ----------
    n_tasks : int
        Number of tasks that run at the same time.
    n_threads : int
        Number of threads of each task.

    Raises
    ------
    WorkerError
        If the cluster cannot be reached, has no worker, or a worker has another version of this package.
    """

    def __init__(self, n_workers: int | None, scheduler: str | None = None, n_threads: int | None = None) -> None:
        self.scheduler = scheduler
        self._client: Any = None
        self._running: Generator[Any, None, None] | None = None
        if scheduler is not None:
            self._client = _connect(scheduler)
            self.n_tasks, self.n_threads = sum(self._client.nthreads().values()), n_threads or 1
        else:
            assert n_workers is not None
            self.n_tasks, self.n_threads = n_workers, max(1, threads.resolve(n_threads) // n_workers)

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop tasks that are still running, for example after Ctrl-C."""
        self._stop()
        if self._client:
            self._client.close(timeout=_SECONDS)

    def _stop(self) -> None:
        if self._running:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib warns that tasks are canceled
                self._running.close()
        self._running = None

    def worker_path(self, path: Path) -> Path:
        """Return the path that a worker can use: absolute on a cluster, whose workers have their own working folders.

        Parameters
        ----------
        path : Path

        Returns
        -------
        Path
        """
        return path.absolute() if self.scheduler else path

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], n_ahead: int, name: Callable[[T], str]
    ) -> Iterator[R]:
        """Run a function on every task and yield the results in order.

        A task whose worker is killed runs again. No result is yielded twice.

        Parameters
        ----------
        function : callable (task)
            Must be picklable.
        tasks : sequence
        n_ahead : int
            Number of results that may wait to be consumed.
        name : callable (task)
            Returns the name of a task in messages.

        Yields
        ------
        object
            The result of each task.

        Raises
        ------
        WorkerError
            If workers are killed several times in a row, or the cluster is lost.
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
                        f"workers were killed {n_tries} times in a row, at {name(tasks[done])} or soon after it"
                        f" ({error}). If the memory is too small, use fewer --workers."
                    ) from error
            except Exception as error:
                if not (self._client and _is_from_dask(error)):
                    raise
                raise WorkerError(
                    f"the cluster of {self.scheduler} failed at {name(tasks[done])} or soon after it"
                    f" ({type(error).__name__}: {' '.join(str(error).split())}). Check its workers."
                ) from error
            finally:
                self._stop()

    def _start(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[R, None, None]:
        place: dict[str, Any] = {"backend": "dask", "client": self._client}
        if not self._client:
            place = {"backend": "loky", "n_jobs": self.n_tasks, "inner_max_num_threads": self.n_threads}
            function = functools.partial(_as_child_of, os.getpid(), function)
            if frozen.is_frozen():
                with _interrupts_blocked():
                    return frozen.started(function, tasks, self.n_tasks)
        import joblib

        with joblib.parallel_config(**place):
            pool = joblib.Parallel(return_as="generator", batch_size=1, max_nbytes=None)
        with _interrupts_blocked():
            results: Generator[R, None, None] = pool(joblib.delayed(function)(task) for task in tasks)
        return results


def _connect(scheduler: str) -> Any:
    try:
        import distributed
    except ImportError as error:
        raise WorkerError("--dask needs Dask, which is not installed. Run: pip install 'cfa-lite[dask]'") from error
    for name in ("distributed", "distributed.client", "tornado.application"):  # our own message is enough
        logging.getLogger(name).setLevel(logging.CRITICAL)
    open_client: Any = distributed.Client  # Dask has no types
    timeouts = (TimeoutError, distributed.TimeoutError)  # not the same class before Python 3.11
    try:
        client = open_client(scheduler, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError, *timeouts) as error:
        raise WorkerError(
            f"no Dask scheduler answers at {scheduler} ({error}). Start it, or check the address."
        ) from error
    try:
        client.wait_for_workers(1, timeout=_SECONDS_TO_JOIN)
        for worker, version in client.run(_version, on_error="return").items():
            if version != __version__:
                raise WorkerError(
                    f"worker {worker} of {scheduler} does not have cfa-lite {__version__} but {version!r}. Install"
                    f" {__version__} there."
                )
    except timeouts as error:
        client.close()
        raise WorkerError(f"the scheduler {scheduler} has no worker. Start some: dask worker {scheduler}") from error
    except WorkerError:
        client.close()
        raise
    return client


def _is_from_dask(error: Exception) -> bool:
    import distributed
    from distributed.scheduler import KilledWorker  # raised after a task has killed several workers

    errors = (KilledWorker, CancelledError, OSError, TimeoutError, distributed.TimeoutError)
    return isinstance(error, errors)


def _version() -> str:
    return __version__


def _as_child_of(parent: int, function: Callable[[T], R], task: T) -> R:
    """Run ``function(task)`` in a process that ends when `parent` is killed; joblib would leave it running."""
    if os.getpid() != parent:  # joblib runs a single worker in the parent itself
        _watch(parent)
    return function(task)


@functools.cache
def _watch(parent: int) -> None:
    hide_messages_of_pillow()  # as in the command itself

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="cfa-lite-parent", daemon=True).start()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start child processes that ignore Ctrl-C, which a terminal sends to all: this process stops its children."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it, and that of joblib, unblock the signal when they start
    if not frozen.is_frozen():
        from joblib.externals.loky.backend import resource_tracker as loky_tracker

        loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
