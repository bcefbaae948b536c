"""Stage 5: the memory bank, K-means centers in descriptor space."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import threads
from . import _kernels
from .neighbors import nearest

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
    """The bank of the authors' code: the mean over images of each position's descriptor.

    Parameters
    ----------
    descriptors : iterable of ndarray (h*w, d), one an image

    Returns
    -------
    ndarray (h*w, d)
    """
    images = iter(descriptors)
    first = next(images)
    total, n = first.astype(np.float64), 1
    for one in images:
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
