"""SQLite files that one process keeps open, and whose changes survive a power cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Open a file for this process alone, and make its tables if they are missing.

    Parameters
    ----------
    path : Path
        It is made if it does not exist. Its folder must exist.
    schema : str
        Statements that change nothing if the tables exist.

    Raises
    ------
    sqlite3.Error
        See `opening`.
    """
    db = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
    # The exclusive lock keeps a second process away, and makes the write-ahead log work without shared memory.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # what was committed is on the disk
    db.executescript(f"BEGIN EXCLUSIVE; {schema} COMMIT;")
    return db


@contextmanager
def opening(path: Path, in_use: str, foreign: str, remedy: str) -> Iterator[None]:
    """Turn the errors of a block that opens a file into an OutputError.

    Parameters
    ----------
    path : Path
    in_use : str
        By what another process uses it, and what to do then.
    foreign : str
        What it is not if it is a file of another program.
    remedy : str
        What to do with such a file.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise OutputError(f"{path} is in use by another {in_use}") from error
        raise OutputError(f"{path} cannot be written ({error}). Check the folder and the free space.") from error
    except sqlite3.DatabaseError as error:
        raise OutputError(f"{path} is not a {foreign} ({error}). {remedy}") from error
