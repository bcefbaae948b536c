"""The journal of a watch: which images were inspected, with their rows, in one SQLite file.

The journal is the truth, and the table of results is a copy of its rows. An image counts as inspected when its row is
in the journal, so a process that is killed between any two steps can tell what is done and what is left.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import OutputError
from . import sqlite_file
from .records import Content, Kept, Move

VERSION = "1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL,
    name TEXT NOT NULL UNIQUE,
    verdict TEXT NOT NULL,
    row BLOB NOT NULL,
    row_end INTEGER NOT NULL,
    destination BLOB,
    is_moved INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS images_by_path ON images (path);
CREATE INDEX IF NOT EXISTS images_to_move ON images (id) WHERE destination IS NOT NULL AND NOT is_moved;
"""


class NotKeptError(OutputError):
    """The journal cannot be written: no image since the last `Journal.commit` is in it."""


class Journal:
    """The journal of a watch. Only one process can have it open, and only one thread at a time may use it.

    Parameters
    ----------
    path : Path
        It is made if it does not exist.
    fmt : {"csv", "jsonl"}
        Format of the rows.
    header : str
        First line of the table, "" for none.
    older_header : str
        That of tables that were begun by an older version. Their journals keep it.

    Raises
    ------
    OutputError
        If the file is no journal of this version, holds rows of the other format, is open in another process, or cannot
        be written.
    """

    def __init__(self, path: Path, fmt: str, header: str, older_header: str = "") -> None:
        self.path = path
        remedy = "Move it away together with its table, or give another --output."
        in_use = "cfa-lite watch. Stop it, or give another --output."
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._is_new = not path.exists()
            with sqlite_file.opening(path, in_use, "journal of cfa-lite watch", remedy):
                self._db = sqlite_file.connect(path, _SCHEMA)
                self._db.execute("BEGIN")  # one write to the disk
                self._check("version", VERSION)
                self._check("format", fmt)
                self.key = self._fact("key", uuid.uuid4().hex)
                first = older_header if len(self) else header  # an older journal does not name its header
                self.header = self._fact("header", first or header).encode()
                self._db.commit()
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror or error}). Check the folder.") from error

    def _check(self, name: str, value: str) -> None:
        found = self._fact(name, value)
        if found != value:
            raise OutputError(
                f"{self.path} is a journal of {name} {found}, and this run needs {name} {value}. Give another --output,"
                " or move both away."
            )

    def _fact(self, name: str, value: str) -> str:
        """Return what the journal tells of itself by this name; it is set if the journal does not tell it yet."""
        self._db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
        found: str = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0]
        return found

    def exchange_fact(self, name: str, value: str) -> str:
        """Return what the journal tells of itself by this name, and let it tell `value` from now on.

        If it has not told anything yet, `value` is returned.
        """
        before = self._fact(name, value)
        with contextlib.suppress(sqlite3.Error):  # with a full disk, it is told again at the next start
            self._db.execute("UPDATE facts SET value = ? WHERE name = ?", (value, name))
        return before

    def __len__(self) -> int:
        n: int = self._db.execute("SELECT COALESCE(MAX(id), 0) FROM images").fetchone()[0]
        return n

    def holds(self, path: Path, content: Content) -> bool:
        """Return whether the content of a file was inspected under this path.

        A file whose time has changed but whose content has not is the same image: some file systems round times when
        they are mounted again. After an image was moved, a file of its name is a new image.
        """
        found = self._db.execute(
            "SELECT id, size, mtime_ns, digest, destination IS NOT NULL AND is_moved FROM images WHERE path = ?"
            " ORDER BY id DESC LIMIT 1",
            (os.fsencode(path),),
        ).fetchone()
        if found is None or found[4]:
            return False
        if (found[1], found[2]) == content.stamp:
            return True
        if not content.digest or found[3] != content.digest:
            return False
        with contextlib.suppress(sqlite3.Error):  # a full disk costs only that the file is read again
            self._db.execute("UPDATE images SET mtime_ns = ? WHERE id = ?", (content.stamp[1], found[0]))
        return True

    def has_stamp(self, path: Path, stamp: tuple[int, int]) -> bool:
        """Return whether a file was inspected under this path with this stamp. The file need not be read."""
        return self.holds(path, Content(stamp, b""))

    def has_name(self, name: str) -> bool:
        """Return whether an earlier image has this name for its output files."""
        found = self._db.execute("SELECT 1 FROM images WHERE name = ?", (name.casefold(),)).fetchone()
        return found is not None

    def add(self, path: Path, content: Content, name: str, verdict: str, row: bytes, destination: Path | None) -> int:
        """Add an inspected image, and return its number. It is on the disk after the next `commit`.

        Raises
        ------
        NotKeptError
            If it cannot be written, for example because the disk is full. All images since the last `commit` are then
            forgotten.
        """
        try:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            added = self._db.execute(
                "INSERT INTO images (path, size, mtime_ns, digest, name, verdict, row, row_end, destination, is_moved)"
                " SELECT ?, ?, ?, ?, ?, ?, ?, ? + COALESCE((SELECT row_end FROM images ORDER BY id DESC LIMIT 1), ?),"
                " ?, 0",
                (
                    os.fsencode(path), *content.stamp, content.digest, name.casefold(), verdict, row, len(row),
                    len(self.header), None if destination is None else os.fsencode(destination),
                ),
            )  # fmt: skip
        except sqlite3.Error as error:
            raise self._failed(error) from error
        assert added.lastrowid is not None
        return added.lastrowid

    def add_message(self, number: int, payload: bytes) -> None:
        """Add the message that an added image still has to send, as `add` does."""
        self._write("INSERT INTO messages VALUES (?, ?)", number, payload)

    def messages_after(self, number: int, n: int) -> list[tuple[int, bytes]]:
        """Return number and message of the first `n` images after the one of this number that have to send one."""
        found = self._db.execute("SELECT id, payload FROM messages WHERE id > ? ORDER BY id LIMIT ?", (number, n))
        return found.fetchall()

    def n_messages(self) -> int:
        """Count the messages that have to be sent."""
        n: int = self._db.execute("SELECT COUNT(*) FROM messages").fetchone()[0]
        return n

    def remove_messages(self, numbers: Sequence[int]) -> None:
        """Forget the messages of images, because they were sent."""
        if not numbers:
            return
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("DELETE FROM messages WHERE id = ?", [(number,) for number in numbers])
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Write the added images to the disk. If this raises a NotKeptError, they are forgotten."""
        try:
            self._db.commit()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> NotKeptError:
        with contextlib.suppress(sqlite3.Error):
            self._db.rollback()
        return NotKeptError(f"{self.path} cannot be written ({error}). Free space for it.")

    def rows_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """Yield number and row of each image after the one of this number."""
        yield from self._db.execute("SELECT id, row FROM images WHERE id > ? ORDER BY id", (number,))

    def images_after(self, number: int) -> Iterator[Kept]:
        """Yield each image after the one of this number."""
        found = self._db.execute(
            "SELECT id, path, destination, size, mtime_ns, digest, name, row FROM images WHERE id > ? ORDER BY id",
            (number,),
        )
        for id_, path, destination, size, time, digest, name, row in found:
            moved = None if destination is None else Path(os.fsdecode(destination))
            yield Kept(id_, Path(os.fsdecode(path)), moved, Content((size, time), digest), name, row)

    def last_row_within(self, n_bytes: int) -> tuple[int, int]:
        """Return number and end of the last row that ends within the first `n_bytes` of the table.

        Zero and the length of the header if there is none.
        """
        found: tuple[int, int] | None = self._db.execute(
            "SELECT id, row_end FROM images WHERE row_end <= ? ORDER BY id DESC LIMIT 1", (n_bytes,)
        ).fetchone()
        return found or (0, len(self.header))

    def to_move(self) -> list[Move]:
        """Return the images that are not yet at their destinations."""
        found = self._db.execute(
            "SELECT id, path, destination, size, mtime_ns, digest FROM images"
            " WHERE destination IS NOT NULL AND NOT is_moved ORDER BY id"
        )
        return [
            Move(number, Path(os.fsdecode(path)), Path(os.fsdecode(destination)), Content((size, time), digest))
            for number, path, destination, size, time, digest in found
        ]

    def set_destination(self, number: int, destination: Path | None) -> None:
        """Change the destination of an image; with None it stays where it is."""
        given = None if destination is None else os.fsencode(destination)
        self._write("UPDATE images SET destination = ? WHERE id = ?", given, number)

    def set_moved(self, number: int) -> None:
        """Note that an image is at its destination."""
        self._write("UPDATE images SET is_moved = 1 WHERE id = ?", number)

    def _write(self, statement: str, *values: object) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def discard(self) -> None:
        """Close the file after a start that was refused, and remove it if this object has made it."""
        is_unused = self._is_new and not len(self)
        self._db.close()
        if is_unused:
            for end in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + end).unlink(missing_ok=True)
