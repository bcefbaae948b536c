"""K-means: k-means++ seeds, and Lloyd iterations on growing parts of the points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import threads
from . import _kernels
from .neighbors import nearest

_SEED_POINTS = 16  # points per center that k-means++ uses, as long as there are few centers
_MAX_SEED_POINTS = 4096
_MIN_SEED_POINTS = 2048
# (divisor, iterations): the first Lloyd iterations use 1/8, then 1/2 of the points. In the same time this reaches a
# lower inertia than iterations on half of the points alone (benchmarks/kmeans.py).
_WARM_UP = ((8, 5), (2, 4))
_WARM_UP_POINTS = 16  # a warm-up step is skipped if it has fewer points per center


@dataclass(frozen=True)
class KMeansResult:
    """Result of `kmeans`.

    Attributes
    ----------
    centers : ndarray (n_clusters, d) float32
    n_iterations : int
        Number of iterations over all points.
    """

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
    """Cluster points with k-means++ seeds and Lloyd iterations on growing random parts, then on all points.

    Parameters
    ----------
    points : ndarray (n, d) float32, finite
    n_clusters : int, 1 to n
    rng : numpy.random.Generator
        The same state gives the same centers.
    max_iterations : int, at least 1
        Iterations over all points. The default is enough for a memory bank, because the last percent of inertia does
        not affect its accuracy. For a clustering near the optimum, use 100 and a tolerance of 1e-5.
    tolerance : float, at least 0
        Iterations over all points stop when one lowers the inertia by less than this share of it.
    n_threads : int, at least 1
        The result is bit-equal for any number.

    Returns
    -------
    KMeansResult

    Raises
    ------
    ValueError
        If `points` has another shape or is not finite, or another argument is out of its range.

    Notes
    -----
    An empty cluster is moved to the point that is farthest from its center. Growing parts follow the idea of nested
    mini-batches (Newling and Fleuret 2016) without their bounds.
    """
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError(f"points have shape {points.shape}: give finite values of shape (n, d)")
    n = len(points)
    if not 1 <= n_clusters <= n:
        raise ValueError(f"n_clusters={n_clusters} for {n} points: give 1 to {n}")
    if max_iterations < 1 or not tolerance >= 0:
        raise ValueError(f"max_iterations={max_iterations}, tolerance={tolerance}: give at least 1 and at least 0")
    points = points[rng.permutation(n)]  # in random order, every leading part is a random sample
    with threads.serial_blas():
        n_seed_points = max(min(_SEED_POINTS * n_clusters, _MAX_SEED_POINTS), 4 * n_clusters, _MIN_SEED_POINTS)
        centers = seeds(points[:n_seed_points], n_clusters, rng)
        for divisor, n_steps in _WARM_UP:
            part = points[: n // divisor]
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


def seeds(points: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Select initial centers by k-means++ (Arthur and Vassilvitskii 2007).

    Parameters
    ----------
    points : ndarray (n, d) float32, finite
    n_clusters : int, at least 1
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (n_clusters, d) float32
        Points. If there are fewer different points than clusters, some are repeated.
    """
    columns = np.ascontiguousarray(points.T)
    distance_sq, squared = np.full(len(points), np.inf, np.float32), np.empty(len(points), np.float32)
    picks = [int(rng.integers(len(points)))]
    while len(picks) < n_clusters:
        pick = _kernels.next_seed(columns, picks[-1], rng.random(), distance_sq, squared)
        # -1: fewer different points than clusters, so any point is as good
        picks.append(pick if pick >= 0 else int(rng.integers(len(points))))
    return points[picks]


def _means(points: np.ndarray, labels: np.ndarray, distance_sq: np.ndarray, n_clusters: int) -> np.ndarray:
    sums, counts = cluster_sums(points, labels, n_clusters)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        farthest = np.argsort(-distance_sq, kind="stable")[: len(empty)]
        sums[empty], counts[empty] = points[farthest], 1
    means: np.ndarray = (sums / counts[:, None]).astype(np.float32)
    return means


def cluster_sums(points: np.ndarray, labels: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum up and count the points of each cluster.

    Parameters
    ----------
    points : ndarray (n, d) float32
    labels : ndarray (n,) int32
        Cluster of each point.
    n_clusters : int

    Returns
    -------
    sums : ndarray (n_clusters, d) float64
    counts : ndarray (n_clusters,) int64
    """
    sums, counts = np.zeros((n_clusters, points.shape[1])), np.zeros(n_clusters, np.int64)
    _kernels.add_to_clusters(points, labels, sums, counts)
    return sums, counts
