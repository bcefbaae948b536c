"""Results of an inspection: the answer for one image, and the regions in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

FIELDS = (
    "path", "status", "verdict", "score", "limit", "percentile", "raw_score", "raw_limit", "n_regions",
    "largest_region_px", "seconds", "message", "time", "brightness", "sharpness", "shift_right_px", "shift_down_px",
)  # fmt: skip
OLDER_FIELDS = FIELDS[:12]  # those of the first files
VERDICTS = ("NG", "UNSURE", "OK", "INVALID", "ERROR")


class Change(NamedTuple):
    """What is different in an image, as a whole, than in all good images.

    Attributes
    ----------
    kind : {"shifted", "rotated", "swapped", "brighter", "darker"}
        "swapped": red and blue.
    amount : tuple of float
        "shifted": pixels of the image to the right and down. "rotated": degrees, clockwise. "brighter", "darker": how
        much, as a share of the brightest or darkest good image.
    """

    kind: str
    amount: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return a sentence."""
        if self.kind == "swapped":
            return "Red and blue look swapped."
        return f"The image is {self.told()}."

    def told(self, about: str = "") -> str:
        """Return what an image is, such as "shifted by 5 px right"; `about` stands before numbers."""
        if self.kind == "shifted":
            (right, down), sides = self.amount, []
            for value, names in ((right, ("right", "left")), (down, ("down", "up"))):
                if round(abs(value)):
                    sides.append(f"{abs(value):.0f} px {names[value < 0]}")
            return f"shifted by {about}{', '.join(sides) or 'less than 1 px'}"
        if self.kind == "rotated":
            n = f"{abs(self.amount[0]):.0f}"
            side = "counterclockwise" if self.amount[0] < 0 else "clockwise"
            return f"rotated by about {n} degree{'s' * (n != '1')} {side}"
        return f"{about}{self.amount[0]:.0%} {self.kind} than any good image"


@dataclass(frozen=True)
class Region:
    """A connected region of the anomaly map above the limit, in pixels of the original image.

    Attributes
    ----------
    box_px : (int, int, int, int)
        Left, top, width, height.
    area_px : float
    area_mm2 : float or None
        None unless the model knows the millimeters per pixel.
    peak : float
        Largest value of the map in the region; 1.0 is the limit.
    peak_px : (int, int)
        Column and row of the peak.
    mean : float
        Mean value of the map in the region.
    contour_px : list of (float, float)
        Corners (x, y) of the outer border, clockwise. The upper left corner of the image is (0, 0).
    kind : str or None
        Kind of known defect that the region resembles, or "unknown". None if the model was taught no defects.
    kind_certainty : float or None
        How often it was right to tell this kind for images that were left out. None if no kind is told.
    core_box_px : (int, int, int, int)
        Left, top, width, height of the core: the cells of the region in which the map is above two thirds of the peak.
        It outlines a defect that stands out more tightly. If the peak is at most 1.5, the core is the whole region.
    core_area_px : float
    core_area_mm2 : float or None
    core_contours_px : list of list of (float, float)
        One outline, as `contour_px`, for each connected part of the core.
    """

    box_px: tuple[int, int, int, int]
    area_px: float
    area_mm2: float | None
    peak: float
    peak_px: tuple[int, int]
    mean: float
    contour_px: list[tuple[float, float]]
    kind: str | None = None
    kind_certainty: float | None = None
    core_box_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    core_area_px: float = 0.0
    core_area_mm2: float | None = None
    core_contours_px: list[list[tuple[float, float]]] = field(default_factory=list)


