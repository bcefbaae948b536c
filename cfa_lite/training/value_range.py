"""Whether a value range that the user gave covers the values of the good images, and which one would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from ..features.images import LoadedImage, ValueRange

MAX_SHARE = 0.005  # of the pixels may lie outside the range: hot pixels and highlights, but no wrong range
_TOPS = (1, 255, 1023, 4095, 16383, 65535)  # highest values of usual depths
_TOLERANCE = 0.5  # of 255; also covers the rounding of float32


@dataclass(frozen=True)
class Coverage:
    """How the pixels of one image lie in its value range.

    Attributes
    ----------
    lowest, highest : float
        As values of the image, before scaling.
    share_outside : float
        Share of the pixels and channels outside the range.
    """

    lowest: float
    highest: float
    share_outside: float

    @classmethod
    def of(cls, loaded: LoadedImage, value_range: ValueRange) -> Coverage:
        """Measure an image that was read with a value range."""
        planes = [np.asarray(band) for band in loaded.bands]
        unit = (value_range[1] - value_range[0]) / 255
        lowest = value_range[0] + unit * float(min(plane.min() for plane in planes))
        highest = value_range[0] + unit * float(max(plane.max() for plane in planes))
        n_outside = sum(int(((plane < -_TOLERANCE) | (plane > 255 + _TOLERANCE)).sum()) for plane in planes)
        return cls(lowest, highest, n_outside / sum(plane.size for plane in planes))


def check(coverages: Mapping[str, Coverage], value_range: ValueRange) -> None:
    """Refuse a value range that does not cover the good images.

    Parameters
    ----------
    coverages : mapping of str to Coverage
        By the names of the images.
    value_range : (float, float)

    Raises
    ------
    ImageError
        If more than `MAX_SHARE` of all pixels lie outside. The message names a range that holds them.
    """
    share = float(np.mean([one.share_outside for one in coverages.values()]))
    if share <= MAX_SHARE:
        return
    lowest = min(one.lowest for one in coverages.values())
    name, highest = max(((name, one.highest) for name, one in coverages.items()), key=lambda named: named[1])
    low, high = covering(lowest, highest)
    advice = f"Use the value range {low:.6g},{high:.6g}, or auto."
    if (low, high) == (0, _TOPS[-1]):
        advice = (
            "PGM and JPEG 2000 files of 10 or 12 bits are scaled to 16 bits when they are read, and some cameras align"
            " 12 bits to the upper bits of 16. " + advice
        )
    raise ImageError(
        f"The value range {value_range[0]:.6g},{value_range[1]:.6g} does not cover the good images: their values go"
        f" from {lowest:.6g} to {highest:.6g} (the highest in {name}), and {share:.1%} of the pixels lie outside."
        f" {advice}"
    )


def covering(lowest: float, highest: float) -> tuple[float, float]:
    """Return a value range that holds all values: from 0 to the highest value of a usual depth, if one does."""
    margin = 1e-5 * max(abs(lowest), abs(highest))  # values were scaled in float32
    top = next((top for top in _TOPS if highest <= top + margin), None)
    return (0, top) if lowest >= -margin and top is not None else (lowest, highest)
