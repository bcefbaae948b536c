"""Stage 6: distance maps of all levels -> one score map and one raw score an image."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from . import _kernels
from .resampling import bilinear_matrix

SMOOTHING_SHARE = 4 / 224  # Gaussian sigma as a share of the working size's short side (METHOD.md, stage 6)
SHORT_SIDE_PX = 256  # of a larger image, as usual: its defects do not grow with it
_TRUNCATE = 4.0  # the Gaussian ends after so many sigma
POSITION_PRIOR = 20  # images
_CELL_PX = 8
_MEDIAN_STEP = 4  # the median is taken of every 4th row and column: smoothing leaves no more than that


@lru_cache(maxsize=256)
def _side_matrix(n_in: int, n_out: int, sigma: float) -> np.ndarray:
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
    return gaussian @ bilinear_matrix(n_in, n_out)


@lru_cache(maxsize=256)
def _taps(n_in: int, n_out: int, sigma: float, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The band of one side's matrix that is not 0: its first column (n_out,) in each row, and values (n_out, n_taps).

    A `sigma` of 0 is bilinear interpolation alone.
    """
    matrix = _side_matrix(n_in, n_out, sigma) if sigma > 0 else bilinear_matrix(n_in, n_out)
    used = matrix != 0
    first, last = used.argmax(1), n_in - 1 - used[:, ::-1].argmax(1)
    n_taps = int((last - first).max()) + 1
    first = np.minimum(first, n_in - n_taps)
    return first, np.take_along_axis(matrix, first[:, None] + np.arange(n_taps), 1).astype(dtype)


def _add_resized(patch_map: np.ndarray, sigma: float, total: np.ndarray) -> None:
    """Add a map, brought to `total`'s size bilinearly and smoothed, to `total`.

    Rows and columns are each one banded matrix: a pixel is made of the few patches near it.
    """
    (h_in, w_in), (h, w), dtype = patch_map.shape, total.shape, total.dtype
    wide = np.zeros((w, h_in), dtype)
    _kernels.add_combined_rows(*_taps(w_in, w, sigma, dtype), np.ascontiguousarray(patch_map.T), wide)
    _kernels.add_combined_rows(*_taps(h_in, h, sigma, dtype), np.ascontiguousarray(wide.T), total)


def weighted_map(
    distance_maps: Iterable[np.ndarray], weights: Iterable[float], size_px: tuple[int, int], smoothing: float
) -> np.ndarray:
    """Weighted sum of the levels' distance maps, each brought to `size_px` bilinearly, smoothed.

    Parameters
    ----------
    distance_maps : iterable of ndarray (h, w) float32
        One a level on the level's own grid.
    weights : iterable of float
        One a level.
    size_px : (int, int)
        Height and width of the working size.
    smoothing : float
        Gaussian sigma as a share of the short side.

    Returns
    -------
    ndarray (h, w) float32

    Notes
    -----
    Maps of one grid are summed first.
    """
    sums: dict[tuple[int, ...], np.ndarray] = {}
    for distances, weight in zip(distance_maps, weights, strict=True):
        weighted = distances * np.float32(weight)
        known = sums.get(distances.shape)
        sums[distances.shape] = weighted if known is None else known + weighted
    sigma = smoothing * min(*size_px, SHORT_SIDE_PX)
    total = np.zeros(size_px, np.float32)
    for weighted in sums.values():
        _add_resized(weighted, sigma, total)
    return total


def remove_background(score_map: np.ndarray, share: float, inside: np.ndarray | None = None) -> np.ndarray:
    """Take a share of the image's own median off its map: light, focus or another lot lift it all.

    The median is of what counts, `inside` (h, w) bool.
    """
    return score_map - np.float32(share) * _median(score_map, inside)


def to_score(score_map: np.ndarray, score: float, inside: np.ndarray | None = None) -> np.ndarray:
    """Bring an image's map to its score: above its own median it is stretched so that its peak is the score.

    Parameters
    ----------
    score_map : ndarray (h, w) float32
        In the score's unit, but made of other levels.
    score : float
    inside : ndarray (h, w) bool, optional
        What counts; elsewhere the map becomes 0, or the score if that is lower.

    Notes
    -----
    So an image above the limit shows where, and one below shows nothing; the order of a map's pixels stays as
    it is. The median stays too: the map of a part that is as usual is on one scale with every other.
    """
    counted = score_map if inside is None else np.where(inside, score_map, -np.inf)
    low, top = _median(score_map, inside), np.float32(score)
    place = np.unravel_index(np.argmax(counted), counted.shape)
    peak = score_map[place]
    # lower than its own median, or without any relief, it is only cut
    factor = (top - low) / (peak - low) if low < top and low < peak else np.float32(1)
    brought = np.empty_like(score_map)
    _kernels.stretch(score_map, low, factor, top, brought)
    brought[place] = top  # exactly, whatever was rounded
    return brought if inside is None else np.where(inside, brought, min(np.float32(0), top))


def _median(score_map: np.ndarray, inside: np.ndarray | None) -> np.float32:
    return np.median(score_map[::_MEDIAN_STEP, ::_MEDIAN_STEP] if inside is None else score_map[inside])


def position_grid(size_px: tuple[int, int]) -> tuple[int, int]:
    """Grid on which position means are held: a cell for every 8 x 8 pixels of the working size."""
    h, w = (max(1, side // _CELL_PX) for side in size_px)
    return h, w


def position_mean(sums: np.ndarray, n: int) -> np.ndarray:
    """How much higher than elsewhere good images are at each place, shrunk towards nowhere.

    Parameters
    ----------
    sums : ndarray (h, w)
        Sum of the cell means of `n` good images.

    Notes
    -----
    Where a part always looks less usual than elsewhere, as at an edge, a new one does too. A place's mean of
    few images is uncertain: it counts as much as if `POSITION_PRIOR` more showed nothing special there.
    """
    return ((sums - sums.mean()) / (n + POSITION_PRIOR)).astype(np.float32)


def remove_position_mean(score_map: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Take the position means, brought to the map's size bilinearly, off a map."""
    without = score_map.copy()
    _add_resized(-mean, 0.0, without)
    return without


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
    total = np.zeros(size_px, patch_map.dtype)
    _add_resized(patch_map, sigma, total)
    return total
