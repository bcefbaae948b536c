"""Synthetic defects painted on normal images. A change to the descriptor is checked with them, in place of labels.

No real defect is known when a product is fitted. The synthetic ones have several kinds and a wide range of sizes and
contrasts, so that a gain is not an accident of one kind. They are near the limit of visibility, because any descriptor
finds an obvious defect.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image

_RADIUS = (0.012, 0.12)  # shares of the short side, log-uniform
_MIN_RADIUS_PX = 1.5
_CONTRAST = (0.5, 2.5)  # in standard deviations of the image, log-uniform
_MASK_LEVEL = 0.3  # a pixel with at least this share of the defect is defective


def paint(pixels: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint one defect of a random kind, size, position and contrast.

    Parameters
    ----------
    pixels : ndarray of shape (3, h, w), float32, 0 to 255
        A normal image. It is not changed.
    rng : numpy.random.Generator

    Returns
    -------
    pixels : ndarray of shape (3, h, w), float32, 0 to 255
    mask : ndarray of shape (h, w), bool
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
    return max(_MIN_RADIUS_PX, _log_uniform(rng, *_RADIUS) * float(min(pixels.shape[1:])))


def _turned_grid(pixels: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates along and across a random direction, from a random position in the image."""
    h, w = pixels.shape[1:]
    angle, y, x = rng.uniform(0, np.pi), rng.uniform(0, h), rng.uniform(0, w)
    rows, columns = np.arange(h, dtype=np.float32)[:, None] - y, np.arange(w, dtype=np.float32) - x
    return rows * np.sin(angle) + columns * np.cos(angle), rows * np.cos(angle) - columns * np.sin(angle)


def _ellipse(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Return the share of the defect at each pixel (h, w): 1 inside, falling to 0 over a soft edge."""
    radius, stretch = _radius(pixels, rng), np.sqrt(_log_uniform(rng, 1, 4))
    along, across = _turned_grid(pixels, rng)
    distance = np.hypot(along / stretch, across * stretch) / radius
    return np.asarray(np.clip((1.25 - distance) / 0.5, 0, 1))


def _line(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Return the share of a thin, slightly bent line at each pixel (h, w)."""
    half, thickness = 3 * _radius(pixels, rng), rng.uniform(0.7, 2.0)
    along, across = _turned_grid(pixels, rng)
    across = across + rng.normal(0, 0.1) * along**2 / half
    return np.asarray(np.clip(1.5 - np.abs(across) / thickness, 0, 1) * (np.abs(along) <= half))


def _contrast(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Return a change of brightness (3, 1, 1), nearly equal in all channels."""
    size = _log_uniform(rng, *_CONTRAST) * max(float(pixels.std()), 1.0)
    return np.asarray(rng.choice([-1, 1]) * size * rng.uniform(0.8, 1.2, 3))[:, None, None]


def _spot(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    return np.asarray(pixels + _contrast(pixels, rng))


def _specks(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    return pixels + _contrast(pixels, rng) * rng.normal(0, 1, pixels.shape[1:])


def _swap(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Return another part of the image in this position, possibly mirrored."""
    h, w = pixels.shape[1:]
    moved = np.roll(pixels, (rng.integers(h // 4, h - h // 4), rng.integers(w // 4, w - w // 4)), (1, 2))
    return moved[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def _slip(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Return the image shifted by a few pixels."""
    reach = max(2, min(pixels.shape[1:]) // 24)
    step = rng.integers(1, reach + 1, 2) * rng.choice([-1, 1], 2)
    return np.roll(pixels, tuple(step), (1, 2))


def _smear(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Return the image out of focus."""
    h, w = pixels.shape[1:]
    factor = _log_uniform(rng, 2, 6)
    small = max(1, round(w / factor)), max(1, round(h / factor))
    resize = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(p).resize(small, resize).resize((w, h), resize)) for p in pixels])


_Part = Callable[[np.ndarray, Generator], np.ndarray]
_KINDS: tuple[tuple[_Part, _Part], ...] = (
    (_ellipse, _spot),
    (_line, _spot),
    (_ellipse, _specks),
    (_ellipse, _swap),
    (_ellipse, _slip),
    (_ellipse, _smear),
)
