"""Stage 6: distance maps of all levels -> one score map and one raw score a picture."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from .grids import bilinear_matrix

SMOOTHING_SHARE = 4 / 224  # Gaussian sigma as a share of the working size's short side (METHOD.md, stage 6)
_TRUNCATE = 4.0  # the Gaussian ends after so many sigma
_MEDIAN_STEP = 4  # the median is taken of every 4th row and column: smoothing leaves no more than that


@lru_cache(maxsize=256)
def _side_matrix(n_in: int, n_out: int, sigma: float, dtype: np.dtype) -> np.ndarray:
    """Bilinear interpolation (half-pixel centers, edges held) and then Gaussian smoothing (edges
    mirrored) along one side, as one matrix (n_out, n_in): both are linear and separable."""
    rows = np.arange(n_out)
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    source = (rows[:, None] + offsets) % (2 * n_out)  # d c b a | a b c d | d c b a
    source = np.minimum(source, 2 * n_out - 1 - source)
    gaussian = np.zeros((n_out, n_out))
    np.add.at(gaussian, (np.broadcast_to(rows[:, None], source.shape), source), kernel)
    return (gaussian @ bilinear_matrix(n_in, n_out)).astype(dtype)


def mean_map(distance_maps: Iterable[np.ndarray], size_px: tuple[int, int]) -> np.ndarray:
    """Mean of the levels' distance maps, each brought to `size_px` bilinearly, smoothed.

    Parameters
    ----------
    distance_maps : iterable of ndarray (h, w) float32
        One a level on the level's own grid, each divided by its mean on held-back good pictures.
    size_px : (int, int)
        Height and width of the working size.

    Returns
    -------
    ndarray (h, w) float32

    Notes
    -----
    Maps of one grid are summed first; then rows and columns are each one small matrix product.
    """
    sums: dict[tuple[int, int], np.ndarray] = {}
    n_levels = 0
    for distances in distance_maps:
        n_levels += 1
        known = sums.get(distances.shape)
        sums[distances.shape] = distances if known is None else known + distances
    sigma = SMOOTHING_SHARE * min(size_px)
    total = np.zeros(size_px, np.float32)
    for distances in sums.values():
        total += smooth_map(distances, size_px, sigma)
    return total / np.float32(n_levels)


def remove_background(score_map: np.ndarray, share: float) -> np.ndarray:
    """Take a share of the picture's own median off its map: light, focus or another lot lift it all."""
    return score_map - np.float32(share) * np.median(score_map[::_MEDIAN_STEP, ::_MEDIAN_STEP])


def certainty_score(distance_sq: np.ndarray) -> np.ndarray:
    """Patch scores of recipe `paper`: softmin(d_1..d_K)[1] * d_1.

    Parameters
    ----------
    distance_sq : ndarray (n, K)
        Squared distances to the K nearest centers, ascending.

    Returns
    -------
    ndarray (n,)
        Nearest distance, weighted by how much nearer that center is than the next ones; with K = 1 the
        nearest distance itself.
    """
    distance = np.sqrt(distance_sq)
    return distance[:, 0] / np.exp(distance[:, :1] - distance).sum(axis=1)


def smooth_map(patch_map: np.ndarray, size_px: tuple[int, int], sigma: float) -> np.ndarray:
    """One map brought to `size_px` bilinearly and smoothed, in its own float type."""
    rows, columns = (_side_matrix(n_in, n_out, sigma, patch_map.dtype) for n_in, n_out in zip(patch_map.shape, size_px))
    return rows @ patch_map @ columns.T
