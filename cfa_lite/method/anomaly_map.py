"""Anomaly map: the distance maps of all levels are combined, smoothed and corrected."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from .. import threads
from . import _kernels
from .resampling import bilinear_matrix

SMOOTHING_SHARE = 4 / 224  # sigma of the Gaussian as a share of the short side of the working size
SHORT_SIDE_PX = 256  # sigma does not grow with larger images, because their defects do not
_TRUNCATE = 4.0  # the Gaussian is cut off at this multiple of sigma
POSITION_PRIOR = 20  # images without an excess that are added to the mean of each position
_CELL_PX = 8
_MEDIAN_STEP = 4  # the median uses every 4th row and column; the smoothed map has no finer structure


@lru_cache(maxsize=256)
def _side_matrix(n_in: int, n_out: int, sigma: float, offset: float) -> np.ndarray:
    """Combine bilinear interpolation and Gaussian smoothing along one side into a matrix (n_out, n_in) float64.

    Both are linear and separable. The Gaussian mirrors the edges.
    """
    rows = np.arange(n_out)
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    source = (rows[:, None] + offsets) % (2 * n_out)  # d c b a | a b c d | d c b a
    source = np.minimum(source, 2 * n_out - 1 - source)
    gaussian = np.zeros((n_out, n_out))
    np.add.at(gaussian, (np.broadcast_to(rows[:, None], source.shape), source), kernel)
    with threads.serial_blas():  # the result is kept, whoever asks for it first
        matrix: np.ndarray = gaussian @ bilinear_matrix(n_in, n_out, offset)
    return matrix


@lru_cache(maxsize=256)
def _taps(n_in: int, n_out: int, sigma: float, offset: float, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Extract the band of one side's matrix that is not 0: its first column in each row, and its values.

    The first columns have shape (n_out,), the values (n_out, n_taps). With a `sigma` of 0 the matrix only interpolates.
    """
    matrix = _side_matrix(n_in, n_out, sigma, offset) if sigma > 0 else bilinear_matrix(n_in, n_out, offset)
    used = matrix != 0
    first, last = used.argmax(1), n_in - 1 - used[:, ::-1].argmax(1)
    n_taps = int((last - first).max()) + 1
    first = np.minimum(first, n_in - n_taps)
    return first, np.take_along_axis(matrix, first[:, None] + np.arange(n_taps), 1).astype(dtype)


