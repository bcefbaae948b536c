"""Registration: how far an image is shifted or rotated against the mean of the good images, by phase correlation."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

CELLS = 64  # of a thumbnail along the side of a square image
_UNIT = 8  # both sides of a thumbnail are multiples of it: a fast Fourier transform, and halves with a center
_MIN_CELLS, _MAX_CELLS = 16, 256
_BORDER = 0.25  # share of a side over which the window falls to zero
_BANDWIDTH = 0.12  # of the low-pass filter, in cycles per cell
_N_STEPS, _LAST_STEP, _MAX_DEGREES = 5, 0.2, 20.0  # of measuring a rotation; the steps are in degrees
MAX_SHARE = 0.25  # of a side: larger shifts are not looked for


class Placement(NamedTuple):
    """Where an image lies against the reference.

    Attributes
    ----------
    down, right : float
        Shift in cells of the thumbnail.
    quality : float
        Height of the peak of the phase correlation: 1 for equal images, below 0.1 for unrelated ones.
    degrees : float
        Rotation, clockwise. NaN if it was not measured.
    misfit : float
        Mean distance in cells between the measured shifts of the four quarters and those of a rotation.
    """

    down: float
    right: float
    quality: float
    degrees: float = float("nan")
    misfit: float = float("nan")


@lru_cache(maxsize=16)
def grid_of(size_px: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of the thumbnail of an image (h, w)."""
    cell_px = float(np.sqrt(size_px[0] * size_px[1])) / CELLS
    rows, columns = (int(np.clip(round(side / cell_px / _UNIT) * _UNIT, _MIN_CELLS, _MAX_CELLS)) for side in size_px)
    return rows, columns


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Reduce pixels (3, h, w) to the thumbnail (rows, columns) of their second plane, without its large gradients.

    Brightness that changes slowly from place to place belongs to the light, not to the part.
    """
    rows, columns = grid_of((pixels.shape[1], pixels.shape[2]))
    small = block_means(pixels[1], (rows, columns))
    coarse = block_means(small, (rows // _UNIT, columns // _UNIT))
    gradients = _interpolation(coarse.shape[0]) @ coarse @ _interpolation(coarse.shape[1]).T
    return np.asarray(small - gradients)


@lru_cache(maxsize=16)
def _interpolation(n: int) -> np.ndarray:
    """Return the matrix (_UNIT * n, n) of Pillow's bilinear filter, which enlarges by `_UNIT`."""
    one_each = Image.fromarray(np.eye(n, dtype=np.float32))
    return np.asarray(one_each.resize((n, _UNIT * n), Image.Resampling.BILINEAR))


