"""Certainty scores of the published method, and its anomaly map."""

from __future__ import annotations

import numpy as np

from ..method.anomaly_map import add_resized


def certainty_score(distance_sq: np.ndarray) -> np.ndarray:
    """Compute patch scores from the distances to the K nearest centers.

    Parameters
    ----------
    distance_sq : ndarray (n, K)
        Squared distances, ascending.

    Returns
    -------
    ndarray (n,)
        Distance to the nearest center, weighted by how much nearer it is than the next centers. With K = 1, the
        distance itself.

    Notes
    -----
    score = d_1 * exp(-d_1) / sum_k exp(-d_k): the distance times its softmin.
    """
    distance = np.sqrt(distance_sq)
    score: np.ndarray = distance[:, 0] / np.exp(distance[:, :1] - distance).sum(axis=1)
    return score


def smooth_map(patch_map: np.ndarray, size_px: tuple[int, int], sigma: float) -> np.ndarray:
    """Resize one map bilinearly and smooth it.

    Parameters
    ----------
    patch_map : ndarray (h_in, w_in), float32 or float64
    size_px : (int, int)
        Height and width of the result.
    sigma : float, at least 0
        Standard deviation of the Gaussian in pixels of the result.

    Returns
    -------
    ndarray (h, w) of the dtype of `patch_map`
    """
    total = np.zeros(size_px, patch_map.dtype)
    add_resized(patch_map, sigma, total)
    return total
