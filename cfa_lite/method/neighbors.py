"""Nearest centers of points, and the distances to them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import threads
from . import _kernels

# Points per block of `nearest` and of `distances`, so that products stay in the second-level cache.
_BLOCK, _BLOCK_DISTANCES = 256, 128
_BLOCK_K, _CENTERS_K = 128, 1024  # points and centers per block of `nearest_k`


def nearest(points: np.ndarray, centers: np.ndarray, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest center of each point.

    Parameters
    ----------
    points : ndarray (n, d) float32
    centers : ndarray (n_centers, d) float32
    n_threads : int, at least 1
        The result is bit-equal for any number.

    Returns
    -------
    index : ndarray (n,) int32
        Of equally near centers, the lower index.
    distance_sq : ndarray (n,) float32
        Squared distances, at least 0. NaN for a point that is not finite.

    Notes
    -----
    |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2). Each block needs one BLAS product, and one pass over it while it is in the
    cache. Descriptors are centered, so the expansion loses few digits. Values below 0 are set to 0.
    """
    n = len(points)
    points_sq = np.einsum("ij,ij->i", points, points)
    half_sq = half_squares(centers)
    index, distance_sq = np.empty(n, np.int32), np.empty(n, np.float32)

    def one_block(part: slice) -> None:
        products = centers @ points[part].T
        _kernels.nearest_of_columns(products, half_sq, points_sq[part], index[part], distance_sq[part])

    with threads.serial_blas():
        for _ in threads.ordered_map(one_block, blocks(n, _BLOCK), n_threads):
            pass
    return index, distance_sq


def blocks(n: int, size: int) -> Iterator[slice]:
    """Divide n points into blocks of this size."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def half_squares(centers: np.ndarray) -> np.ndarray:
    """Return half of the squared norm of each row (n,)."""
    half_sq: np.ndarray = np.einsum("ij,ij->i", centers, centers) / 2
    return half_sq


def folded(weight: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Combine a linear descriptor and its memory bank into the matrices that `distances` uses.

    Parameters
    ----------
    weight : ndarray (c, d) float32
        Descriptors are (patches - mean) @ weight.
    centers : ndarray (n_centers, d) float32

    Returns
    -------
    matrix : ndarray (d + n_centers, c) float32
        Maps a centered patch to its descriptor, followed by the products of the descriptor with all centers.
    half_sq : ndarray (n_centers,) float32
        Half of the squared norm of each center.
    """
    with threads.serial_blas():  # the result is kept, whoever asks for it first
        return np.concatenate([weight.T, centers @ weight.T]), half_squares(centers)


def distances(patches: np.ndarray, matrix: np.ndarray, half_sq: np.ndarray) -> np.ndarray:
    """Compute the distance of each patch to its nearest center.

    Parameters
    ----------
    patches : ndarray (c, n) float32
        One column for each patch. The mean of the level is already subtracted.
    matrix : ndarray (d + n_centers, c) float32
    half_sq : ndarray (n_centers,) float32
        Both from `folded`.

    Returns
    -------
    ndarray (n,) float32

    Notes
    -----
    Descriptors are linear, so one matrix product gives them and their products with the centers.
    """
    distance = np.empty(patches.shape[1], np.float32)
    for part, products in products_of_blocks(matrix, patches):
        _kernels.distance_of_columns(products, half_sq, distance[part])
    return distance


def products_of_blocks(matrix: np.ndarray, patches: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Multiply a matrix (m, c) with patches (c, n) in blocks that stay in the cache.

    The buffer of the products (m, block) is reused, because allocating a new one takes longer than filling it.
    """
    buffer = np.empty((0, 0), np.float32)
    with threads.serial_blas():
        for part in blocks(patches.shape[1], _BLOCK_DISTANCES):
            shape = len(matrix), part.stop - part.start
            if buffer.shape != shape:
                buffer = np.empty(shape, np.float32)
            np.dot(matrix, patches[:, part], out=buffer)
            yield part, buffer


def nearest_k(points: np.ndarray, centers: np.ndarray, k: int, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest centers of each point, nearest first.

    Parameters
    ----------
    points : ndarray (n, d) float32 or float64
    centers : ndarray (n_centers, d) of the same dtype
    k : int, 1 to n_centers
    n_threads : int, at least 1
        The result is bit-equal for any number.

    Returns
    -------
    index : ndarray (n, k) int32
        Of equally near centers, the lower index comes first.
    distance_sq : ndarray (n, k) of the dtype of `points`
        Squared distances, ascending, at least 0.

    Notes
    -----
    Computed as in `nearest`, for blocks of points and of centers.
    """
    n, n_centers = len(points), len(centers)
    points_sq = np.einsum("ij,ij->i", points, points)
    half_sq = half_squares(centers)
    index, distance_sq = np.empty((n, k), np.int32), np.empty((n, k), points.dtype)

    def one_block(part: slice) -> None:
        shape = k, part.stop - part.start
        at, least_sq = np.zeros(shape, np.int32), np.full(shape, np.inf, points.dtype)
        for some in blocks(n_centers, _CENTERS_K):
            products = centers[some] @ points[part].T
            _kernels.merge_nearest(products, half_sq[some], points_sq[part], some.start, at, least_sq)
        index[part], distance_sq[part] = at.T, least_sq.T

    with threads.serial_blas():
        for _ in threads.ordered_map(one_block, blocks(n, _BLOCK_K), n_threads):
            pass
    return index, distance_sq
