"""Alignment: images are moved to where the good images lie, and what is found in them is moved back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError
from . import registration
from .mask import InspectionMask
from .registration import Spectra

MIN_QUALITY = 0.25  # of the placement of the median good image; textures have 0.1, and then a shift means nothing
MAX_SHARE = 0.125  # of a side: an image that is shifted further is not moved
_ENOUGH = 0.5  # quality of an image that is moved, as a share of that of good images
_N_ROUNDS = 3  # the mean of aligned images is sharper, and places them better

Shift = tuple[int, int]  # pixels of the working size that the content is off: down, right
NO_SHIFT = (0, 0)


@dataclass(frozen=True)
class Aligner:
    """Moves images to where the good images lie.

    Attributes
    ----------
    thumbnail : ndarray of shape (h, w), float32
        Mean thumbnail of the good images, after they were aligned.
    size_px : (int, int)
        Working size of the good images.
    quality : float
        Quality of the placement that 95% of the good images reach.
    largest_px : float
        Largest shift of a good image that was moved, in pixels of the working size.
    """

    thumbnail: np.ndarray
    size_px: tuple[int, int]
    quality: float
    largest_px: float

    @classmethod
    def of(cls, thumbnails: Sequence[np.ndarray], size_px: tuple[int, int]) -> Aligner:
        """Learn where good images lie from their thumbnails.

        Raises
        ------
        ImageError
            If they show no common position.
        """
        n = len(thumbnails)
        moved = list(thumbnails)
        for _ in range(_N_ROUNDS):
            total = np.asarray(np.sum(moved, axis=0, dtype=np.float64))
            placements = [
                Spectra(total - own).placement_of(image, rotation_below=0) for own, image in zip(moved, thumbnails)
            ]
            moved = [_moved(image, -p.down, -p.right) for image, p in zip(thumbnails, placements)]
        quality = float(np.median([p.quality for p in placements]))
        if quality < MIN_QUALITY:
            raise ImageError(
                f"The good images cannot be aligned: they show no common position (their agreement is {quality:.2f}, at"
                f" least {MIN_QUALITY} is needed). Fit without --align (in Python align=False)."
            )
        mean = np.asarray(np.sum(moved, axis=0, dtype=np.float64) / n, np.float32)
        lowest = float(np.quantile([p.quality for p in placements], 0.05))
        found = cls(mean, size_px, lowest, 0.0)
        off = [np.hypot(*found._in_pixels(p.down, p.right)) for p in placements if p.quality >= _ENOUGH * lowest]
        return cls(mean, size_px, lowest, float(max(off)))

    @cached_property
    def _spectra(self) -> Spectra:
        return Spectra(self.thumbnail)

    def _in_pixels(self, down: float, right: float) -> tuple[float, float]:
        (h, w), (rows, columns) = self.size_px, registration.grid_of(self.size_px)
        return down * h / rows, right * w / columns

    def shift_of(self, pixels: np.ndarray) -> Shift | None:
        """Measure how far the content of pixels (3, h, w) is off; None if that cannot be told.

        It is measured twice, because a shift that was taken out shows better what is left of it.
        """
        if pixels.shape[1:] != self.size_px:
            return None
        down = right = 0
        for _ in range(2):
            moved = registration.translated(pixels[:2], -down, -right) if down or right else pixels
            placement = self._spectra.placement_of(registration.thumbnail(moved), rotation_below=0)
            if placement.quality < _ENOUGH * self.quality:
                return None
            more_down, more_right = self._in_pixels(placement.down, placement.right)
            down, right = down + round(more_down), right + round(more_right)
        is_near = all(abs(off) <= MAX_SHARE * side for off, side in zip((down, right), self.size_px))
        return (down, right) if is_near else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the thumbnail, JSON types only."""
        return {"size_px": list(self.size_px), "quality": self.quality, "largest_px": self.largest_px}

    @classmethod
    def restore(cls, values: dict[str, Any], thumbnail: np.ndarray) -> Aligner:
        """Reverse `to_dict`.

        Raises
        ------
        ValueError, TypeError, KeyError
            If a value is missing or out of its range.
        """
        h, w = (int(side) for side in values["size_px"])
        quality, largest_px = float(values["quality"]), float(values["largest_px"])
        if min(h, w) < 1 or thumbnail.shape != registration.grid_of((h, w)):
            raise ValueError(f"the thumbnail of the alignment has shape {thumbnail.shape}")
        if not (np.isfinite(quality) and np.isfinite(largest_px)):
            raise ValueError(f"the alignment has quality {quality}, largest shift {largest_px}")
        return cls(thumbnail, (h, w), quality, largest_px)


def aligned(values: np.ndarray, shift: Shift) -> np.ndarray:
    """Move values (..., h, w) of an image to where the good images lie; what moves in mirrors the edge."""
    return values if shift == NO_SHIFT else registration.translated(values, -shift[0], -shift[1])


def placed(pixels: np.ndarray, aligner: Aligner | None, mask: InspectionMask | None) -> tuple[np.ndarray, Shift | None]:
    """Align pixels (3, h, w) if there is an aligner, and cover what is not inspected; the shift as in `shift_of`."""
    shift = NO_SHIFT if aligner is None else aligner.shift_of(pixels)
    pixels = aligned(pixels, shift or NO_SHIFT)
    return pixels if mask is None else mask.cover(pixels), shift


def moved_back(found: np.ndarray, shift: Shift) -> np.ndarray:
    """Move a map (h, w) of an aligned image to where the image was. What was outside gets the lowest value."""
    if shift == NO_SHIFT:
        return found
    (down, right), (h, w) = shift, found.shape
    back = np.full_like(found, found.min())
    back[max(0, down) : h + min(0, down), max(0, right) : w + min(0, right)] = found[
        max(0, -down) : h - max(0, down), max(0, -right) : w - max(0, right)
    ]
    return back


def note(shift: Shift | None, scale: float, size_px: tuple[int, int]) -> str:
    """Say in pixels of the image what was not inspected because it was moved out; "" if that is less than a patch."""
    if shift is None:
        return "The image could not be aligned with the good images, so it was inspected where it is."
    edges = []
    for off, side, names in zip(shift, size_px, (("bottom", "top"), ("right", "left"))):
        if abs(off) >= _PATCH_PX:
            edges.append(f"{min(side, abs(off) / scale):.0f} px at its {names[off > 0]} edge")
    return f"The image was aligned, so {' and '.join(edges)} were not inspected." if edges else ""


_PATCH_PX = 4  # of the finest level


def _moved(thumbnail: np.ndarray, down: float, right: float) -> np.ndarray:
    """Move a thumbnail by parts of cells."""
    h, w = thumbnail.shape
    moved = Image.fromarray(np.asarray(thumbnail, np.float32)).transform(
        (w, h), Image.Transform.AFFINE, (1, 0, -right, 0, 1, -down), Image.Resampling.BICUBIC
    )
    return np.asarray(moved)
