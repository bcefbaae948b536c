"""Running a station: the watch in a thread, and the server beside it; neither goes on without the other."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import threads
from ..errors import OutputError
from ..features import image_files
from ..line import server
from ..line.arrivals import Arrival, Arrivals, Tell
from ..line.journal import Journal
from ..line.table import Table
from ..line.waking import Waker, woken_by_changes
from ..line.watching import Follower, Station, Watch
from ..report import outputs, tables
from ..results import Inspection
from .app import StationSite
from .database import Database
from .decisions import Decisions
from .history import History
from .kept_images import KeptImages
from .parts import Notice, Parts
from .pictures import Pictures
from .reviewing import Reviews
from .sessions import Sessions
from .teaching_job import TeachingJob
from .versions import Versions

_N_AT_ONCE = 32  # images between two looks at the folder
_TIMEOUT = 30.0  # seconds within which the head of a request must arrive


@dataclass(frozen=True)
class Setup:
    """What a station is started with.

    Attributes
    ----------
    part : Path
        The model.
    watched : Path
        Folder of the images.
    folder : Path
        Of everything that the station writes.
    output : Path
        Table of results.
    good : Path or None
        Folder of good images.
    move_to : Path or None
    poll, patience : float, seconds
        As for a watch.
    max_bytes : int
        Of the copies of decided images.
    n_threads : int
    """

    part: Path
    watched: Path
    folder: Path
    output: Path
    good: Path | None
    move_to: Path | None
    poll: float
    patience: float
    max_bytes: int
    n_threads: int


class _All:
    """Several followers of the journal as one."""

    def __init__(self, *followers: Follower) -> None:
        self._followers = followers

    def catch_up(self) -> None:
        for follower in self._followers:
            follower.catch_up()


class RunningStation:
    """A station whose files are open. `watch` ends when the waker is stopped.

    Parameters
    ----------
    setup : Setup
    sessions : Sessions
    tell : callable (message)
        Takes messages for people.

    Raises
    ------
    CfaLiteError
        If a file or folder cannot be used.
    """

    def __init__(self, setup: Setup, sessions: Sessions, tell: Tell) -> None:
        self._setup, self._tell = setup, tell
        self._notice, self.waker = Notice(), Waker()
        self._version_of: dict[Path, int] = {}
        with contextlib.ExitStack() as refused:  # nothing is left of a start that is refused
            self._open(setup, sessions, refused)
            if setup.move_to:
                outputs.make_folder(setup.move_to)
            refused.pop_all()

    def _open(self, setup: Setup, sessions: Sessions, refused: contextlib.ExitStack) -> None:
        is_new = not setup.folder.exists()
        places = [outputs.make_folder(setup.folder / name) for name in ("", "models", "images")]
        self._database = Database(setup.folder / "station.sqlite")
        if is_new:  # and the database is not that of another station which is just starting
            refused.callback(shutil.rmtree, setup.folder, ignore_errors=True)
        refused.callback(self._database.close)
        self._versions = Versions(self._database, setup.part, places[1])
        in_use = self._versions.in_use
        good = [file.path for file in image_files.find_images([setup.good])] if setup.good else []
        self._pictures = Pictures(in_use.model.fitted_.value_range)
        fmt = tables.format_of(setup.output)
        self._fmt = fmt
        self._journal = Journal(setup.output.with_name(f"{setup.output.name}.journal"), fmt, tables.beginning(fmt))
        refused.callback(self._journal.discard)
        self._table = Table(setup.output, self._journal)
        self._reviews = Reviews(self._database, self._journal, fmt, self._version)
        self._reviews.catch_up()
        self._history = History(self._journal, fmt, self._reviews.in_use_since)
        decisions, kept = Decisions(self._database), KeptImages(places[2], setup.max_bytes)
        job = TeachingJob(self._versions, self._reviews, decisions, kept, good, self._database)
        self.parts = Parts(
            setup.part.stem, self._reviews, self._history, decisions, kept, self._versions, self._pictures, job,
            sessions, self._notice,
        )  # fmt: skip

    def watch(self) -> None:
        """Inspect images until the waker is stopped."""
        setup = self._setup
        station = Station(
            [setup.watched], self._inspect, self._keep_map, lambda result: None, self._tell_all, setup.move_to,
            setup.poll, _N_AT_ONCE,
        )  # fmt: skip
        moved = [setup.move_to] if setup.move_to else []
        arrivals = Arrivals([setup.watched], [setup.folder, *moved], self._journal, setup.patience, self._tell_all)
        followers = _All(self._table, self._reviews, self._history)
        with woken_by_changes(self.waker, [setup.watched]):
            Watch(station, self._journal, followers, arrivals, self.waker, self._fmt).run()

    def _tell_all(self, message: str) -> None:
        self._notice.tell(message)
        self._tell(message)

    def _inspect(self, arrivals: Sequence[Arrival]) -> Iterator[Inspection]:
        def one(arrival: Arrival) -> tuple[int, Inspection]:
            in_use = self._versions.in_use  # for each image anew: it may change at any time
            return in_use.number, next(in_use.model.inspect_many([arrival.path]))

        for arrival, (version, result) in zip(arrivals, threads.ordered_map(one, arrivals, self._setup.n_threads)):
            self._version_of[arrival.path] = version
            yield result

    def _keep_map(self, path: Path, name: Path, result: Inspection) -> None:
        self._pictures.inspected(name.as_posix().casefold(), self._version_of[path], result)

    def _version(self, path: Path) -> int:
        return self._version_of.pop(path, self._versions.in_use.number)

    def close(self) -> None:
        """Close the files."""
        self._table.close()
        self._journal.close()
        self._database.close()


def run(station: RunningStation, listening: socket.socket) -> None:
    """Watch and answer requests until SIGINT or SIGTERM.

    Raises
    ------
    OutputError
        If the watch has ended by an error. The server is then ended too, so that somebody notices.
    """
    failures: list[BaseException] = []
    watching: list[threading.Thread] = []

    def begin(end: Callable[[], None]) -> None:
        def watch() -> None:
            try:
                station.watch()
            except BaseException as error:
                failures.append(error)
                end()

        watching.append(threading.Thread(target=watch, name="cfa-lite-watch"))
        watching[0].start()

    try:
        server.run(StationSite(station.parts).app(), listening, _TIMEOUT, begin)
    finally:
        station.waker.stop()
        for thread in watching:
            thread.join()
        station.parts.job.close()
    if failures:
        raise OutputError(f"The watch has ended: {failures[0] or type(failures[0]).__name__}") from failures[0]
