"""Arrivals: finding the images in watched folders that are complete and were not inspected before."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..features import completeness
from ..features.image_files import SUFFIXES
from .journal import Journal
from .records import Content

_SETTLE = 1.0  # seconds without a change, for formats whose files do not tell their ends
# PNG, JPEG, GIF, WebP and JPEG 2000: `completeness` finds the end of the image in the file.
_WITH_END = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Arrival:
    """An image that is complete.

    Attributes
    ----------
    path : Path
    folder : int
        Number of the watched folder.
    content : Content
    is_last_try : bool
        Whether an image that cannot be read is an ERROR. Before that, it may still be written.
    """

    path: Path
    folder: int
    content: Content
    is_last_try: bool


@dataclass
class _Waiting:
    """A file that is not complete: its stamp, since when it has had it, and whether it was tried to be inspected."""

    stamp: tuple[int, int]
    since: float
    is_tried: bool = False


class Arrivals:
    """Look for new images in folders and below, with what must be known for it in memory.

    Parameters
    ----------
    folders : sequence of Path
    outputs : iterable of Path
        Folders that are not searched, because images are written or moved there.
    journal : Journal
    patience : float, seconds
        A file that cannot be read as an image becomes an ERROR when it has not changed for this time.
    tell : callable (message)
        Takes messages for people.
    """

    def __init__(
        self, folders: Sequence[Path], outputs: Iterable[Path], journal: Journal, patience: float, tell: Tell
    ) -> None:
        self._folders = folders
        self._outputs = {os.path.realpath(path) for path in outputs}
        self._journal, self._patience, self._tell = journal, patience, tell
        self._done: dict[str, tuple[int, int]] = {}  # stamps of files that are there and were inspected
        self._waiting: dict[str, _Waiting] = {}
        self._taken: set[str] = set()  # returned by a look, and neither inspected nor given back
        self._away: set[Path] = set()

    @property
    def n_waiting(self) -> int:
        """Number of files that are not complete."""
        return len(self._waiting)

    @property
    def is_away(self) -> bool:
        """Whether a folder could not be read at the last look."""
        return bool(self._away)

    def look(self) -> list[Arrival]:
        """Search all folders; return images that are new and complete, in the order of their times of change."""
        ready: list[Arrival] = []
        there: set[str] = set()
        is_whole = True
        for i, folder in enumerate(self._folders):
            new: list[tuple[int, str, tuple[int, int]]] = []
            try:
                for path, stamp in self._files(folder):
                    there.add(path)
                    if self._done.get(path) != stamp:
                        new.append((stamp[1], path, stamp))
                self._back(folder)
            except OSError as error:
                self._gone(folder, error)
                is_whole = False
            for _, path, stamp in sorted(new):
                ready += self._examine(path, i, stamp)
        if is_whole:  # a share that is away keeps what is known of it
            self._done = {path: stamp for path, stamp in self._done.items() if path in there}
            self._waiting = {path: one for path, one in self._waiting.items() if path in there}
        return sorted(ready, key=lambda one: (one.content.stamp[1], one.path))

    def look_at(self, path: str) -> list[Arrival]:
        """Look at one file that has changed, as `look` does; it must be in one of the folders."""
        for i, folder in enumerate(self._folders):
            if not _is_image(Path(path).name) or not path.startswith(os.path.join(folder, "")):  # noqa: PTH118
                continue
            between = Path(path).relative_to(folder).parts[:-1]
            if any(part.startswith(".") for part in between) or self._outputs.intersection(
                os.path.realpath(parent) for parent in Path(path).parents
            ):
                return []
            try:
                status = os.stat(path, follow_symlinks=True)  # noqa: PTH116
            except OSError:  # gone again, or away: the next look tells
                return []
            stamp = status.st_size, status.st_mtime_ns
            return [] if self._done.get(path) == stamp else self._examine(path, i, stamp)
        return []

    def inspected(self, arrival: Arrival) -> None:
        """Note that the journal holds an image."""
        path = os.fspath(arrival.path)
        self._done[path] = arrival.content.stamp
        self._waiting.pop(path, None)
        self._taken.discard(path)

    def moved(self, path: Path) -> None:
        """Forget an image that was moved: another file of its name is a new image."""
        self._done.pop(os.fspath(path), None)

    def not_yet(self, arrival: Arrival) -> None:
        """Give an image back that could not be read, or has changed. It is looked at again when it changes."""
        path = os.fspath(arrival.path)
        self._taken.discard(path)
        waiting = self._waiting.get(path)
        if waiting is None or waiting.stamp != arrival.content.stamp:
            waiting = _Waiting(arrival.content.stamp, time.monotonic())
        waiting.is_tried = True
        self._waiting[path] = waiting

    def _files(self, folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield path and stamp of each image file in a folder and below it."""
        folders = [os.fspath(folder)]
        while folders:
            searched = folders.pop()
            try:
                entries = os.scandir(searched)
            except FileNotFoundError:
                if searched == os.fspath(folder):
                    raise
                continue  # removed since its parent was read
            with entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if not self._outputs or os.path.realpath(entry.path) not in self._outputs:
                            folders.append(entry.path)
                    elif _is_image(entry.name):
                        try:
                            status = entry.stat()
                        except FileNotFoundError:  # moved away, or a link to nothing
                            continue
                        yield entry.path, (status.st_size, status.st_mtime_ns)

    def _examine(self, path: str, folder: int, stamp: tuple[int, int]) -> list[Arrival]:
        if path in self._taken:
            return []
        if path not in self._waiting and self._journal.has_stamp(Path(path), stamp):
            self._done[path] = stamp
            return []
        now = time.monotonic()
        waiting = self._waiting.get(path)
        if waiting is None or waiting.stamp != stamp:
            waiting = _Waiting(stamp, now)
        seconds = now - waiting.since
        is_last_try = seconds >= self._patience
        if waiting.is_tried and not is_last_try:
            return []
        try:
            content = Path(path).read_bytes()
            is_ready = _is_complete(content, seconds) and completeness.stamp(path) == stamp
            found = Content(stamp, digest(content))
        except FileNotFoundError:
            return []
        except OSError as error:  # a file that may not be read becomes an ERROR; a share that fails is waited for
            is_last_try = is_last_try and isinstance(error, PermissionError)
            is_ready, found = False, Content(stamp, b"")
        if found.digest and self._journal.holds(Path(path), found):
            self._done[path] = stamp
            self._waiting.pop(path, None)
            return []
        if is_ready or is_last_try:
            self._taken.add(path)
            return [Arrival(Path(path), folder, found, is_last_try)]
        self._waiting[path] = waiting
        return []

    def _gone(self, folder: Path, error: OSError) -> None:
        if folder not in self._away:
            self._tell(f"{folder} cannot be read ({error.strerror or error}). It is watched again when it is back.")
        self._away.add(folder)

    def _back(self, folder: Path) -> None:
        if folder in self._away:
            self._tell(f"{folder} is back.")
        self._away.discard(folder)


def digest(content: bytes) -> bytes:
    """Return a hash of the content of a file."""
    return hashlib.blake2b(content, digest_size=16).digest()


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122  (no Path per file)


def _is_complete(content: bytes, seconds: float) -> bool:
    """Return whether a file is complete, given how long it has not changed."""
    if completeness.missing(content):
        return False
    return content.startswith(_WITH_END) or seconds >= _SETTLE
