"""What scoring gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

FIELDS = (
    "path", "status", "verdict", "score", "percentile", "raw_score", "threshold", "n_regions", "largest_region_px",
    "seconds", "message",
)  # fmt: skip
VERDICTS = ("NG", "UNSURE", "OK", "INVALID", "ERROR")


@dataclass(frozen=True)
class Region:
    """A connected area of the map above the limit, in the image's own pixels.

    Attributes
    ----------
    box_px : (int, int, int, int)
        Left, top, width, height.
    area_px : float
    area_mm2 : float or None
        If the model knows millimetres a pixel.
    peak : float
        Largest value of the map in it; 1.0 is the limit.
    peak_px : (int, int)
        Column and row of the peak.
    mean : float
        Mean value of the map in it.
    contour_px : list of (float, float)
        Corners (x, y) of its outer border, clockwise; 0, 0 is the image's upper left corner.
    """

    box_px: tuple[int, int, int, int]
    area_px: float
    area_mm2: float | None
    peak: float
    peak_px: tuple[int, int]
    mean: float
    contour_px: list[tuple[float, float]]


@dataclass(frozen=True)
class Inspection:
    """The answer for one image.

    Attributes
    ----------
    path : str
        The image's path, or "image <position>" for one given as an object.
    status : str
        "ok", "invalid" for an image that cannot be of the product, or "error" for one that could not be scored;
        `message` then says why.
    verdict : str
        "OK", "UNSURE", "NG", "INVALID", or "ERROR".
    score : float
        raw_score / threshold: above 1.0 is NG, above `unsure_from` UNSURE. NaN for an error.
    raw_score : float
        Maximum of the score map of the pooled levels, in units of the mean distance of good patches.
    threshold : float
        The limit of raw_score, learnt from good images alone.
    seconds : float
        Reading and scoring.
    message : str
        Empty, or what is wrong or should be known.
    percentile : float
        How many good images of a hundred had a score no higher when the limit was set.
    unsure_from : float
        The lower limit of `score`.
    regions : tuple of Region
        Where the map is above 1.0, the highest peak first; none unless the verdict is NG or INVALID.
    map : ndarray (h, w) float32 or None
        Map at the size the image was worked at, on the same scale as the score: 1.0 is the limit. None for an
        error.
    image_size_px : (int, int)
        Height and width of the image; (0, 0) for an error.
    value_range : (float, float) or None
        What the model takes for black and white in the image, to show it.
    """

    path: str
    status: str
    verdict: str
    score: float
    raw_score: float
    threshold: float
    seconds: float
    message: str = ""
    percentile: float = float("nan")
    unsure_from: float = 1.0
    regions: tuple[Region, ...] = ()
    map: np.ndarray | None = None
    image_size_px: tuple[int, int] = (0, 0)
    value_range: tuple[float, float] | None = None

    def full_map(self) -> np.ndarray:
        """The map brought to the image's own size (bilinear): float32 (h, w).

        Raises
        ------
        ValueError
            If the image could not be scored.
        """
        h, w = self.image_size_px
        return self.map_at(w, h)

    def map_at(self, width: int, height: int) -> np.ndarray:
        """The map brought to any size (bilinear): float32 (height, width), above 1 exactly in the regions.

        Raises like `full_map`.
        """
        inside = self.mask_at(width, height)
        assert self.map is not None  # mask_at has seen to it
        values = np.asarray(Image.fromarray(self.map).resize((width, height), Image.Resampling.BILINEAR))
        return np.where(inside, np.maximum(values, _JUST_ABOVE), np.minimum(values, 1))

    def mask_at(self, width: int, height: int) -> np.ndarray:
        """Where the regions are, at any size: bool (height, width). No region is lost. Raises like `full_map`."""
        if self.map is None:
            raise ValueError(f"{self.path} has no map: {self.message}")
        inside = Image.fromarray((self.map > 1).astype(np.float32))
        if width >= inside.width and height >= inside.height:
            return np.asarray(inside.resize((width, height), Image.Resampling.NEAREST)) > 0
        return np.asarray(inside.resize((width, height), Image.Resampling.BOX)) > 0

    def to_dict(self) -> dict[str, Any]:
        """All but map and regions' details, in the order of the CSV columns."""
        largest = max((region.area_px for region in self.regions), default=0.0)
        found = {field: getattr(self, field, None) for field in FIELDS}
        return found | {"n_regions": len(self.regions), "largest_region_px": largest}


_JUST_ABOVE = np.nextafter(np.float32(1), np.float32(2))


def unfit(path: str, message: str, threshold: float, seconds: float) -> Inspection:
    """Result of an image that cannot be of the product and was not scored."""
    return Inspection(path, "invalid", "INVALID", float("nan"), float("nan"), threshold, seconds, message)


def failed(path: str, message: str, threshold: float, seconds: float) -> Inspection:
    """Result of an image that could not be scored."""
    return Inspection(path, "error", "ERROR", float("nan"), float("nan"), threshold, seconds, message)
