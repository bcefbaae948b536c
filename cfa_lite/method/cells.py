"""Search for the nearest of many centers: first the nearest cell, then the centers that are near its middle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import threads
from . import _cell_kernels
from .neighbors import blocks, half_squares

MIN_CENTERS = 257  # up to 256 centers, comparing a point with all of them is as fast
CENTERS_PER_CELL = 16
N_LISTED = 64  # centers that each cell lists
_BLOCK = 128  # points whose products stay in the cache


class Cells(NamedTuple):
    """Cells of a memory bank: the middle of each cell, and the centers that are nearest to it.

    Cells overlap: a cell lists four times as many centers as fall to it, so that the nearest center of a point is
    nearly always listed by the cell whose middle is nearest to the point.

    Attributes
    ----------
    middles : ndarray (n_cells, d) float32
    half_sq : ndarray (n_cells,) float32
        Half of the squared norm of each middle.
    listed : ndarray (n_cells, m) int32
        Indices of the listed centers.
    centers : ndarray (n_cells, d, m) float32
        The listed centers of each cell, one in each column.
    centers_half_sq : ndarray (n_cells, m) float32
    """

    middles: np.ndarray
    half_sq: np.ndarray
    listed: np.ndarray
    centers: np.ndarray
    centers_half_sq: np.ndarray


def make(centers: np.ndarray, middles: np.ndarray) -> Cells:
    """List the centers that are nearest to each middle.

    Parameters
    ----------
    centers : ndarray (n_centers, d) float32
    middles : ndarray (n_cells, d) float32

    Returns
    -------
    Cells
    """
    n_listed = min(N_LISTED, len(centers))
    apart = half_squares(centers) - middles @ centers.T
    listed = np.sort(np.argpartition(apart, n_listed - 1, axis=1)[:, :n_listed], axis=1).astype(np.int32)
    near = np.ascontiguousarray(centers[listed].transpose(0, 2, 1))
    return Cells(middles, half_squares(middles), listed, near, half_squares(centers)[listed])


def nearest_k(points: np.ndarray, cells: Cells, k: int, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest centers of each point among those that its cell lists, nearest first.

    Parameters
    ----------
    points : ndarray (n, d) float32
    cells : Cells
    k : int, 1 to the number of listed centers
    n_threads : int, at least 1
        The result is bit-equal for any number.

    Returns
    -------
    index : ndarray (n, k) int32
        Of equally near centers, the lower index comes first.
    distance_sq : ndarray (n, k) float32
        Squared distances, ascending, at least 0. NaN for a point that is not finite.
    """
    n, d = points.shape
    index, distance_sq = np.empty((n, k), np.int32), np.empty((n, k), np.float32)

    def one_block(part: slice) -> None:
        products = np.empty((d + len(cells.middles), part.stop - part.start), np.float32)
        products[:d] = points[part].T
        np.dot(cells.middles, products[:d], out=products[d:])
        _cell_kernels.nearest_in_cells(
            products, cells.half_sq, cells.listed, cells.centers, cells.centers_half_sq, index[part], distance_sq[part]
        )

    with threads.serial_blas():
        for _ in threads.ordered_map(one_block, blocks(n, _BLOCK), n_threads):
            pass
    return index, distance_sq


def distances(patches: np.ndarray, matrix: np.ndarray, cells: Cells) -> np.ndarray:
    """Compute the distance of each patch to the nearest center that its cell lists.

    Parameters
    ----------
    patches : ndarray (c, n) float32
        One column for each patch. The mean of the level is already subtracted.
    matrix : ndarray (d + n_cells, c) float32
        From `neighbors.folded` for the middles.
    cells : Cells

    Returns
    -------
    ndarray (n,) float32
        At least the distance to the nearest of all centers.
    """
    n = patches.shape[1]
    distance = np.empty(n, np.float32)
    buffer = np.empty((0, 0), np.float32)
    with threads.serial_blas():
        for part in blocks(n, _BLOCK):
            shape = len(matrix), part.stop - part.start
            if buffer.shape != shape:
                buffer = np.empty(shape, np.float32)
            np.dot(matrix, patches[:, part], out=buffer)
            _cell_kernels.distance_in_cells(buffer, cells.half_sq, cells.centers, cells.centers_half_sq, distance[part])
    return distance
