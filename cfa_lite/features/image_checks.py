"""Image checks: whether an image can show the product, by its size, brightness, sharpness and color."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..method import _kernels

FACTOR = 2.0  # an image is INVALID if it is darker, brighter or blurrier than every good image by this factor
MIN_CONTRAST = 2.0  # smallest difference between the darkest and the brightest pixel of a valid image, in gray values
SIDE_FACTOR = 1.25  # a side has another length if it differs from those of all good images by more than this factor
MAX_AREA_RATIO = 4  # an image is not scored if its area is more than this multiple of the largest good image


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics of one image at its working size, values from 0 to 255.

    Attributes
    ----------
    brightness : float
        Mean value.
    sharpness : float
        Mean absolute step from a pixel to the next.
    lowest, highest : float
    is_gray : bool
        Whether the three channels are equal everywhere.
    """

    brightness: float
    sharpness: float
    lowest: float
    highest: float
    is_gray: bool


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of all good images. Verdicts depend on them.

    Attributes
    ----------
    smallest_px, largest_px : (int, int)
        Height and width of the image with the smallest and with the largest area.
    height_px, width_px : (int, int)
        Lowest and highest height, and width.
    darkest, brightest : float
        Lowest and highest brightness, from 0 to 255.
    blurriest : float
        Lowest sharpness.
    highest : float
        Highest value of any pixel.
    all_gray, none_gray : bool
        Whether all good images are gray, or none is.
    """

    smallest_px: tuple[int, int]
    largest_px: tuple[int, int]
    height_px: tuple[int, int]
    width_px: tuple[int, int]
    darkest: float
    brightest: float
    blurriest: float
    highest: float
    all_gray: bool
    none_gray: bool

    @classmethod
    def of(cls, sizes_px: Sequence[tuple[int, int]], pixels: Sequence[PixelStatistics]) -> ImageStatistics:
        """Summarize the sizes (h, w) and the pixel statistics of the good images."""
        by_area = sorted(sizes_px, key=lambda size: size[0] * size[1])
        heights, widths = zip(*sizes_px)
        return cls(
            smallest_px=by_area[0],
            largest_px=by_area[-1],
            height_px=(min(heights), max(heights)),
            width_px=(min(widths), max(widths)),
            darkest=min(one.brightness for one in pixels),
            brightest=max(one.brightness for one in pixels),
            blurriest=min(one.sharpness for one in pixels),
            highest=max(one.highest for one in pixels),
            all_gray=all(one.is_gray for one in pixels),
            none_gray=not any(one.is_gray for one in pixels),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, JSON types only."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImageStatistics:
        """Reverse `to_dict`.

        Raises
        ------
        ValueError, TypeError, KeyError
            If a value is missing or out of its range.
        """
        for name in ("smallest_px", "largest_px", "height_px", "width_px"):
            first, second = values[name]
            if not (isinstance(first, int) and isinstance(second, int) and first > 0 and second > 0):
                raise ValueError(f"{name} is {values[name]!r}")
        for name in ("darkest", "brightest", "blurriest", "highest"):
            if not np.isfinite(float(values[name])):
                raise ValueError(f"{name} is {values[name]!r}")
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**fields)


def measure(pixels: np.ndarray) -> PixelStatistics:
    """Measure an image's pixels of shape (3, h, w) at its working size."""
    _, h, w = pixels.shape
    found = np.empty(6)
    _kernels.image_statistics(pixels, found)
    total, down, right, lowest, highest, apart = found.tolist()
    steps = down / ((h - 1) * w) + right / (h * (w - 1))
    return PixelStatistics(total / (h * w), steps, lowest, highest, apart == 0)


def check_pixels(image: PixelStatistics, good: ImageStatistics) -> list[str]:
    """Return the reasons why an image cannot show the product, by its pixels; an empty list if it can.

    Notes
    -----
    A good image that is exchangeable with n others is darker, brighter or blurrier than all of them with a probability
    of at most 1 / (n + 1) each. An additional factor of `FACTOR` is required here. An image of a color camera is never
    gray in every pixel, because its channels have noise of their own.
    """
    if shows_nothing(image):
        return [f"The image shows nothing: every pixel has a value of about {image.highest:.0f}."]
    reasons = []
    if image.brightness * FACTOR < good.darkest:
        reasons.append(
            f"The image is far darker than any good image (mean value {image.brightness:.0f}, good images at least"
            f" {good.darkest:.0f})."
        )
    if (255 - image.brightness) * FACTOR < 255 - good.brightest:
        reasons.append(
            f"The image is far brighter than any good image (mean value {image.brightness:.0f}, good images at most"
            f" {good.brightest:.0f})."
        )
    if image.sharpness * FACTOR < good.blurriest:
        reasons.append(
            f"The image is far more blurred than any good image (mean step between pixels {image.sharpness:.2g}, good"
            f" images at least {good.blurriest:.2g})."
        )
    if good.none_gray and image.is_gray:
        reasons.append("The image is gray, but the good images are in color.")
    return reasons


def shows_nothing(image: PixelStatistics) -> bool:
    """Return whether every pixel has about the same value."""
    return image.highest - image.lowest < MIN_CONTRAST


def check_size(size_px: tuple[int, int], good: ImageStatistics) -> list[str]:
    """Return the reason why an image of a size (h, w) cannot show the product; an empty list if it can."""
    ranges = (good.height_px, good.width_px)
    if all(low / SIDE_FACTOR <= side <= high * SIDE_FACTOR for side, (low, high) in zip(size_px, ranges)):
        return []
    sizes = " to ".join(dict.fromkeys(f"{w}x{h}" for w, h in zip(good.width_px, good.height_px)))
    return [f"The image is {size_px[1]}x{size_px[0]} px, but the good images are {sizes} px."]


def is_too_large(size_px: tuple[int, int], good: ImageStatistics) -> bool:
    """Return whether the area of an image (h, w) is more than `MAX_AREA_RATIO` times that of every good image."""
    return size_px[0] * size_px[1] > MAX_AREA_RATIO * good.largest_px[0] * good.largest_px[1]


def notes(image: PixelStatistics, good: ImageStatistics, n_pages: int, is_depth_cut: bool) -> list[str]:
    """Return what a user should know about an image that can be scored."""
    found = []
    if n_pages > 1:
        found.append(f"Only the first of {n_pages} pages was inspected.")
    if is_depth_cut:
        found.append("Only the upper 8 bits of the 16-bit colors were read.")
    if good.all_gray and not image.is_gray:
        found.append("The image is in color, but the good images are gray.")
    if good.none_gray and image.is_gray:  # also a reason, unless nothing is checked
        found.append("The image is gray, but the good images are in color.")
    return found
