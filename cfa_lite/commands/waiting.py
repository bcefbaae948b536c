"""What a command is doing, on stderr: at once on a terminal, and in few lines where stderr is a pipe or a file."""

from __future__ import annotations

import sys
import threading
import time

import click

from ..errors import one_line

FIRST_SECONDS = 2.0  # nothing is told before
_LOOK_SECONDS = 0.25
_GAPS = (8.0, 20.0, 30.0, 60.0)  # seconds between further lines of the same phase; the last one repeats
_START = "starting (this takes longer once after an installation)"


def tell(text: str) -> None:
    """Write one line to stderr. Control characters in it are escaped."""
    click.echo(one_line(text), err=True)


class Waiting:
    """Tells what a command is doing whenever it has said nothing for a while.

    A thread looks at the clock, so that a phase that reports no progress is told as well. `close` ends it.
    """

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._told_at = time.monotonic()
        self._phase, self._told_phase, self._n_told = _START, "", 0
        self._done = self._total = 0
        self._is_on_line = False  # a count is on the last line of the terminal
        self._closed = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def doing(self, phase: str) -> None:
        """Name what is done next, if no progress can be counted."""
        self.show(phase, 0, 0)

    def show(self, phase: str, done: int, total: int) -> None:
        """Take the progress of a phase: the interface that `fit` and others call."""
        with self._lock:
            self._phase, self._done, self._total = phase, done, total
            if self._is_terminal:
                self._write_count()

    def close(self) -> None:
        """Say nothing any more."""
        with self._lock:
            self._closed.set()

    def _write_count(self) -> None:
        """Write the count on the last line of the terminal, or clear it at the end of a phase."""
        if self._total:
            click.echo(f"\r{self._phase} {self._done}/{self._total} ", nl=False, err=True)
        self._is_on_line = 0 < self._done < self._total
        if self._total and not self._is_on_line:
            click.echo("\r" + " " * 40 + "\r", nl=False, err=True)

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            with self._lock:
                if not self._closed.is_set() and not self._is_on_line:
                    self._tell_if_due()

    def _tell_if_due(self) -> None:
        is_new = self._phase != self._told_phase
        gap = FIRST_SECONDS if is_new else _GAPS[min(self._n_told, len(_GAPS)) - 1]
        now = time.monotonic()
        if now - self._told_at < gap:
            return
        self._n_told = 1 if is_new else self._n_told + 1
        self._told_phase, self._told_at = self._phase, now
        if not self._total:
            tell(f"{self._phase} ...")
        elif self._done < self._total:
            tell(f"{self._phase}: {self._done} of {self._total}")
        else:
            tell(f"{self._phase}: done, computing the next step ...")


def current() -> Waiting:
    """Return the object that tells what the running command does; the command's end closes it."""
    root = click.get_current_context().find_root()
    if not isinstance(root.obj, Waiting):
        root.obj = Waiting()
        root.call_on_close(root.obj.close)
    return root.obj
