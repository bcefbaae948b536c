"""Resampling between grids: bilinear interpolation along one side as a matrix, and means of cells."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image


@lru_cache(maxsize=256)
def bilinear_matrix(n_in: int, n_out: int, offset: float = 0.0) -> np.ndarray:
    """Build the matrix that resizes a column of `n_in` values to `n_out` values bilinearly.

    Parameters
    ----------
    n_in, n_out : int, at least 1
    offset : float, default: 0
        Where the values are too far along the column, in output pixels. The matrix moves them back.

    Returns
    -------
    ndarray (n_out, n_in) float64
        Read-only, because callers share it.

    Notes
    -----
    Pixel centers are at half-integer coordinates. Beyond the first and the last center, the value of the edge is used.
    """
    place = (np.arange(n_out) + 0.5 + offset) * n_in / n_out - 0.5
    low = np.floor(place).astype(np.int64)
    part = place - low
    matrix = np.zeros((n_out, n_in))
    rows = np.arange(n_out)
    np.add.at(matrix, (rows, np.clip(low, 0, n_in - 1)), 1 - part)
    np.add.at(matrix, (rows, np.clip(low + 1, 0, n_in - 1)), part)
    matrix.flags.writeable = False
    return matrix


def cell_means(values: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Average a map over the cells of a coarser grid.

    Parameters
    ----------
    values : ndarray (h_in, w_in)
        Of any dtype that converts to float32.
    grid : (int, int)
        Rows and columns of the coarser grid.

    Returns
    -------
    ndarray (h, w) float32
    """
    h, w = grid
    return np.asarray(Image.fromarray(values.astype(np.float32, copy=False)).resize((w, h), Image.Resampling.BOX))


def to_grid(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Resize maps to another grid: means of cells towards a coarser grid, bilinear interpolation towards a finer one.

    Parameters
    ----------
    maps : ndarray (n, h_in, w_in) float32
    grid : (int, int)
        Rows and columns. A coarser grid divides the rows and columns of the maps exactly.

    Returns
    -------
    ndarray (n, h, w) float32
    """
    (n, h_in, w_in), (h, w) = maps.shape, grid
    if (h_in, w_in) == (h, w):
        return maps
    if h_in > h:
        return np.asarray(maps.reshape(n, h, h_in // h, w, w_in // w).mean(axis=(2, 4)))
    rows, columns = (bilinear_matrix(*sides).astype(np.float32) for sides in ((h_in, h), (w_in, w)))
    resized: np.ndarray = rows @ maps @ columns.T
    return resized