@dataclass(frozen=True)
class Inspection:
    """The answer for one image.

    Attributes
    ----------
    path : str
        Path of the image, or "image <position>" for an image that was passed as an object.
    status : {"ok", "invalid", "error"}
        "invalid" if the image cannot show the product, "error" if it could not be scored. `message` gives the reason.
    verdict : {"OK", "UNSURE", "NG", "INVALID", "ERROR"}
    score : float
        raw_score / raw_limit. Above 1.0 the image is NG, above `unsure_from` it is UNSURE. NaN if it was not scored.
    raw_score : float
        Maximum of the score map, in units of the mean distance of normal patches. NaN if the image was not scored.
    raw_limit : float
        The limit of `raw_score`. That of `score` is `limit`, 1.0.
    seconds : float
        Time for reading and scoring.
    message : str
        Empty, or a problem of the image, or a note on it.
    percentile : float
        Percentage of the calibration images that scored no higher.
    unsure_from : float
        The lower limit of `score`.
    regions : tuple of Region
        Where the map is above 1.0, the highest peak first. Empty unless the verdict is NG or INVALID.
    map : ndarray of shape (h, w), float32, or None
        Anomaly map at the working size, on the same scale as `score`: 1.0 is the limit. None if it was not scored.
    image_size_px : (int, int)
        Height and width of the image; (0, 0) if it was not scored.
    value_range : (float, float) or None
        Values of the image that are shown as black and white.
    changes : tuple of Change
        What is different in the image, as a whole, than in all good images. It is part of `message`.
    time : str
        When the file of the image was last changed, in local time: YYYY-MM-DD HH:MM:SS. Empty if it is no file.
    brightness, sharpness : float
        Mean value, and mean absolute step from a pixel to the next, at the working size; values from 0 to 255. NaN if
        the image was not scored.
    shift_right_px, shift_down_px : float
        Position against the mean of the good images, in pixels of the image. NaN if it was not measured: the good
        images have no common position, or the image does not resemble them.
    """

    path: str
    status: str
    verdict: str
    score: float
    raw_score: float
    raw_limit: float
    seconds: float
    message: str = ""
    percentile: float = float("nan")
    unsure_from: float = 1.0
    regions: tuple[Region, ...] = ()
    map: np.ndarray | None = None
    image_size_px: tuple[int, int] = (0, 0)
    value_range: tuple[float, float] | None = None
    changes: tuple[Change, ...] = ()
    time: str = ""
    brightness: float = float("nan")
    sharpness: float = float("nan")
    shift_right_px: float = float("nan")
    shift_down_px: float = float("nan")

    @property
    def limit(self) -> float:
        """The limit of `score` and of the map, 1.0 for every model."""
        return 1.0

    def full_map(self) -> np.ndarray:
        """Resize the map to the size of the image (bilinear).

        Returns
        -------
        ndarray of shape (h, w), float32

        Raises
        ------
        ValueError
            If the image was not scored.
        """
        h, w = self.image_size_px
        return self.map_at(w, h)

    def map_at(self, width: int, height: int) -> np.ndarray:
        """Resize the map to any size (bilinear). It is above 1.0 exactly in the regions.

        Parameters
        ----------
        width, height : int
            Size of the result in pixels.

        Returns
        -------
        ndarray of shape (height, width), float32

        Raises
        ------
        ValueError
            If the image was not scored.
        """
        inside = self.mask_at(width, height)
        assert self.map is not None  # mask_at checks it
        values = np.array(Image.fromarray(self.map).resize((width, height), Image.Resampling.BILINEAR))
        np.maximum(values, _JUST_ABOVE, out=values, where=inside)  # in place: it may have hundreds of megapixels
        np.minimum(values, np.float32(1), out=values, where=~inside)
        return values

    def mask_at(self, width: int, height: int) -> np.ndarray:
        """Return the mask of all regions at any size. Each region has at least one pixel in it.

        Parameters
        ----------
        width, height : int
            Size of the result in pixels.

        Returns
        -------
        ndarray of shape (height, width), bool

        Raises
        ------
        ValueError
            If the image was not scored.
        """
        if self.map is None:
            raise ValueError(f"{self.path} has no anomaly map: {self.message}")
        return _resized(self.map > 1, width, height)

    def core_at(self, width: int, height: int) -> np.ndarray:
        """Return the mask of the cores of all regions at any size, as `mask_at`. See `Region.core_box_px`.

        Parameters
        ----------
        width, height : int
            Size of the result in pixels.

        Returns
        -------
        ndarray of shape (height, width), bool

        Raises
        ------
        ValueError
            If the image was not scored.
        """
        inside = self.mask_at(width, height)
        assert self.map is not None  # mask_at checks it
        if not inside.any():  # SciPy is then not imported
            return inside
        from scipy import ndimage

        labels, n = ndimage.label(self.map > 1, np.ones((3, 3)))
        levels = [np.inf, *map(core_level, ndimage.maximum(self.map, labels, range(1, n + 1)))]
        return _resized(self.map > np.array(levels, np.float32)[labels], width, height)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of one CSV row, in the order of the columns: all but the map and the regions."""
        largest = max((region.area_px for region in self.regions), default=0.0)
        found = {field: getattr(self, field, None) for field in FIELDS}
        return found | {"n_regions": len(self.regions), "largest_region_px": largest}


def core_level(peak: float) -> float:
    """Return the value of the map above which a cell of a region with this peak belongs to its core."""
    return max(1.0, 2 / 3 * peak)


def _resized(inside: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a mask (h, w) so that every cell that is True has at least one pixel."""
    if width >= inside.shape[1] and height >= inside.shape[0]:
        cells = Image.fromarray(inside.astype(np.uint8))
        return np.asarray(cells.resize((width, height), Image.Resampling.NEAREST)) > 0
    return np.asarray(Image.fromarray(inside.astype(np.float32)).resize((width, height), Image.Resampling.BOX)) > 0


_JUST_ABOVE = np.nextafter(np.float32(1), np.float32(2))


def not_scored(path: str, status: str, message: str, raw_limit: float, seconds: float, time: str = "") -> Inspection:
    """Return the result of an image without a score; `status` is "invalid" or "error"."""
    return Inspection(path, status, status.upper(), float("nan"), float("nan"), raw_limit, seconds, message, time=time)
