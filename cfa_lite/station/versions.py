"""Versions of the model: each is kept in a folder, and the model file itself is always the one in use.

A version is written first, then it takes the place of the model file by a rename, and then the line uses it. A process
that is killed between any two of these steps starts again with a whole model.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import atomic
from ..base.detector import Detector
from ..errors import ArchiveError, OutputError
from ..estimator import load
from ..line.answering import RequestError
from ..line.arrivals import digest
from .database import Database

FOUND, TAUGHT = "found", "taught"  # origins of a version


@dataclass(frozen=True)
class InUse:
    """The model in use.

    Attributes
    ----------
    number : int
        Of its version.
    model : CFA or PublishedCFA
        Each image is inspected on one thread.
    """

    number: int
    model: Detector


class Versions:
    """The versions of a model. `part`, its file, becomes a new version if it is none yet.

    Parameters
    ----------
    database : Database
    part : Path
    folder : Path
        Of the versions. It must exist.

    Attributes
    ----------
    in_use : InUse
        Changes at once when another version is taken into use.

    Raises
    ------
    ArchiveError
        If the model cannot be read.
    OutputError
        If it cannot be copied.
    """

    def __init__(self, database: Database, part: Path, folder: Path) -> None:
        self._database, self.part, self._folder = database, part, folder
        self._lock = threading.Lock()
        self._backbone: Path | None = None
        try:
            model = self._open(part)
        except ArchiveError as error:
            if kept := sorted(folder.glob("*.cfa")):
                raise ArchiveError(f"{error} The station keeps its versions: copy one, such as {kept[-1]}.") from error
            raise
        if Path(model.fitted_.backbone).suffix.lower() == ".onnx":
            self._backbone = model.open_backbone().spec.path  # one beside the model is not beside its versions
        self.in_use = InUse(self._keep_part(), model)
        self._note(self.in_use.number, "")

    def file(self, number: int) -> Path:
        """Return the file of a version."""
        return self._folder / f"{number:04d}.cfa"

    def opened(self, number: int) -> Detector:
        """Read a version; the caller may change it."""
        return self._open(self.file(number))

    def base(self, number: int) -> int:
        """Return the version that was fitted, from which a version was taught; it may be itself."""
        with self._database.reading() as db:
            found = db.execute("SELECT base FROM versions WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise RequestError(404, f"there is no version {number}")
        base: int = found[0]
        return base

    def accept(self, taught: Detector, base: int, operator: str) -> int:
        """Keep a taught model as a new version, and take it into use; return its number.

        Raises
        ------
        ArchiveError, OutputError
            If it cannot be written. The line goes on with the model in use.
        """
        with self._lock:
            number = self._next()
            taught.save(self.file(number))
            model = self._open(self.file(number))  # what is not readable does not come to the line
            content = self.file(number).read_bytes()
            self._add(number, base, content, TAUGHT, operator)
            self._take(InUse(number, model), content, operator)
            return number

    def use(self, number: int, operator: str) -> None:
        """Take another version into use, such as an earlier one.

        Raises
        ------
        RequestError
            If there is no such version.
        ArchiveError, OutputError
            If it cannot be read or written. The line goes on with the model in use.
        """
        with self._lock:
            self.base(number)
            model = self._open(self.file(number))
            self._take(InUse(number, model), self.file(number).read_bytes(), operator)

    def listed(self) -> list[dict[str, Any]]:
        """Return all versions, the newest first, with `number`, `base`, `origin`, `operator`, `time` and `is_used`."""
        with self._database.reading() as db:
            found = db.execute("SELECT number, base, origin, operator, time FROM versions ORDER BY number DESC")
            names = ("number", "base", "origin", "operator", "time")
            return [dict(zip(names, row)) | {"is_used": row[0] == self.in_use.number} for row in found]

    def _next(self) -> int:
        with self._database.reading() as db:
            (number,) = db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM versions").fetchone()
        return int(number)

    def _add(self, number: int, base: int, content: bytes, origin: str, operator: str) -> None:
        with self._database.writing() as db:
            db.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)",
                (number, base, digest(content), origin, operator, time.time()),
            )

    def _keep_part(self) -> int:
        """Keep the model file as a version, if it is none yet, and return its number."""
        content = self.part.read_bytes()
        with self._database.reading() as db:
            found = db.execute(
                "SELECT number FROM versions WHERE digest = ? ORDER BY number DESC", (digest(content),)
            ).fetchone()
        number: int = found[0] if found else self._next()
        if not found or not self.file(number).exists():  # that of a known version may have been deleted
            self._write(self.file(number), content)
        if not found:
            self._add(number, number, content, FOUND, "")
        return number

    def _take(self, taken: InUse, content: bytes, operator: str) -> None:
        if self.part.exists():
            self._keep_part()  # another program may have written it
        self._write(self.part, content)
        self.in_use = taken
        self._note(taken.number, operator)

    def _note(self, number: int, operator: str) -> None:
        """Note since when a version is used, and by whom."""
        with self._database.writing() as db:
            db.execute("INSERT INTO uses (version, operator, time) VALUES (?, ?, ?)", (number, operator, time.time()))

    def _write(self, path: Path, content: bytes) -> None:
        try:
            with atomic.whole_file(path, durable=True) as file:
                file.write(content)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror or error}). The model in use stays the old one."
            ) from error

    def _open(self, path: Path) -> Detector:
        """Read a model with which several images can be inspected at once, each on one thread."""
        if not path.is_file():
            raise ArchiveError(f"{path} does not exist. Check the path.")
        model = load(path, backbone=self._backbone, threads=1)
        model.inspect_many([])  # it warms up, so that the first image does not wait
        return model
