"""Search for the nearest of many centers: first the nearest cells, then the centers that they list."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import threads
from . import _cell_kernels
from .kmeans import kmeans
from .neighbors import blocks, half_squares, nearest, products_of_blocks

MIN_CENTERS = 257  # up to 256 centers, comparing a point with all of them is as fast
CENTERS_PER_CELL = 16
N_LISTED = 32  # centers that each cell lists; a point is compared with those of two cells
POINTS_PER_CENTER = 16  # points that show which centers a cell lists
_BLOCK = 128  # points whose products stay in the cache


class Cells(NamedTuple):
    """Cells of a memory bank, in which the nearest center of a point is searched.

    Attributes
    ----------
    middles : ndarray (n_cells, d) float32
    listed : ndarray (n_cells, m) int32
        Indices of the centers that each cell lists. Cells overlap.
    """

    middles: np.ndarray
    listed: np.ndarray


class Search(NamedTuple):
    """Cells with the centers that they list, in the order of memory that the kernels need.

    Attributes
    ----------
    cells : Cells
    half_sq : ndarray (n_cells,) float32
        Half of the squared norm of each middle.
    centers : ndarray (n_cells, d, m) float32
        The listed centers of each cell, one in each column.
    centers_half_sq : ndarray (n_cells, m) float32
    """

    cells: Cells
    half_sq: np.ndarray
    centers: np.ndarray
    centers_half_sq: np.ndarray


def fit(centers: np.ndarray, points: np.ndarray) -> Cells | None:
    """Divide a memory bank into cells.

    Parameters
    ----------
    centers : ndarray (n_centers, d) float32
    points : ndarray (n, d) float32
        Descriptors that the memory bank was computed from.

    Returns
    -------
    Cells or None
        None if there are so few centers that cells save no time. The same arguments always give the same cells.

    Notes
    -----
    The middles are the centers of K-means over the memory bank. A cell lists the centers that are nearest to most of
    its points, then those that are nearest to its middle. The centers that are nearest to the middle alone would miss
    the center of a wide cluster that reaches into the cell, and such clusters are where points are far from centers.
    """
    if len(centers) < MIN_CENTERS:
        return None
    n_cells = -(-len(centers) // CENTERS_PER_CELL)
    middles = kmeans(centers, n_cells, np.random.default_rng(0), max_iterations=4).centers
    some = points[:: max(1, len(points) // (POINTS_PER_CENTER * len(centers)))]
    n_points = np.zeros((n_cells, len(centers)), np.int64)
    np.add.at(n_points, (nearest(some, middles)[0], nearest(some, centers)[0]), 1)
    apart = half_squares(centers) - middles @ centers.T
    listed = np.lexsort((apart, -n_points), axis=1)[:, :N_LISTED]
    return Cells(middles, np.sort(listed, axis=1).astype(np.int32))


def prepare(centers: np.ndarray, cells: Cells) -> Search:
    """Copy the centers that each cell lists."""
    near = np.ascontiguousarray(centers[cells.listed].transpose(0, 2, 1))
    return Search(cells, half_squares(cells.middles), near, half_squares(centers)[cells.listed])


def nearest_k(points: np.ndarray, search: Search, k: int, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest centers of each point among those that its two nearest cells list, nearest first.

    Parameters
    ----------
    points : ndarray (n, d) float32
    search : Search
    k : int, 1 to the number of centers that a cell lists
    n_threads : int, at least 1
        The result is bit-equal for any number.

    Returns
    -------
    index : ndarray (n, k) int32
    distance_sq : ndarray (n, k) float32
        Squared distances, ascending, at least 0. NaN for a point that is not finite.
    """
    (n, d), cells = points.shape, search.cells
    index, distance_sq = np.empty((n, k), np.int32), np.empty((n, k), np.float32)

    def one_block(part: slice) -> None:
        products = np.empty((d + len(cells.middles), part.stop - part.start), np.float32)
        products[:d] = points[part].T
        np.dot(cells.middles, products[:d], out=products[d:])
        _cell_kernels.nearest_in_cells(
            products, search.half_sq, cells.listed, search.centers, search.centers_half_sq, index[part],
            distance_sq[part],
        )  # fmt: skip

    with threads.serial_blas():
        for _ in threads.ordered_map(one_block, blocks(n, _BLOCK), n_threads):
            pass
    return index, distance_sq


def distances(patches: np.ndarray, matrix: np.ndarray, search: Search) -> np.ndarray:
    """Compute the distance of each patch to the nearest center that its two nearest cells list.

    Parameters
    ----------
    patches : ndarray (c, n) float32
        One column for each patch. The mean of the level is already subtracted.
    matrix : ndarray (d + n_cells, c) float32
        From `neighbors.folded` for the middles.
    search : Search

    Returns
    -------
    ndarray (n,) float32
        At least the distance to the nearest of all centers.
    """
    distance = np.empty(patches.shape[1], np.float32)
    for part, products in products_of_blocks(matrix, patches):
        _cell_kernels.distance_in_cells(
            products, search.half_sq, search.centers, search.centers_half_sq, distance[part]
        )
    return distance
