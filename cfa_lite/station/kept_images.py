"""Kept images: copies of the images that were decided, because the originals may be moved or deleted before teaching.

They are all that grows on the disk with use, and their size is bounded: the oldest copies make room for new ones.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .. import atomic
from ..errors import OutputError
from ..line.arrivals import digest


class KeptImages:
    """A folder of copies, which are named by their content.

    Parameters
    ----------
    folder : Path
        It must exist.
    max_bytes : int
        Of all copies together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()

    def keep(self, source: Path, expected: bytes) -> str | None:
        """Copy an image, and return the name of its copy. None if it alone is larger than all may be together.

        Parameters
        ----------
        source : Path
        expected : bytes
            Hash of its content.

        Raises
        ------
        OutputError
            If it cannot be copied, or another image has just taken its place.
        """
        with self._lock:
            try:
                content = source.read_bytes()
                if digest(content) != expected:
                    raise OutputError(f"{source} has just been replaced by another image. The decision was not kept.")
                name = expected.hex() + source.suffix.lower()
                path = self._folder / name
                if path.exists():
                    os.utime(path)  # it is as new as its last decision
                    return name
                if len(content) > self._max_bytes:
                    return None
                self._make_room(len(content))
                with atomic.whole_file(path, durable=True) as file:
                    file.write(content)
            except OSError as error:
                raise OutputError(
                    f"{source} cannot be copied to {self._folder} ({error.strerror or error}). Check the folder and the"
                    " free space."
                ) from error
            return name

    def find(self, name: str | None) -> Path | None:
        """Return the path of a copy, or None if it has made room for others."""
        path = self._folder / name if name else None
        return path if path is not None and path.is_file() else None

    def _make_room(self, n_bytes: int) -> None:
        with os.scandir(self._folder) as entries:
            found = [(entry.stat().st_mtime_ns, entry.stat().st_size, entry.path) for entry in entries]
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total + n_bytes <= self._max_bytes:
                break
            Path(path).unlink()
            total -= size
