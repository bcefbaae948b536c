"""The loop of a watch: each image that arrives is inspected once, and its row, files and place follow its verdict."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ImageError, OutputError
from ..features import completeness
from ..report import tables
from ..results import FIELDS, OLDER_FIELDS, Inspection
from .arrivals import Arrival, Arrivals, Tell
from .journal import Journal, NotKeptError
from .moving import finish_moves, free_path
from .records import Content
from .waking import Waker

_REST = 10  # a look takes at most one part in so many of the time
_SECONDS_TO_KEEP = 0.2  # results may wait so long until they are written to the disk together


@dataclass(frozen=True)
class Station:
    """What a watch does with images.

    Attributes
    ----------
    folders : sequence of Path
        Watched folders, with their images below them.
    inspect : callable (arrivals) -> iterator of Inspection
        In the order of the arrivals.
    write : callable (path, name, result)
        Writes the files of an image other than its row. Raises OutputError.
    show : callable (result)
        Takes each result after its row is safe.
    tell : callable (message)
        Takes messages for people.
    move_to : Path or None
        Folder for the images, in one folder for each verdict. None leaves them where they are.
    poll : float, seconds
        Between two looks at the folders.
    n_at_once : int
        Images between two looks.
    message : callable (identifier, arrival, result) -> bytes, or None
        Returns what is published of an image.
    exchange : callable ()
        Publishes messages without waiting.
    """

    folders: Sequence[Path]
    inspect: Callable[[Sequence[Arrival]], Iterator[Inspection]]
    write: Callable[[Path, Path, Inspection], None]
    show: Callable[[Inspection], None]
    tell: Tell
    move_to: Path | None
    poll: float
    n_at_once: int
    message: Callable[[str, Arrival, Inspection], bytes] | None = None
    exchange: Callable[[], None] = lambda: None


class Follower(Protocol):
    """What follows the journal, such as the table of results."""

    def catch_up(self) -> None:
        """Take what is new in the journal. Raises OutputError; the next call tries again."""


class Watch:
    """Inspect each image that arrives exactly once, in the order of arrival.

    Parameters
    ----------
    station : Station
    journal : Journal
    table : Follower
        The table of results, or several followers in one.
    arrivals : Arrivals
    waker : Waker
    fmt : {"csv", "jsonl"}
        Format of the rows.
    """

    def __init__(
        self, station: Station, journal: Journal, table: Follower, arrivals: Arrivals, waker: Waker, fmt: str
    ) -> None:
        self._station, self._journal, self._table = station, journal, table
        self._arrivals, self._waker, self._fmt = arrivals, waker, fmt
        is_older = journal.header and journal.header.decode().endswith(tables.header(fmt, OLDER_FIELDS))
        self._fields = OLDER_FIELDS if is_older else FIELDS
        self._ready: deque[Arrival] = deque()
        self._added: list[tuple[Arrival, Inspection]] = []  # to the journal, and not yet on the disk
        self._told = ""

    def run(self, only_present: bool = False) -> None:
        """Watch until the waker is stopped.

        Parameters
        ----------
        only_present : bool
            End when no image is left: none is new, and none is waited for.
        """
        next_look = 0.0
        changed: list[str] = []
        while not self._waker.is_stopped:
            for path in changed:
                self._ready += self._arrivals.look_at(path)
            start = time.monotonic()
            if start >= next_look:
                is_tidy = self._tidy()
                self._ready += self._arrivals.look()
                now = time.monotonic()
                next_look = now + max(self._station.poll, (now - start) * _REST)
                is_idle = not self._ready and not self._arrivals.n_waiting and not self._arrivals.is_away
                if only_present and is_idle and is_tidy:
                    return
            is_working = bool(self._ready) and self._inspect()
            changed = self._waker.wait(0.0 if is_working else max(0.0, next_look - time.monotonic()))

    def _inspect(self) -> bool:
        """Inspect the next images; return whether their results could be kept."""
        batch = [self._ready.popleft() for _ in range(min(len(self._ready), self._station.n_at_once))]
        n_taken = n_kept = 0
        results = self._station.inspect(batch)
        kept_at = time.monotonic()
        try:
            for arrival, result in zip(batch, results):
                self._take(arrival, result)
                n_taken += 1
                if time.monotonic() - kept_at > _SECONDS_TO_KEEP or n_taken == len(batch) or self._waker.is_stopped:
                    self._keep()
                    n_kept, kept_at = n_taken, time.monotonic()
                if self._waker.is_stopped:
                    break
            return True
        except OutputError as error:
            if not isinstance(error, NotKeptError):
                with contextlib.suppress(NotKeptError):
                    self._keep()  # those before the one that failed
                    n_kept = n_taken
            self._tell_once(f"{error} {len(batch) - n_kept + len(self._ready)} images wait.")
            return False
        finally:
            getattr(results, "close", lambda: None)()
            self._added.clear()
            self._ready.extendleft(reversed(batch[n_kept:]))

    def _take(self, arrival: Arrival, result: Inspection) -> None:
        path = arrival.path
        name = self._name(arrival)
        is_kept = _is_unchanged(path, arrival.content) and (result.status != "error" or _is_final(arrival))
        if is_kept:
            try:
                self._station.write(path, name, result)
            except ImageError:  # it was taken away while its overlay was drawn
                is_kept = False
        if not is_kept or not _is_unchanged(path, arrival.content):
            self._arrivals.not_yet(arrival)
            return
        destination = None
        if self._station.move_to is not None and arrival.content.digest:
            below = self._station.move_to / result.verdict / name
            destination = free_path(below.with_name(below.name + path.suffix))
        row = tables.row(result, self._fmt, self._fields).encode("utf-8", tables.ENCODING_ERRORS)
        number = self._journal.add(path, arrival.content, name.as_posix(), result.verdict, row, destination)
        if self._station.message is not None:
            message = self._station.message(f"{self._journal.key}-{number}", arrival, result)
            self._journal.add_message(number, message)
        self._added.append((arrival, result))

    def _keep(self) -> None:
        """Write the journal to the disk, and let everything else follow it."""
        if not self._added:
            return
        self._journal.commit()
        for arrival, _ in self._added:
            self._arrivals.inspected(arrival)
        if self._tidy():
            self._told = ""
        for _, result in self._added:
            self._station.show(result)
        self._added.clear()

    def _tidy(self) -> bool:
        """Let the table and the places of the images follow the journal; return whether they do."""
        try:
            self._table.catch_up()
            self._station.exchange()
            if self._station.move_to is not None:
                for path in finish_moves(self._journal):
                    self._arrivals.moved(path)
        except OutputError as error:
            self._tell_once(str(error))
            return False
        except OSError as error:
            self._tell_once(f"{error.filename} cannot be moved ({error.strerror or error}). It is tried again.")
            return False
        return True

    def _name(self, arrival: Arrival) -> Path:
        """Return a name for the files of an image that no earlier image has."""
        folder = self._station.folders[arrival.folder]
        name = arrival.path.relative_to(folder).with_suffix("")
        if len(self._station.folders) > 1:
            name = Path(folder.absolute().name, name)
        if not self._journal.has_name(name.as_posix()):
            return name
        number = len(self._journal) + 1
        while self._journal.has_name(name.with_name(f"{name.name}_{number}").as_posix()):
            number += 1
        return name.with_name(f"{name.name}_{number}")

    def _tell_once(self, message: str) -> None:
        """Tell a problem that lasts only once."""
        if message.split("(")[0] != self._told:
            self._station.tell(message)
        self._told = message.split("(")[0]


def _is_unchanged(path: Path, content: Content) -> bool:
    try:
        return completeness.stamp(path) == content.stamp
    except OSError:
        return False


def _is_final(arrival: Arrival) -> bool:
    """Return whether an image that could not be read is an ERROR: the file is there, and nothing writes it any more."""
    if not arrival.is_last_try:
        return False
    try:
        arrival.path.read_bytes()
    except PermissionError:
        return True
    except OSError:  # the share is away
        return False
    return True
