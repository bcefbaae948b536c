"""Features of many pictures: in memory, and beyond a limit in a temporary file that is mapped."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np


class FeatureStore:
    """Keeps arrays for the length of a `with` block; what it gave back must not be used after.

    Parameters
    ----------
    max_mb : float
        Arrays of up to so many megabytes (10^6 bytes) in all stay in memory.

    Raises
    ------
    OSError
        From `keep`, if the temporary file cannot be written.
    """

    def __init__(self, max_mb: float):
        self._left = max_mb * 1e6
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._end = 0
        self.spilled_mb = 0.0

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def keep(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The same values, as they are or mapped from the file; arrays of one type and one picture."""
        n_bytes = sum(a.nbytes for a in arrays)
        self._left -= n_bytes
        if self._left >= 0 or not n_bytes:
            return arrays
        if self._folder is None:
            # On Windows a file that an unfinished error still maps cannot be deleted at once.
            self._folder = tempfile.TemporaryDirectory(prefix="cfa-lite-", ignore_cleanup_errors=True)
        path = Path(self._folder.name, "features")
        with open(path, "ab") as file:
            for array in arrays:
                file.write(np.ascontiguousarray(array).data)
        n_values = sum(a.size for a in arrays)
        flat = np.memmap(path, arrays[0].dtype, "r+", offset=self._end, shape=(n_values,)).view(np.ndarray)
        self._end += n_bytes
        self.spilled_mb += n_bytes / 1e6
        parts = np.split(flat, np.cumsum([a.size for a in arrays])[:-1])
        return [part.reshape(a.shape) for part, a in zip(parts, arrays)]
