"""Memory bank: centers in descriptor space that follow the descriptors of normal images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .kmeans import cluster_sums
from .neighbors import nearest


def position_mean(descriptors: Iterable[np.ndarray]) -> np.ndarray:
    """Average the descriptors of each grid position over all images: the bank of the authors' code.

    Parameters
    ----------
    descriptors : iterable of ndarray (h*w, d)
        One array for each image; at least one.

    Returns
    -------
    ndarray (h*w, d) of the same dtype
        The sum is float64.
    """
    images = iter(descriptors)
    first = next(images)
    total, n = first.astype(np.float64), 1
    for one in images:
        total += one
        n += 1
    mean: np.ndarray = (total / n).astype(first.dtype)
    return mean


def follow(centers: np.ndarray, descriptors: np.ndarray, rate: float) -> np.ndarray:
    """Move each center towards its nearest descriptor by an exponential moving average.

    Parameters
    ----------
    centers : ndarray (n_centers, d) float32
    descriptors : ndarray (n, d) float32
    rate : float, 0 to 1
        Weight of the descriptor in the average.

    Returns
    -------
    ndarray (n_centers, d) float32

    Notes
    -----
    Algorithm 1 of Lee, Lee and Song (2022).
    """
    index, _ = nearest(centers, descriptors)
    moved: np.ndarray = ((1 - rate) * centers + rate * descriptors[index]).astype(centers.dtype)
    return moved


def follow_members(centers: np.ndarray, descriptors: np.ndarray, members: np.ndarray, rate: float) -> np.ndarray:
    """Move each center towards the mean of its members by an exponential moving average.

    Parameters
    ----------
    centers : ndarray (n_centers, d) float32
    descriptors : ndarray (n, d) float32
    members : ndarray (n,) int32
        Index of the center that each descriptor belongs to.
    rate : float, 0 to 1
        Weight of the mean in the average.

    Returns
    -------
    ndarray (n_centers, d) float32
        A center without members is unchanged.
    """
    sums, counts = cluster_sums(descriptors, members, len(centers))
    has_members = counts > 0
    moved = centers.copy()
    moved[has_members] = (1 - rate) * centers[has_members] + rate * (sums[has_members] / counts[has_members, None])
    return moved
