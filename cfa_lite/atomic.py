"""Atomic writes: a file is complete or absent, because it is written under a temporary name and then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: str | os.PathLike[str], durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the name `path` only if the block ends without an error.

    Parameters
    ----------
    path : str or path
        Final name of the file. An existing file is replaced.
    durable : bool
        Write the bytes to the disk before the file is renamed, so that a power cut cannot leave an empty file.

    Yields
    ------
    binary file, open for writing

    Raises
    ------
    OSError
        If the file cannot be written. The temporary file is removed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
