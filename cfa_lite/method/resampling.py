"""From grid to grid: bilinear resizing along one side as a matrix, and means of cells."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image


@lru_cache(maxsize=256)
def bilinear_matrix(n_in: int, n_out: int) -> np.ndarray:
    """Matrix (n_out, n_in) float64 that resizes a column of n_in values to n_out: half-pixel centers, edges held."""
    place = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    low = np.floor(place).astype(np.int64)
    part = place - low
    matrix = np.zeros((n_out, n_in))
    rows = np.arange(n_out)
    np.add.at(matrix, (rows, np.clip(low, 0, n_in - 1)), 1 - part)
    np.add.at(matrix, (rows, np.clip(low + 1, 0, n_in - 1)), part)
    matrix.flags.writeable = False  # shared by all callers
    return matrix


def cell_means(values: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Mean of a map (h, w) in each cell of a coarser grid over it: float32."""
    h, w = grid
    return np.asarray(Image.fromarray(values.astype(np.float32, copy=False)).resize((w, h), Image.Resampling.BOX))