def block_means(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Average values (h, w) of float32 in the cells of a grid (rows, columns).

    Cells of whole pixels are summed directly, which takes a third of the time of Pillow's filter. Both agree but for
    rounding.
    """
    (h, w), (rows, columns) = values.shape, grid
    if h % rows or w % columns:
        return np.asarray(Image.fromarray(values).resize((columns, rows), Image.Resampling.BOX))
    high, wide = h // rows, w // columns
    strips = values.reshape(rows, high, w).sum(axis=1)
    total = strips[:, ::wide].copy()
    for i in range(1, wide):
        total += strips[:, i::wide]
    return np.asarray(total / np.float32(high * wide))


def translated(values: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move the content of values (..., h, w) down and right; what moves in mirrors the edge.

    A repeated edge would show streaks, which no good image has.
    """
    rows, columns = (_mirrored(n, by) for n, by in zip(values.shape[-2:], (down, right)))
    return np.ascontiguousarray(values[..., rows[:, None], columns])


def _mirrored(n: int, by: int) -> np.ndarray:
    at = np.arange(n) - by
    return np.clip(np.where(at < 0, -1 - at, np.where(at >= n, 2 * n - 1 - at, at)), 0, n - 1)


class Spectra:
    """The conjugate Fourier transforms of a thumbnail and of its four quarters.

    Parameters
    ----------
    values : ndarray of shape (h, w)
        A thumbnail, or a mean of thumbnails.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = np.asarray(values, np.float32)

    @cached_property
    def whole(self) -> np.ndarray:
        """Conjugate of the transform of the whole thumbnail."""
        return _transform(self.values).conj()

    @cached_property
    def quarters(self) -> np.ndarray:
        """Conjugates of the transforms of the quarters: upper left, upper right, lower left, lower right."""
        return _transform(_quarters(self.values)).conj()

    def placement_of(self, image: np.ndarray, rotation_below: float = 2.0) -> Placement:
        """Measure how far the thumbnail of an image is shifted and rotated against this one.

        The rotation is measured if the quality of the placement is below `rotation_below`.

        Notes
        -----
        The shift is the peak of the phase correlation, which is the inverse transform of the low-pass filtered phases
        of the cross-power spectrum; a parabola gives its place between cells. The rotation is the one that explains the
        shifts of the four quarters best, after the shift of the whole image was taken out. The image is then turned
        back and measured again, because content that turns moves less than whole quarters would.
        """
        shape = (self.values.shape[0], self.values.shape[1])
        down, right, quality = _peak(_correlation(_transform(image), self.whole, shape))
        if quality >= rotation_below:
            return Placement(down, right, quality)
        degrees, turned, misfit = 0.0, image, 0.0
        for _ in range(_N_STEPS):
            back = np.roll(turned, (-round(down), -round(right)), (0, 1))
            step, misfit = self._rotation(back)
            degrees = min(max(degrees + step, -_MAX_DEGREES), _MAX_DEGREES)
            if abs(step) < _LAST_STEP:
                break
            turned = np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))
            down, right, quality = _peak(_correlation(_transform(turned), self.whole, shape))
        return Placement(down, right, quality, degrees, misfit)

    def _rotation(self, image: np.ndarray) -> tuple[float, float]:
        """Return the rotation in degrees of an image that is not shifted, and the misfit."""
        shape = (self.values.shape[0], self.values.shape[1])
        half = (shape[0] // 2, shape[1] // 2)
        found = _correlation(_transform(_quarters(image)), self.quarters, half)
        shifts = np.array([_peak(one)[:2] for one in found])
        shifts -= shifts.mean(axis=0)
        centers = np.array([(y, x) for y in (-1, 1) for x in (-1, 1)]) * np.array(shape) / 4
        radians = float((centers[:, 1] * shifts[:, 0] - centers[:, 0] * shifts[:, 1]).sum() / (centers**2).sum())
        turned = radians * np.stack([centers[:, 1], -centers[:, 0]], axis=1)
        return float(np.degrees(radians)), float(np.sqrt(((shifts - turned) ** 2).sum(axis=1).mean()))


def _quarters(values: np.ndarray) -> np.ndarray:
    rows, columns = values.shape[0] // 2, values.shape[1] // 2
    return np.stack([values[y : y + rows, x : x + columns] for y in (0, rows) for x in (0, columns)])


def _transform(values: np.ndarray) -> np.ndarray:
    """Transform windowed images (..., h, w). Two one-dimensional transforms take less time than `numpy.fft.rfft2`."""
    window, _, _ = _filters((values.shape[-2], values.shape[-1]))
    centered = (values - values.mean(axis=(-2, -1), keepdims=True)) * window
    return np.asarray(np.fft.fft(np.fft.rfft(centered, axis=-1), axis=-2))


@lru_cache(maxsize=16)
def _filters(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the window, the low-pass filter of the half spectrum, and the peak of equal images."""
    edges = []
    for n in shape:
        to_edge = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / (_BORDER * n / 2)
        edges.append(0.5 - 0.5 * np.cos(np.pi * np.minimum(to_edge, 1)))
    frequencies_sq = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1]) ** 2
    low_pass = np.exp(-frequencies_sq / (2 * _BANDWIDTH**2))
    low_pass[0, 0] = 0
    return np.outer(*edges), low_pass, float(np.fft.irfft2(low_pass, shape).max())


def _correlation(images: np.ndarray, conjugates: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the phase correlations (..., h, w) of transformed images with transformed references."""
    _, low_pass, highest = _filters(shape)
    cross = images * conjugates
    size = np.abs(cross)
    phases = cross * (low_pass / (size + 1e-6 * size.max(axis=(-2, -1), keepdims=True) + 1e-12))
    return np.asarray(np.fft.irfft(np.fft.ifft(phases, axis=-2), shape[1], axis=-1) / highest)


def _peak(found: np.ndarray) -> tuple[float, float, float]:
    """Return the shift down and right in cells, and the height of the peak, of a phase correlation (h, w)."""
    shape = (found.shape[0], found.shape[1])
    near = np.where(_near(shape), found, -1)
    row, column = divmod(int(near.argmax()), shape[1])
    down = row + _vertex(*(found[(row + i) % shape[0], column] for i in (-1, 0, 1)))
    right = column + _vertex(*(found[row, (column + i) % shape[1]] for i in (-1, 0, 1)))
    signed = [at - n if at > n / 2 else at for at, n in zip((down, right), shape)]
    return float(signed[0]), float(signed[1]), float(found[row, column])


@lru_cache(maxsize=16)
def _near(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.minimum(np.arange(n), n - np.arange(n)) <= MAX_SHARE * n for n in shape)
    return np.asarray(rows[:, None] & columns)


def _vertex(before: float, at: float, after: float) -> float:
    """Return the place of the peak of a parabola through three values, as an offset from the middle one."""
    curvature = before - 2 * at + after
    return 0.0 if curvature >= 0 else float(min(max(0.5 * (before - after) / curvature, -0.5), 0.5))