def add_resized(
    patch_map: np.ndarray, sigma: float, total: np.ndarray, offset_px: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Resize a map bilinearly, smooth it, and add it to another one.

    Parameters
    ----------
    patch_map : ndarray (h_in, w_in) float32 or float64
    sigma : float, at least 0
        Standard deviation of the Gaussian in pixels of `total`.
    total : ndarray (h, w) float32 or float64
        The resized map is added to it, in its dtype.
    offset_px : (float, float), default: (0, 0)
        How far down and right of its true place everything in the map is, in pixels of `total`. It is moved back.

    Notes
    -----
    Rows and columns are each multiplied by a banded matrix, because a pixel depends only on the patches near it.
    """
    (h_in, w_in), (h, w), dtype = patch_map.shape, total.shape, total.dtype
    wide = np.zeros((w, h_in), dtype)
    _kernels.add_combined_rows(*_taps(w_in, w, sigma, offset_px[1], dtype), np.ascontiguousarray(patch_map.T), wide)
    _kernels.add_combined_rows(*_taps(h_in, h, sigma, offset_px[0], dtype), np.ascontiguousarray(wide.T), total)


def weighted_map(
    distance_maps: Iterable[np.ndarray],
    weights: Iterable[float],
    size_px: tuple[int, int],
    smoothing: float,
    offsets_px: Iterable[tuple[float, float]] | None = None,
) -> np.ndarray:
    """Resize the distance maps of all levels bilinearly, smooth them, and sum them up with weights.

    Parameters
    ----------
    distance_maps : iterable of ndarray (h_in, w_in) float32
        One map for each level, on the grid of the level.
    weights : iterable of float
        One weight for each level.
    size_px : (int, int)
        Height and width of the working size.
    smoothing : float
        Standard deviation of the Gaussian as a share of the short side.
    offsets_px : iterable of (float, float), optional
        How far down and right of its true place each level shows everything, in pixels of the working size. By default
        nothing is moved back.

    Returns
    -------
    ndarray (h, w) float32

    Notes
    -----
    Maps on the same grid with the same offset are summed before they are resized.
    """
    sums: dict[tuple[tuple[int, ...], tuple[float, float]], np.ndarray] = {}
    for distances, weight, offset_px in zip(distance_maps, weights, offsets_px or itertools.repeat((0.0, 0.0))):
        weighted = distances * np.float32(weight)
        known = sums.get((distances.shape, offset_px))
        sums[distances.shape, offset_px] = weighted if known is None else known + weighted
    sigma = smoothing * min(*size_px, SHORT_SIDE_PX)
    total = np.zeros(size_px, np.float32)
    for (_, offset_px), weighted in sums.items():
        add_resized(weighted, sigma, total, offset_px)
    return total


def remove_background(anomaly_map: np.ndarray, share: float, inside: np.ndarray | None = None) -> np.ndarray:
    """Subtract a share of the map's median.

    Parameters
    ----------
    anomaly_map : ndarray (h, w) float32
    share : float, 0 to 1
    inside : ndarray (h, w) bool, optional
        Pixels that the inspection mask includes; the median is over these.

    Returns
    -------
    ndarray (h, w) float32

    Notes
    -----
    Changes of the light, the focus or the material raise the whole map.
    """
    return anomaly_map - np.float32(share) * _median(anomaly_map, inside)


def to_score(anomaly_map: np.ndarray, score: float, inside: np.ndarray | None = None) -> np.ndarray:
    """Stretch the map above its median so that its peak equals the score of the image.

    Parameters
    ----------
    anomaly_map : ndarray (h, w) float32
        In the unit of the score, but computed from other levels.
    score : float
    inside : ndarray (h, w) bool, optional
        Pixels that the inspection mask includes. All others become 0, or the score if it is below 0.

    Returns
    -------
    ndarray (h, w) float32

    Notes
    -----
    The map of an image above the limit has a region above the limit, and the map of any other image has none. The order
    of the pixels is unchanged. The median is unchanged too, so that the maps of normal images have the same scale.
    """
    counted = anomaly_map if inside is None else np.where(inside, anomaly_map, -np.inf)
    low, top = _median(anomaly_map, inside), np.float32(score)
    place = np.unravel_index(np.argmax(counted), counted.shape)
    peak = anomaly_map[place]
    # A map is only clipped if it is constant, or if the score is below its median.
    factor = (top - low) / (peak - low) if low < top and low < peak else np.float32(1)
    stretched = np.empty_like(anomaly_map)
    _kernels.stretch(anomaly_map, low, factor, top, stretched)
    stretched[place] = top  # exactly, in spite of rounding
    return stretched if inside is None else np.where(inside, stretched, min(np.float32(0), top))


def _median(anomaly_map: np.ndarray, inside: np.ndarray | None) -> np.float32:
    median: np.float32 = np.median(
        anomaly_map[::_MEDIAN_STEP, ::_MEDIAN_STEP] if inside is None else anomaly_map[inside]
    )
    return median


def position_grid(size_px: tuple[int, int]) -> tuple[int, int]:
    """Determine the grid (rows, columns) of the position means: one cell for each 8x8 pixels of the working size."""
    h, w = (max(1, side // _CELL_PX) for side in size_px)
    return h, w


def position_mean(sums: np.ndarray, n: int) -> np.ndarray:
    """Compute the mean excess score of normal images at each position, shrunk towards zero.

    Parameters
    ----------
    sums : ndarray (h, w) float64
        Sum of the cell means of the maps of `n` normal images.
    n : int

    Returns
    -------
    ndarray (h, w) float32

    Notes
    -----
    mean = (sums - mean(sums)) / (n + 20). Some positions, such as edges, have higher scores in every image. The mean of
    a few images is uncertain. Shrinking has the effect of `POSITION_PRIOR` more images without any excess.
    """
    mean: np.ndarray = ((sums - sums.mean()) / (n + POSITION_PRIOR)).astype(np.float32)
    return mean


def remove_position_mean(anomaly_map: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Subtract the position means, resized bilinearly, from a map.

    Parameters
    ----------
    anomaly_map : ndarray (h, w) float32
    mean : ndarray (h_in, w_in) float32
        From `position_mean`.

    Returns
    -------
    ndarray (h, w) float32
    """
    corrected = anomaly_map.copy()
    add_resized(-mean, 0.0, corrected)
    return corrected
