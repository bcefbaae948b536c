"""Feature maps -> patch features: one row for each grid position."""

from __future__ import annotations

import numpy as np

from ..method import _kernels


def pool(feature_map: np.ndarray) -> np.ndarray:
    """Replace each value by the mean of its 3x3 neighborhood in the same channel.

    Parameters
    ----------
    feature_map : ndarray (c, h, w) float32

    Returns
    -------
    ndarray (c, h, w) float32

    Notes
    -----
    The stride is 1. Positions outside the map count as zeros. Pooling adds the surroundings to each patch, which
    improves the score of the image but blurs the outline of small defects. Therefore levels exist with and without
    pooling.
    """
    out = np.empty_like(feature_map)
    _kernels.pool3x3(np.ascontiguousarray(feature_map), out)
    return out


def patch_features(feature_map: np.ndarray) -> np.ndarray:
    """Arrange a feature map as patch features.

    Parameters
    ----------
    feature_map : ndarray (c, h, w)

    Returns
    -------
    ndarray (h*w, c)
        A view of `feature_map`.
    """
    return feature_map.reshape(feature_map.shape[0], -1).T


def sample_positions(candidates: list[np.ndarray], n_total: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Sample the grid positions that training uses: about `n_total`, the same number from each image.

    Parameters
    ----------
    candidates : list of ndarray (n,) int64, sorted
        For each image, the positions of one level that may be sampled.
    n_total : int
        Number of positions over all images. An image with fewer candidates than its share contributes all of them.
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray (n,) int64, sorted
        Sampled positions of each image.
    """
    share = max(1, -(-n_total // len(candidates)))
    return [c[np.sort(rng.choice(len(c), share, replace=False))] if share < len(c) else c for c in candidates]
