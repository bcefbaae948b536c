"""Odd images: good images that an inspection would call INVALID, given all others. They neither teach nor count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..features import image_checks
from ..features.image_checks import FACTOR, SIDE_FACTOR, ImageStatistics, PixelStatistics

MIN_IMAGES = 8  # among fewer images, each can be the only one of its kind
MAX_SHARE = 0.05  # more images of a kind are no accident


def find(sizes_px: Sequence[tuple[int, int]], pixels: Sequence[PixelStatistics]) -> dict[int, str]:
    """Find images that cannot show the product as the others do, and why.

    Parameters
    ----------
    sizes_px : sequence of (int, int)
        Height and width of each image.
    pixels : sequence of PixelStatistics

    Returns
    -------
    dict of int to str
        Position of each odd image, and the reason in a sentence.

    Notes
    -----
    An image that shows nothing is odd. At most `MAX_SHARE` of the images, and at least one, are odd if a gap separates
    them from all others: the factor by which an image that is inspected must be darker, brighter, more blurred, larger
    or smaller than every good image to be INVALID. So are a few gray images among colored ones, or the reverse. Similar
    odd images do not hide each other.
    """
    n = len(pixels)
    blank = {i for i, one in enumerate(pixels) if image_checks.shows_nothing(one)}
    if 2 * len(blank) > n:  # nothing shows what is normal
        return {}
    others = np.array([i for i in range(n) if i not in blank])
    odd = set(blank)
    if len(others) >= MIN_IMAGES:
        most = max(1, int(MAX_SHARE * len(others)))
        shown = [pixels[i] for i in others]
        heights, widths = (np.array([sizes_px[i][side] for i in others], float) for side in (0, 1))
        for values, factor in [
            (np.array([one.brightness for one in shown]), FACTOR),
            (255 - np.array([one.brightness for one in shown]), FACTOR),
            (np.array([one.sharpness for one in shown]), FACTOR),
            *((values, SIDE_FACTOR) for side in (heights, widths) for values in (side, 1 / side)),
        ]:
            odd |= {int(i) for i in others[_below_gap(values, factor, most)]}
        is_gray = np.array([one.is_gray for one in shown])
        for rare in (is_gray, ~is_gray):
            if 0 < rare.sum() <= most:
                odd |= {int(i) for i in others[rare]}
    rest = [i for i in range(n) if i not in odd]
    if len(rest) < 2:
        return {}
    good = ImageStatistics.of([sizes_px[i] for i in rest], [pixels[i] for i in rest])
    reasons = {i: _reasons(sizes_px[i], pixels[i], good) for i in sorted(odd)}
    return {i: reason for i, reason in reasons.items() if reason}


def _below_gap(values: np.ndarray, factor: float, most: int) -> np.ndarray:
    """Return the positions of at most `most` values that are lower than all others by more than a factor."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    gaps = [k for k in range(1, min(most, len(values) - 1) + 1) if ordered[k - 1] * factor < ordered[k]]
    return order[: max(gaps, default=0)]


def _reasons(size_px: tuple[int, int], pixels: PixelStatistics, good: ImageStatistics) -> str:
    found = image_checks.check_size(size_px, good) + image_checks.check_pixels(pixels, good)
    return " ".join(found or image_checks.notes(pixels, good, 1, False))
