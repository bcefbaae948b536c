"""Synthetic defects painted on good images: what a change to the descriptor is checked with, in place of labels.

No defect of a real product is known at fit time. These are of several kinds and drawn wide in size and
strength, so that what helps on them is not one kind's accident; near the limit of visibility, since what is
plain to see is found by any descriptor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image

_RADIUS = (0.012, 0.12)  # of a defect, shares of the short side, log-uniform
_MIN_RADIUS_PX = 1.5
_CONTRAST = (0.5, 2.5)  # of spots, scratches and specks, in standard deviations of the image, log-uniform
_MASK_LEVEL = 0.3  # a pixel with at least so much of the defect counts as defective


def paint(pixels: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint one defect of a random kind, size, place and strength.

    Parameters
    ----------
    pixels : ndarray (3, h, w) float32, 0 to 255
        A good image; not changed.

    Returns
    -------
    pixels : ndarray (3, h, w) float32, 0 to 255
    mask : ndarray (h, w) bool
        Where the defect is; at least one pixel.
    """
    shape, fill = _KINDS[rng.integers(len(_KINDS))]
    share = shape(pixels, rng)
    changed = fill(pixels, rng)
    painted = np.clip(pixels + share * (changed - pixels), 0, 255).astype(np.float32)
    return painted, share >= min(_MASK_LEVEL, share.max())


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _radius(pixels: np.ndarray, rng: Generator) -> float:
    return max(_MIN_RADIUS_PX, _log_uniform(rng, *_RADIUS) * min(pixels.shape[1:]))


def _turned_grid(pixels: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a random direction, from a random place in the image."""
    h, w = pixels.shape[1:]
    angle, y, x = rng.uniform(0, np.pi), rng.uniform(0, h), rng.uniform(0, w)
    rows, columns = np.arange(h, dtype=np.float32)[:, None] - y, np.arange(w, dtype=np.float32) - x
    return rows * np.sin(angle) + columns * np.cos(angle), rows * np.cos(angle) - columns * np.sin(angle)


def _ellipse(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Share of the defect at each pixel (h, w): 1 inside, falling to 0 over a soft edge."""
    radius, stretch = _radius(pixels, rng), np.sqrt(_log_uniform(rng, 1, 4))
    along, across = _turned_grid(pixels, rng)
    distance = np.hypot(along / stretch, across * stretch) / radius
    return np.clip((1.25 - distance) / 0.5, 0, 1)


def _line(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """As `_ellipse`, of a thin and slightly bent line."""
    half, thickness = 3 * _radius(pixels, rng), rng.uniform(0.7, 2.0)
    along, across = _turned_grid(pixels, rng)
    across = across + rng.normal(0, 0.1) * along**2 / half
    return np.clip(1.5 - np.abs(across) / thickness, 0, 1) * (np.abs(along) <= half)


def _contrast(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """A change of light (3, 1, 1), of one sign and nearly grey."""
    size = _log_uniform(rng, *_CONTRAST) * max(float(pixels.std()), 1.0)
    return (rng.choice([-1, 1]) * size * rng.uniform(0.8, 1.2, 3))[:, None, None]


def _spot(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    return pixels + _contrast(pixels, rng)


def _specks(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    return pixels + _contrast(pixels, rng) * rng.normal(0, 1, pixels.shape[1:])


def _swap(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Another part of the image in this place, mirrored or turned upside down."""
    h, w = pixels.shape[1:]
    moved = np.roll(pixels, (rng.integers(h // 4, h - h // 4), rng.integers(w // 4, w - w // 4)), (1, 2))
    return moved[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def _slip(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """The same part a few pixels aside."""
    reach = max(2, min(pixels.shape[1:]) // 24)
    step = rng.integers(1, reach + 1, 2) * rng.choice([-1, 1], 2)
    return np.roll(pixels, tuple(step), (1, 2))


def _smear(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """The same part out of focus."""
    h, w = pixels.shape[1:]
    factor = _log_uniform(rng, 2, 6)
    small = max(1, round(w / factor)), max(1, round(h / factor))
    resize = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(p).resize(small, resize).resize((w, h), resize)) for p in pixels])


_KINDS: tuple[tuple[Callable, Callable], ...] = (
    (_ellipse, _spot),
    (_line, _spot),
    (_ellipse, _specks),
    (_ellipse, _swap),
    (_ellipse, _slip),
    (_ellipse, _smear),
)
