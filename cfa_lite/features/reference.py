"""The reference: how the good images lie, how bright they are and which colors they have, to tell what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..results import Change
from . import registration
from .image_checks import PixelStatistics
from .registration import Placement, Spectra

MIN_IMAGES = 8  # fewer good images do not show how far they vary
N_IMAGES = 500  # the first so many good images make the reference
FACTOR = 2.0  # a shift or rotation is told beyond this multiple of the largest one of the good images,
_MIN_SHIFT = 0.015  # beyond this share of the shorter side,
_MIN_DEGREES = 1.0  # and beyond this rotation
_PLACED = 0.04, 0.08  # parts have a common position if 90%, and all, are shifted by at most this share of that side
_UPRIGHT = 1.5, 3.0  # and a common angle if 90%, and all, are rotated by at most so many degrees
_MIN_QUALITY = 0.5  # of an image whose shift is told, as a share of the lowest quality of good images
_MAX_MISFIT = 0.4  # of a rotation, as a share of what it moves the quarters by
_MIN_BRIGHTNESS = 0.1  # smallest share of brightness that is told
_COLOR_CELLS = 8
_MIN_COLOR = 3.0  # root mean square of red minus blue of the mean good image, in gray values
_MIN_SAME_COLOR = 0.3  # lowest share of this difference that all good images must have


class Appearance(NamedTuple):
    """What is kept of an image: its thumbnail (h, w), and red minus blue (8, 8) on a coarse grid."""

    thumbnail: np.ndarray
    colors: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray) -> Appearance:
        """Reduce pixels (3, h, w) of the working size."""
        return cls(registration.thumbnail(pixels), _colors(pixels))


@dataclass(frozen=True)
class Reference:
    """The appearance of the good images.

    Attributes
    ----------
    thumbnail : ndarray of shape (h, w), float32, or None
        Mean thumbnail. None if the good images have different sizes.
    colors : ndarray of shape (8, 8), float32
        Mean of red minus blue.
    size_px : (int, int)
        Working size of the good images, if they have one size.
    shift_px, degrees : float or None
        Largest shift of a good image in pixels of the working size, and its largest rotation, against the others.
        None if the parts have no common position or angle: then none is told.
    quality, usual_quality : float
        Lowest quality of the placement of a good image, and the one that nine of ten reach.
    color : float or None
        Lowest share of the mean color difference in a good image. None if it does not tell red from blue.
    darkest, brightest : float
        Brightness of the good images, from 0 to 255.
    """

    thumbnail: np.ndarray | None
    colors: np.ndarray
    size_px: tuple[int, int]
    shift_px: float | None
    degrees: float | None
    quality: float
    usual_quality: float
    color: float | None
    darkest: float
    brightest: float

    @classmethod
    def of(
        cls, images: Sequence[Appearance], sizes_px: Sequence[tuple[int, int]], pixels: Sequence[PixelStatistics]
    ) -> Reference | None:
        """Summarize good images; None if there are fewer than `MIN_IMAGES`.

        Parameters
        ----------
        images : sequence of Appearance
            Of the first good images.
        sizes_px : sequence of (int, int)
            Their working sizes.
        pixels : sequence of PixelStatistics
            Of all good images.
        """
        if len(images) < MIN_IMAGES:
            return None
        size_px = sizes_px[0]
        thumbnail, placements = None, []
        if len(set(sizes_px)) == 1:
            total = np.asarray(np.sum([image.thumbnail for image in images], axis=0, dtype=np.float64))
            thumbnail = np.asarray(total / len(images), np.float32)
            # Each image is compared with the mean of the others: it would find itself in the mean of all.
            placements = [Spectra(total - image.thumbnail).placement_of(image.thumbnail) for image in images]
        qualities = [placement.quality for placement in placements] or [0.0]
        colors = np.asarray(np.mean([image.colors for image in images], axis=0, dtype=np.float64))
        brightness = [one.brightness for one in pixels]
        return cls(
            thumbnail=thumbnail,
            colors=np.asarray(colors, np.float32),
            size_px=size_px,
            shift_px=_largest([np.hypot(*_in_pixels(p, size_px)) for p in placements], _PLACED, min(size_px)),
            degrees=_largest([abs(p.degrees) for p in placements], _UPRIGHT, 1.0),
            quality=min(qualities),
            usual_quality=float(np.quantile(qualities, 0.1)),
            color=_lowest_color([image.colors for image in images], colors),
            darkest=min(brightness),
            brightest=max(brightness),
        )

    @cached_property
    def _spectra(self) -> Spectra:
        assert self.thumbnail is not None
        return Spectra(self.thumbnail)

    def compare(
        self, pixels: np.ndarray, statistics: PixelStatistics, scale: float
    ) -> tuple[tuple[Change, ...], tuple[float, float] | None]:
        """Compare an image with all good images.

        Parameters
        ----------
        pixels : ndarray of shape (3, h, w), float32
            Pixels of the working size, from 0 to 255.
        statistics : PixelStatistics
        scale : float
            Working pixels per image pixel.

        Returns
        -------
        changes : tuple of Change
            What is different, far beyond what the good images show themselves.
        shift_px : (float, float) or None
            Position to the right and down, in pixels of the image. None if it cannot be measured.
        """
        shift_px = None
        found = [self._brightness(statistics.brightness)]
        if self.color is not None and _share(_colors(pixels), self.colors) < -_MIN_SAME_COLOR * self.color:
            found.append(Change("swapped"))
        if self.shift_px is not None and pixels.shape[1:] == self.size_px:
            # A rotated image resembles the reference less. So few good images take the time of measuring it.
            rotation_below = 0.0 if self.degrees is None else self.usual_quality
            placement = self._spectra.placement_of(registration.thumbnail(pixels), rotation_below)
            if placement.quality >= _MIN_QUALITY * self.quality:  # otherwise it resembles no good image
                down, right = _in_pixels(placement, self.size_px)
                shift_px = right / scale, down / scale
                found += self._moved(placement, self.shift_px, shift_px, scale)
        return tuple(change for change in found if change is not None), shift_px

    def _brightness(self, brightness: float) -> Change | None:
        spread = self.brightest - self.darkest
        if brightness - self.brightest > max(spread, _MIN_BRIGHTNESS * self.brightest):
            return Change("brighter", (brightness / self.brightest - 1,)) if self.brightest > 0 else None
        if self.darkest - brightness > max(spread, _MIN_BRIGHTNESS * self.darkest):
            return Change("darker", (1 - brightness / self.darkest,))
        return None

    def _moved(
        self, placement: Placement, usual_px: float, shift_px: tuple[float, float], scale: float
    ) -> list[Change | None]:
        found: list[Change | None] = []
        if np.hypot(*shift_px) * scale > max(FACTOR * usual_px, _MIN_SHIFT * min(self.size_px)):
            found.append(Change("shifted", shift_px))
        if self.degrees is not None and abs(placement.degrees) > max(FACTOR * self.degrees, _MIN_DEGREES):
            moves = np.radians(abs(placement.degrees)) * np.hypot(*registration.grid_of(self.size_px)) / 4
            if placement.misfit < _MAX_MISFIT * moves:
                found.append(Change("rotated", (placement.degrees,)))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, JSON types only."""
        kept = {name: value for name, value in asdict(self).items() if name not in ("thumbnail", "colors")}
        return kept | {"size_px": list(self.size_px)}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, for an archive."""
        found = {"reference_colors": self.colors}
        return found if self.thumbnail is None else found | {"reference_thumbnail": self.thumbnail}

    @classmethod
    def restore(cls, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> Reference:
        """Reverse `to_dict` and `arrays`; the arrays are removed from `arrays`.

        Raises
        ------
        ValueError, TypeError, KeyError
            If a value is missing or out of its range.
        """
        thumbnail, colors = arrays.pop("reference_thumbnail", None), arrays.pop("reference_colors")
        h, w = (int(side) for side in values["size_px"])
        known = {name: values[name] for name in (field.name for field in fields(cls)) if name in values}
        for name, value in known.items():
            if name != "size_px" and value is not None and not np.isfinite(float(value)):
                raise ValueError(f"{name} is {value!r}")
        if colors.shape != (_COLOR_CELLS, _COLOR_CELLS) or min(h, w) < 1:
            raise ValueError(f"the reference has shapes {colors.shape}, {(h, w)}")
        if known["shift_px"] is not None and (thumbnail is None or thumbnail.shape != registration.grid_of((h, w))):
            raise ValueError("the reference has no thumbnail of its size")
        return cls(**{**known, "thumbnail": thumbnail, "colors": colors, "size_px": (h, w)})


def _colors(pixels: np.ndarray) -> np.ndarray:
    return registration.block_means(pixels[0, ::4, ::4] - pixels[2, ::4, ::4], (_COLOR_CELLS, _COLOR_CELLS))


def _in_pixels(placement: Placement, size_px: tuple[int, int]) -> tuple[float, float]:
    """Return the shift down and right in pixels of the working size."""
    rows, columns = registration.grid_of(size_px)
    return placement.down * size_px[0] / rows, placement.right * size_px[1] / columns


def _largest(values: Sequence[float], shares: tuple[float, float], unit: float) -> float | None:
    """Return the largest value; None if 90%, or all, are not below their shares of a unit."""
    if not values or np.quantile(values, 0.9) > shares[0] * unit or max(values) > shares[1] * unit:
        return None
    return float(max(values))


def _share(colors: np.ndarray, mean: np.ndarray) -> float:
    return float((colors * mean).sum() / (mean**2).sum())


def _lowest_color(images: Sequence[np.ndarray], mean: np.ndarray) -> float | None:
    if np.sqrt((mean**2).mean()) < _MIN_COLOR:
        return None
    lowest = min(_share(colors, mean) for colors in images)
    return lowest if lowest >= _MIN_SAME_COLOR else None
