"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: str | os.PathLike, durable: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` only if the block ends without an error.

    With `durable` the bytes are on the disk, not only on their way to it, before the name is.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
