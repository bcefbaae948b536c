"""Feature cache: features of many images in memory and, above a limit, in a temporary file."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Union

import numpy as np


@dataclass(frozen=True)
class Filed:
    """An array in a file; `numpy.asarray` reads it again each time.

    A memory map would count as used memory once it has been read.

    Attributes
    ----------
    path : Path
    offset : int
        Position of the first byte in the file.
    shape : tuple of int
    dtype : numpy.dtype
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        count = int(np.prod(self.shape))
        values = np.fromfile(self.path, self.dtype, count, offset=self.offset).reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)


Features = Union[np.ndarray, Filed]


class FeatureStore:
    """Keep arrays for the duration of a ``with`` block. The returned features must not be used after the block.

    Parameters
    ----------
    max_mb : float, at least 0
        Arrays of up to this size in total, in megabytes (10^6 bytes), stay in memory.
    """

    def __init__(self, max_mb: float):
        self._n_free_bytes = max_mb * 1e6
        self._folder: Path | None = None
        self._n_written_bytes = 0

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._remove_folder()

    def keep(self, features: Sequence[Features]) -> list[Features]:
        """Store the features of one image.

        Parameters
        ----------
        features : sequence of ndarray or Filed

        Returns
        -------
        list of ndarray or Filed
            The same values, in memory or in the temporary file.

        Raises
        ------
        OSError
            If the temporary file cannot be written.
        """
        arrays = [np.asarray(one) for one in features]
        self._n_free_bytes -= sum(a.nbytes for a in arrays)
        if self._n_free_bytes >= 0:
            return list(arrays)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="cfa-lite-"))
            # Also runs at exit. Windows cannot delete a file that is still open in the traceback of an error.
            self._remove_folder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / "features"
        filed: list[Features] = []
        with path.open("ab") as file:
            for array in arrays:
                file.write(np.ascontiguousarray(array).data)
                filed.append(Filed(path, self._n_written_bytes, array.shape, array.dtype))
                self._n_written_bytes += array.nbytes
        return filed
