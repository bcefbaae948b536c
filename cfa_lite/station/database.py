"""The database of a station: one SQLite file, which the threads of one process use in turn."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from ..line import sqlite_file

VERSION = "1"
# `images` follows the journal of the watch. `decisions`, `versions` and `uses` are only added to: what was once decided
# stays, and an undone decision says who has undone it, and when.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL,
    destination BLOB,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL,
    name TEXT NOT NULL,
    verdict TEXT NOT NULL,
    score REAL,
    message TEXT NOT NULL,
    version INTEGER NOT NULL,
    time REAL NOT NULL,
    decision INTEGER,
    is_waiting INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS images_waiting ON images (id) WHERE is_waiting;
CREATE INDEX IF NOT EXISTS images_by_verdict ON images (verdict);
CREATE INDEX IF NOT EXISTS images_decided ON images (decision) WHERE decision IS NOT NULL;
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image INTEGER NOT NULL,
    action TEXT NOT NULL,
    kind TEXT,
    marks TEXT NOT NULL,
    kept TEXT,
    operator TEXT NOT NULL,
    time REAL NOT NULL,
    version INTEGER NOT NULL,
    undone_by TEXT,
    undone_at REAL
);
CREATE INDEX IF NOT EXISTS decisions_by_image ON decisions (image);
CREATE TABLE IF NOT EXISTS versions (
    number INTEGER PRIMARY KEY,
    base INTEGER NOT NULL,
    digest BLOB NOT NULL,
    origin TEXT NOT NULL,
    operator TEXT NOT NULL,
    time REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS uses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    operator TEXT NOT NULL,
    time REAL NOT NULL
);
"""


class Database:
    """The file of a station. Only one process can have it open.

    Parameters
    ----------
    path : Path
        It is made if it does not exist. Its folder must exist.

    Raises
    ------
    OutputError
        If the file is not a station's of this version, is open in another process, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        in_use, remedy = "cfa-lite station. Stop it first.", "Give another --folder."
        with sqlite_file.opening(path, in_use, "file of cfa-lite station", remedy):
            self._db = sqlite_file.connect(path, _SCHEMA)
            self._db.execute("INSERT OR IGNORE INTO facts VALUES ('version', ?)", (VERSION,))
            (found,) = self._db.execute("SELECT value FROM facts WHERE name = 'version'").fetchone()
        if found != VERSION:
            raise OutputError(f"{path} is a file of version {found}, and this is {VERSION}. Give another --folder.")

    def fact(self, name: str) -> str | None:
        """Return what the station remembers by this name; None for nothing."""
        with self.reading() as db:
            found = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def remember(self, name: str, value: str | None) -> None:
        """Remember a value by this name, or forget it."""
        with self.writing() as db:
            db.execute("DELETE FROM facts WHERE name = ?", (name,))
            if value is not None:
                db.execute("INSERT INTO facts VALUES (?, ?)", (name, value))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Use the file alone for a block that changes nothing."""
        with self._lock, self._failing():
            yield self._db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Use the file alone for a block whose changes are on the disk at its end, or are not made at all.

        Raises
        ------
        OutputError
            If they cannot be written, for example because the disk is full.
        """
        with self._lock, self._failing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(f"{self.path} cannot be written ({error}). Free space for it.") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
