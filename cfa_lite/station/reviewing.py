"""Reviewing: the images of the watch as the page shows them, from its journal into the database, in short lists."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..features import completeness
from ..line.arrivals import digest
from ..line.journal import Journal
from ..line.records import Content, Kept
from ..report import tables
from ..results import VERDICTS
from .database import Database

WAITING = ("NG", "UNSURE")  # verdicts that wait for a decision
_AT_ONCE = 1000  # rows in one transaction
# An image as `_image` reads it.
_FIELDS = (
    "i.id, i.path, i.destination, i.size, i.mtime_ns, i.digest, i.verdict, i.score, i.message, i.version, i.time,"
    " d.id, d.action, d.kind, d.operator, d.kept, i.name"
)
_FROM = f"SELECT {_FIELDS} FROM images AS i LEFT JOIN decisions AS d ON d.id = i.decision"


@dataclass(frozen=True)
class Decided:
    """The decision that counts for an image.

    Attributes
    ----------
    id : int
    action : {"good", "defect", "skip"}
    kind : str or None
        Of the defect.
    operator : str
    kept : str or None
        Name of the copy of the image.
    """

    id: int
    action: str
    kind: str | None
    operator: str
    kept: str | None


@dataclass(frozen=True)
class ReviewedImage:
    """An inspected image.

    Attributes
    ----------
    id : int
        Its number in the journal.
    path : Path
        Where it was when it was inspected.
    destination : Path or None
        Where it was moved.
    content : Content
    name : str
        Of its output files.
    verdict : str
    score : float or None
    message : str
    version : int
        Of the model that has inspected it.
    time : float
        Seconds since 1970.
    decided : Decided or None
    """

    id: int
    path: Path
    destination: Path | None
    content: Content
    name: str
    verdict: str
    score: float | None
    message: str
    version: int
    time: float
    decided: Decided | None

    @property
    def key(self) -> bytes:
        """What no other content has: the hash, or the number of an image that could not be read."""
        return self.content.digest or self.id.to_bytes(8, "big")

    def found(self) -> Path | None:
        """Return where the file is that was inspected; None if it is gone, or another one has taken its place."""
        for path in (self.destination, self.path):
            try:
                if path is None:
                    continue
                stamp = completeness.stamp(path)
                if stamp == self.content.stamp or (
                    stamp is not None
                    and stamp[0] == self.content.stamp[0]
                    and digest(path.read_bytes()) == self.content.digest
                ):
                    return path
            except OSError:
                continue
        return None


class Reviews:
    """The images of a watch. It follows the journal as the table of results does.

    Parameters
    ----------
    database : Database
    journal : Journal
    fmt : str
        Format of the rows of the journal.
    version_of : callable (path) -> int
        Version of the model that has inspected an image.

    Raises
    ------
    OutputError
        If the database has images that are not in the journal.
    """

    def __init__(self, database: Database, journal: Journal, fmt: str, version_of: Callable[[Path], int]) -> None:
        self._database, self._journal, self._fmt, self._version_of = database, journal, fmt, version_of
        with database.reading() as db:
            (self._number,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM images").fetchone()
        if self._number > len(journal):
            raise OutputError(
                f"{journal.path} has {len(journal)} images, and {database.path} has {self._number}: they do not belong"
                " together. Give the --output of this station, or another --folder."
            )

    def catch_up(self) -> None:
        """Take the images from the journal that are not yet in the database.

        Raises
        ------
        OutputError
            If they cannot be written. The next call tries again.
        """
        rows: list[tuple[Any, ...]] = []
        for kept in self._journal.images_after(self._number):
            rows.append(self._row(kept))
            if len(rows) == _AT_ONCE:
                self._add(rows)
                rows = []
        self._add(rows)

    def _row(self, kept: Kept) -> tuple[Any, ...]:
        values = _values(kept.row, self._fmt)
        verdict = values["verdict"]
        return (
            kept.number, os.fsencode(kept.path), kept.destination and os.fsencode(kept.destination),
            *kept.content.stamp, kept.content.digest, kept.name, verdict, values["score"], values["message"],
            self._version_of(kept.path), time.time(), verdict in WAITING,
        )  # fmt: skip

    def _add(self, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            with self._database.writing() as db:
                db.executemany(
                    "INSERT INTO images (id, path, destination, size, mtime_ns, digest, name, verdict, score, message,"
                    " version, time, is_waiting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
            self._number = rows[-1][0]

    def get(self, id_: int) -> ReviewedImage | None:
        """Return an image, or None if there is none of this number."""
        with self._database.reading() as db:
            found = db.execute(f"{_FROM} WHERE i.id = ?", (id_,)).fetchone()
        return found and _image(found)

    def waiting(self, before: int | None, n: int) -> list[ReviewedImage]:
        """Return the newest images that wait for a decision, of those before one of them."""
        return self._list("i.is_waiting AND i.id < ? ORDER BY i.id DESC LIMIT ?", before, n)

    def all(self, before: int | None, n: int) -> list[ReviewedImage]:
        """Return the newest images, of those before one of them."""
        return self._list("i.id < ? ORDER BY i.id DESC LIMIT ?", before, n)

    def decided(self, before: int | None, n: int) -> list[ReviewedImage]:
        """Return the images that were decided last, of those before the one of a decision."""
        return self._list("i.decision < ? ORDER BY i.decision DESC LIMIT ?", before, n)

    def taught(self) -> list[ReviewedImage]:
        """Return all images that were decided to be good or to have a defect, in the order of the decisions."""
        return self._list("i.decision < ? AND d.action IN ('good', 'defect') ORDER BY i.decision LIMIT ?", None, -1)

    def _list(self, where: str, before: int | None, n: int) -> list[ReviewedImage]:
        with self._database.reading() as db:
            found = db.execute(f"{_FROM} WHERE {where}", (2**62 if before is None else before, n)).fetchall()
        return [_image(row) for row in found]

    def counts(self) -> dict[str, int]:
        """Return the number of images by verdict."""
        with self._database.reading() as db:
            found = dict(db.execute("SELECT verdict, COUNT(*) FROM images GROUP BY verdict").fetchall())
        return {verdict: found.get(verdict, 0) for verdict in VERDICTS}

    def n_waiting(self) -> int:
        """Return the number of images that wait for a decision."""
        with self._database.reading() as db:
            n: int = db.execute("SELECT COUNT(*) FROM images WHERE is_waiting").fetchone()[0]
        return n

    def in_use_since(self) -> int:
        """Return the number of the first image after the last one that another version has inspected."""
        with self._database.reading() as db:
            number: int = db.execute(
                "SELECT COALESCE(MAX(id), 0) + 1 FROM images"
                " WHERE version <> (SELECT version FROM images ORDER BY id DESC LIMIT 1)"
            ).fetchone()[0]
        return number

    def newest(self) -> int:
        """Return the number of the newest image, 0 if there is none."""
        return int(self._number)


def _image(row: sqlite3.Row | tuple[Any, ...]) -> ReviewedImage:
    (id_, path, destination, size, mtime_ns, digest_, verdict, score, message, version, time_, decision, action, kind,
     operator, kept, name) = row  # fmt: skip
    return ReviewedImage(
        id_, Path(os.fsdecode(path)), None if destination is None else Path(os.fsdecode(destination)),
        Content((size, mtime_ns), digest_), name, verdict, score, message, version, time_,
        None if decision is None else Decided(decision, action, kind, operator, kept),
    )  # fmt: skip


def _values(row: bytes, fmt: str) -> dict[str, Any]:
    """Return the fields of a row of a table."""
    values = tables.values(row, fmt)
    if fmt != "jsonl":
        values["score"] = float(values["score"].replace(",", ".")) if values["score"] else None
    # A name that is not valid text cannot be stored as text.
    return values | {"message": values["message"].encode("utf-8", "replace").decode()}
