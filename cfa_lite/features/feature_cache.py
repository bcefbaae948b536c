"""Features of many images: in memory, and beyond a limit in a temporary file that is read when they are needed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Filed:
    """An array in a file; `numpy.asarray` reads it, each time anew. Mapped it would count as memory once it was seen."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        count = int(np.prod(self.shape))
        values = np.fromfile(self.path, self.dtype, count, offset=self.offset).reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)


Features = np.ndarray | Filed


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

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def keep(self, features: Sequence[Features]) -> list[Features]:
        """The same values, as they are or filed; they are of one image."""
        arrays = [np.asarray(one) for one in features]
        n_bytes = sum(a.nbytes for a in arrays)
        self._left -= n_bytes
        if self._left >= 0:
            return list(arrays)
        if self._folder is None:
            # On Windows a file that an unfinished error still holds open cannot be deleted at once.
            self._folder = tempfile.TemporaryDirectory(prefix="cfa-lite-", ignore_cleanup_errors=True)
        path = Path(self._folder.name, "features")
        filed: list[Features] = []
        with open(path, "ab") as file:
            for array in arrays:
                file.write(np.ascontiguousarray(array).data)
                filed.append(Filed(path, self._end, array.shape, array.dtype))
                self._end += array.nbytes
        return filed
