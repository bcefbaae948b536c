"""Stage 5, its inner part: which centers are nearest to points, and how far."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import threads
from . import _kernels

# Points multiplied and searched at a time, for nearest and for distances: products stay in the second-level cache.
_BLOCK, _BLOCK_DISTANCES = 256, 128
_BLOCK_K, _CENTERS_K = 128, 1024  # points and centers of nearest_k at a time


def nearest(points: np.ndarray, centers: np.ndarray, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Nearest center of each point.

    Parameters
    ----------
    points : ndarray (n, d) float32
    centers : ndarray (k, d) float32
    n_threads : int
        The answer does not depend on it.

    Returns
    -------
    index : ndarray (n,) int32
        Ties go to the lower index.
    distance_sq : ndarray (n,) float32
        Squared distance, never below 0. NaN for a point that is not finite.

    Notes
    -----
    |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2): one BLAS product a block and one pass over it while it is in cache.
    Descriptors are centred, so the expansion loses few digits; what it rounds below 0 is clamped.
    """
    n = len(points)
    points_sq = np.einsum("ij,ij->i", points, points)
    half_sq = _half_squares(centers)
    index, distance_sq = np.empty(n, np.int32), np.empty(n, np.float32)

    def one_block(part: slice) -> None:
        products = centers @ points[part].T
        _kernels.nearest_of_columns(products, half_sq, points_sq[part], index[part], distance_sq[part])

    with threads.serial_blas():
        for _ in threads.ordered_map(one_block, _blocks(n, _BLOCK), n_threads):
            pass
    return index, distance_sq


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _half_squares(centers: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", centers, centers) / 2


def folded(weight: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A descriptor and its bank as what `distances` multiplies with.

    Parameters
    ----------
    weight : ndarray (c, d) float32
        Descriptors are (patches - mean) @ weight.
    centers : ndarray (n_centers, d) float32

    Returns
    -------
    matrix : ndarray (d + n_centers, c) float32
        Gives a patch's descriptor, and its products with all centers.
    half_sq : ndarray (n_centers,) float32
        Half the squared norm of each center.
    """
    return np.concatenate([weight.T, centers @ weight.T]), _half_squares(centers)


def distances(patches: np.ndarray, matrix: np.ndarray, half_sq: np.ndarray) -> np.ndarray:
    """Distance of each patch to its nearest center, by a level's `folded` matrices.

    Parameters
    ----------
    patches : ndarray (c, n) float32
        A column a patch, centred by the level's mean.

    Returns
    -------
    ndarray (n,) float32

    Notes
    -----
    Descriptors are linear, so they and their products with the bank are one product. Block by block it stays in the
    cache; the buffer is used again, for a new one costs more than it takes to fill it.
    """
    n = patches.shape[1]
    found = np.empty(n, np.float32)
    buffer = np.empty(0, np.float32)
    with threads.serial_blas():
        for part in _blocks(n, _BLOCK_DISTANCES):
            shape = len(matrix), part.stop - part.start
            if buffer.shape != shape:
                buffer = np.empty(shape, np.float32)
            np.dot(matrix, patches[:, part], out=buffer)
            _kernels.distance_of_columns(buffer, half_sq, found[part])
    return found


def nearest_k(points: np.ndarray, centers: np.ndarray, k: int, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest centers of each point, nearest first.

    Parameters
    ----------
    points : ndarray (n, d) float32 or float64
    centers : ndarray (m, d) of the same type
    k : int, 1 to m
    n_threads : int
        The answer does not depend on it.

    Returns
    -------
    index : ndarray (n, k) int32
        Of equals the lower index comes first.
    distance_sq : ndarray (n, k) of the type of `points`
        Squared distances, ascending, never below 0.

    Notes
    -----
    One BLAS product a block and one pass over it while it is in cache.
    """
    n, m = len(points), len(centers)
    points_sq = np.einsum("ij,ij->i", points, points)
    half_sq = _half_squares(centers)
    index, distance_sq = np.empty((n, k), np.int32), np.empty((n, k), points.dtype)

    def one_block(part: slice) -> None:
        shape = k, part.stop - part.start
        at, least_sq = np.zeros(shape, np.int32), np.full(shape, np.inf, points.dtype)
        for some in _blocks(m, _CENTERS_K):
            products = centers[some] @ points[part].T
            _kernels.merge_nearest(products, half_sq[some], points_sq[part], some.start, at, least_sq)
        index[part], distance_sq[part] = at.T, least_sq.T

    with threads.serial_blas():
        for _ in threads.ordered_map(one_block, _blocks(n, _BLOCK_K), n_threads):
            pass
    return index, distance_sq
