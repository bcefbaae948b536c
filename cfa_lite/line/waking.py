"""Waking a watch: by time, by a signal, and by changes of files if watchdog is installed."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LONGEST_WAIT = 0.5  # seconds; on Windows a signal is handled only between two waits
_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")


class Waker:
    """Lets a loop sleep until something may have to be done.

    Attributes
    ----------
    is_stopped : bool
        Whether the loop should end.
    """

    def __init__(self) -> None:
        self.is_stopped = False
        # The only queue into which a signal handler may put something.
        self._paths: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def stop(self) -> None:
        """Ask the loop to end. May be called by a signal handler."""
        self.is_stopped = True
        self._paths.put(None)

    def changed(self, path: str) -> None:
        """Tell that a file has changed. May be called by any thread."""
        self._paths.put(path)

    def wait(self, seconds: float) -> list[str]:
        """Sleep until a file has changed, the loop is asked to end, or the time is over; return the changed files."""
        end = time.monotonic() + seconds
        found: dict[str, None] = {}
        while not found and not self.is_stopped:
            rest = min(_LONGEST_WAIT, max(0.0, end - time.monotonic()))
            with contextlib.suppress(queue.Empty):
                path = self._paths.get(timeout=rest) if rest else self._paths.get_nowait()
                while path is not None:
                    found[path] = None
                    path = self._paths.get_nowait()
            if time.monotonic() >= end:
                break
        return list(found)


@contextmanager
def ended_by_signals(waker: Waker) -> Iterator[None]:
    """Let SIGINT and SIGTERM end a loop between two images. The second signal stops it at once."""
    before: dict[int, Any] = {}

    def handle(number: int, frame: object) -> None:
        if waker.is_stopped:
            raise KeyboardInterrupt
        waker.stop()

    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Changes:
    """Takes the events of watchdog."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker

    def dispatch(self, event: Any) -> None:
        """Tell the waker which file may be complete."""
        if event.is_directory or event.event_type in ("opened", "deleted", "closed_no_write"):
            return
        if sys.platform == "linux" and event.event_type == "modified":  # Linux tells when a file is closed
            return
        self._waker.changed(os.fsdecode(event.dest_path or event.src_path))


@contextmanager
def woken_by_changes(waker: Waker, folders: Iterable[Path]) -> Iterator[bool]:
    """Wake a loop when a file in one of the folders is complete, moved or, on other systems than Linux, changed.

    Yields
    ------
    bool
        Whether changes wake the loop. If watchdog is not installed, or the system cannot watch a folder, they do not,
        and the loop finds them at its next look.
    """
    try:
        from watchdog.observers import Observer
    except ImportError:
        yield False
        return

    logging.getLogger("watchdog").setLevel(logging.ERROR)  # it warns of events that come while it is stopped
    observer = Observer()
    handler: Any = _Changes(waker)  # it needs no base class
    try:
        for folder in folders:
            observer.schedule(handler, os.fspath(folder), recursive=True)
        observer.start()
    except OSError:  # too many folders are watched, or the folder is away
        yield False
        return
    try:
        yield True
    finally:
        observer.stop()
        observer.join()
