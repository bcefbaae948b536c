"""Stage 3: feature maps -> patch features, one row a grid position."""

from __future__ import annotations

import numpy as np

from ..method import _kernels


def pool(feature_map: np.ndarray) -> np.ndarray:
    """3x3 mean of each channel, stride 1, zero padding counted: (c, h, w) float32 -> the same shape.

    It gives a patch its surroundings (METHOD.md, stage 2): better for the image's score, worse for
    the outline of small defects, so levels exist with and without it.
    """
    out = np.empty_like(feature_map)
    _kernels.pool3x3(np.ascontiguousarray(feature_map), out)
    return out


def patch_features(feature_map: np.ndarray) -> np.ndarray:
    """Patch features of a map: (c, h, w) -> (h*w, c), a view."""
    return feature_map.reshape(feature_map.shape[0], -1).T


def sample_positions(candidates: list[np.ndarray], n_total: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Grid positions to learn from: about `n_total` in all, spread evenly over the images.

    Parameters
    ----------
    candidates : list of ndarray (n,) of int64, sorted
        Positions of each image at one level that count.
    n_total : int
        How many positions in all; every position of an image is taken where there are fewer.

    Returns
    -------
    list of ndarray of int64, sorted, one an image
    """
    share = max(1, -(-n_total // len(candidates)))
    return [c[np.sort(rng.choice(len(c), share, replace=False))] if share < len(c) else c for c in candidates]
