"""Stage 5: the memory bank, K-means centers in descriptor space, and distances to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from . import _kernels, threads

# Points multiplied and searched at a time, for nearest and for distances: products stay in the second-level cache.
_BLOCK, _BLOCK_DISTANCES = 256, 128
_BLOCK_K, _CENTERS_K = 128, 1024  # points and centers of nearest_k at a time
_SEED_POINTS = 16  # points a center that k-means++ sees


# Lloyd's first iterations see only a part of the points: (one in so many, iterations). At equal time
# this reaches a lower inertia than all iterations on half the points (benchmarks/kmeans.py).
_WARM_UP = ((8, 5), (2, 4))
_WARM_UP_POINTS = 16  # points a center below which a warm-up step is left out


@dataclass(frozen=True)
class KMeansResult:
    """centers (k, d) float32; n_iterations: those over all points."""

    centers: np.ndarray
    n_iterations: int


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


def kmeans(
    points: np.ndarray,
    n_clusters: int,
    rng: np.random.Generator,
    max_iterations: int = 2,
    tolerance: float = 1e-3,
    n_threads: int = 1,
) -> KMeansResult:
    """K-means: k-means++ seeds, Lloyd iterations on growing random parts, then on all points.

    Parameters
    ----------
    points : ndarray (n, d) float32, finite
    n_clusters : int, 1 to n
    rng : numpy.random.Generator
        The only source of chance: same state, same centers.
    max_iterations : int, at least 1
        Iterations over all points. The default suits a memory bank, whose accuracy does not follow the
        last percent of inertia; for a clustering near its optimum give 100 and a tolerance of 1e-5.
    tolerance : float
        Stop when an iteration over all points lowers the inertia by less than this share of it.
    n_threads : int
        The answer does not depend on it, bit by bit.

    Raises
    ------
    ValueError
        If `points` is not finite, `n_clusters` is outside 1 to n, or an argument is out of its range.

    Notes
    -----
    A cluster left empty is re-seeded at the point farthest from its center. Growing parts follow the idea
    of nested mini-batches (Newling and Fleuret 2016) without their bounds.
    """
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError(f"points need shape (n, d) and finite values; got shape {points.shape}")
    n = len(points)
    if not 1 <= n_clusters <= n:
        raise ValueError(f"n_clusters={n_clusters} for {n} points: give 1 to {n}")
    if max_iterations < 1 or not tolerance >= 0:
        raise ValueError(f"max_iterations={max_iterations}, tolerance={tolerance}: at least 1 and at least 0")
    points = points[rng.permutation(n)]  # in random order every leading part is a random sample
    with threads.serial_blas():
        centers = _seed(points[: max(_SEED_POINTS * n_clusters, 2048)], n_clusters, rng)
        for one_in, n_steps in _WARM_UP:
            part = points[: n // one_in]
            if len(part) >= _WARM_UP_POINTS * n_clusters:
                for _ in range(n_steps):
                    centers = _means(part, *nearest(part, centers, n_threads), n_clusters)
        lost, n_iterations, improves = np.inf, 0, True
        while improves and n_iterations < max_iterations:
            n_iterations += 1
            labels, distance_sq = nearest(points, centers, n_threads)
            previous, lost = lost, float(distance_sq.sum(dtype=np.float64))
            centers = _means(points, labels, distance_sq, n_clusters)
            improves = previous - lost > tolerance * lost
    return KMeansResult(centers, n_iterations)


def inertia(points: np.ndarray, centers: np.ndarray) -> float:
    """Sum of squared distances of points (n, d) float32 to their nearest centers."""
    return float(nearest(points, centers)[1].sum(dtype=np.float64))


def _seed(points: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Seeds by k-means++ (Arthur and Vassilvitskii 2007)."""
    columns = np.ascontiguousarray(points.T)
    distance_sq, squared = np.full(len(points), np.inf, np.float32), np.empty(len(points), np.float32)
    picks = [int(rng.integers(len(points)))]
    while len(picks) < n_clusters:
        pick = _kernels.next_seed(columns, picks[-1], rng.random(), distance_sq, squared)
        # fewer different points than clusters: any will do
        picks.append(pick if pick >= 0 else int(rng.integers(len(points))))
    return points[picks]


def _means(points: np.ndarray, labels: np.ndarray, distance_sq: np.ndarray, n_clusters: int) -> np.ndarray:
    sums, counts = _sums(points, labels, n_clusters)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        farthest = np.argsort(-distance_sq, kind="stable")[: len(empty)]
        sums[empty], counts[empty] = points[farthest], 1
    return (sums / counts[:, None]).astype(np.float32)


def _sums(points: np.ndarray, labels: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum (n_clusters, d) float64 and number (n_clusters,) of each cluster's points."""
    sums, counts = np.zeros((n_clusters, points.shape[1])), np.zeros(n_clusters, np.int64)
    _kernels.add_to_clusters(points, labels, sums, counts)
    return sums, counts


def position_mean(descriptors: Iterable[np.ndarray]) -> np.ndarray:
    """The bank of the authors' code: the mean over pictures of each position's descriptor.

    Parameters
    ----------
    descriptors : iterable of ndarray (h*w, d), one a picture

    Returns
    -------
    ndarray (h*w, d)
    """
    pictures = iter(descriptors)
    first = next(pictures)
    total, n = first.astype(np.float64), 1
    for one in pictures:
        total += one
        n += 1
    return (total / n).astype(first.dtype)


def follow(centers: np.ndarray, descriptors: np.ndarray, rate: float) -> np.ndarray:
    """Move each center towards its nearest descriptor: exponential moving average (the paper's Algorithm 1).

    Parameters
    ----------
    centers : ndarray (m, d)
    descriptors : ndarray (n, d)
    rate : float, 0 to 1
        Share of the new in the average.
    """
    index, _ = nearest(centers, descriptors)
    return ((1 - rate) * centers + rate * descriptors[index]).astype(centers.dtype)


def follow_members(centers: np.ndarray, descriptors: np.ndarray, members: np.ndarray, rate: float) -> np.ndarray:
    """Move each center towards the mean of its members, by EMA; one without members stays.

    Parameters
    ----------
    centers : ndarray (m, d) float32
    descriptors : ndarray (n, d) float32
    members : ndarray (n,) int32
        Which center each descriptor belongs to.
    rate : float, 0 to 1
        Share of the new in the average.
    """
    sums, counts = _sums(descriptors, members, len(centers))
    has = counts > 0
    moved = centers.copy()
    moved[has] = (1 - rate) * centers[has] + rate * (sums[has] / counts[has, None])
    return moved
