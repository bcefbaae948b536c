"""A lock, so that two runs never write the same results file at once."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import OutputError
from .outputs import writing

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_FAR_BYTE = 1 << 30  # Windows forbids reading what is locked, so the lock is behind what the file holds


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Be the only run that writes a file.

    The lock is one of the operating system on a hidden file beside it, so that it ends with its process, however that
    ends. File systems without locks, and files such as /dev/stdout, are not locked.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OutputError
        If another run is writing the file, or its folder cannot be made.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        place = path.resolve()
        file = None if place.exists() and not place.is_file() else _locked(place, path)
    if file is None:
        yield
        return
    name = Path(file.name)
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be removed
            file.close()
        with contextlib.suppress(OSError):
            name.unlink()
        file.close()


def _locked(place: Path, path: Path) -> IO[bytes] | None:
    """Return the open and locked file beside `place`, or None if there are no locks."""
    name = place.with_name(f".{place.name}.lock")
    while True:
        try:
            file = name.open("a+b")
        except OSError:  # a folder in which only the existing files can be written
            return None
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            owner = file.read(200).decode("utf-8", "replace")
            file.close()
            by = f" ({owner})" if owner else ""
            raise OutputError(
                f"{path} is being written by another run{by}. Nothing was changed. Wait for its end, or choose another"
                " --output."
            ) from error
        except OSError:
            file.close()
            return None
        if _is_current(file, name):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
            return file
        file.close()  # the run that held the lock has removed the file since


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        file.seek(_FAR_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_current(file: IO[bytes], name: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), name.stat())
    except FileNotFoundError:
        return False
