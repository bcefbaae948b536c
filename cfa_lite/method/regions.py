"""Regions: the connected parts of an anomaly map above the limit, in pixels of the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Optional

import numpy as np

from ..results import Region, core_level

# Rows and columns (n,) of a region's cells -> kind of defect, and how often such an answer was right.
Tell = Callable[[np.ndarray, np.ndarray], tuple[str, Optional[float]]]
_TOUCHING = np.ones((3, 3))  # cells that touch at a corner are connected
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # along cell edges as (row, column): right, down, left, up


class RegionsAndMap(NamedTuple):
    """Result of `find`: the map without small regions, and the regions."""

    map: np.ndarray
    regions: tuple[Region, ...]


def find(
    anomaly_map: np.ndarray,
    image_size_px: tuple[int, int],
    min_area_px: float = 0.0,
    mm_per_pixel: float | None = None,
    tell: Tell | None = None,
) -> RegionsAndMap:
    """Find the regions in which the map is above 1.0, the limit.

    Parameters
    ----------
    anomaly_map : ndarray (h, w) float32
        Divided by the limit, at the working size.
    image_size_px : (int, int)
        Height and width of the image.
    min_area_px : float, at least 0
        Regions with a smaller area, in pixels of the image, are removed.
    mm_per_pixel : float, optional
        Size of a pixel of the image, for areas in square millimeters.
    tell : callable, optional
        Tells the kind of a region.

    Returns
    -------
    map : ndarray (h, w) float32
        The map, in which removed regions have the value 1.0.
    regions : tuple of Region
        8-connected regions in pixels of the image, the highest peak first.
    """
    if not (anomaly_map > 1).any():  # most images; SciPy is then not imported
        return RegionsAndMap(anomaly_map, ())
    from scipy import ndimage

    labels, n = ndimage.label(anomaly_map > 1, _TOUCHING)
    is_small = np.zeros(n + 1, bool)
    if min_area_px > 0:
        image_px_per_cell = image_size_px[0] * image_size_px[1] / anomaly_map.size
        is_small = np.bincount(labels.ravel(), minlength=n + 1) < min_area_px / image_px_per_cell
        is_small[0] = False
        anomaly_map = np.where(is_small[labels], np.float32(1), anomaly_map)
    scale = image_size_px[0] / anomaly_map.shape[0], image_size_px[1] / anomaly_map.shape[1]
    regions = [
        _with_kind(_region(anomaly_map, labels, label, box, scale, mm_per_pixel), labels == label, tell)
        for label, box in enumerate(ndimage.find_objects(labels), 1)
        if not is_small[label]
    ]
    return RegionsAndMap(anomaly_map, tuple(sorted(regions, key=lambda region: -region.peak)))


def _region(
    anomaly_map: np.ndarray,
    labels: np.ndarray,
    label: int,
    box: tuple[slice, slice],
    scale: tuple[float, float],
    mm_per_pixel: float | None,
) -> Region:
    """Describe one region, whose cells have `label` and are inside `box`, in pixels of the image."""
    inside = labels[box] == label
    values = np.where(inside, anomaly_map[box], -np.inf)
    row, column = (int(i) for i in np.unravel_index(np.argmax(values), values.shape))
    rows, columns = box
    peak = float(values.max())
    whole, core = _Shape(inside, box, scale), _Shape(values > np.float32(core_level(peak)), box, scale)
    return Region(
        box_px=whole.box_px(),
        area_px=whole.area_px,
        area_mm2=None if mm_per_pixel is None else whole.area_px * mm_per_pixel**2,
        peak=peak,
        peak_px=(int((columns.start + column + 0.5) * scale[1]), int((rows.start + row + 0.5) * scale[0])),
        mean=float(values[inside].mean(dtype=np.float64)),
        contour_px=whole.contours_px()[0],
        core_box_px=core.box_px(),
        core_area_px=core.area_px,
        core_area_mm2=None if mm_per_pixel is None else core.area_px * mm_per_pixel**2,
        core_contours_px=core.contours_px(),
    )


class _Shape(NamedTuple):
    """Cells `inside` (h, w) a `box` of the map, to be described in pixels of the image, `scale` for each cell."""

    inside: np.ndarray
    box: tuple[slice, slice]
    scale: tuple[float, float]

    @property
    def area_px(self) -> float:
        return float(self.inside.sum()) * self.scale[0] * self.scale[1]

    def box_px(self) -> tuple[int, int, int, int]:
        """Return left, top, width and height."""
        (top, bottom), (left, right) = (
            (round((part.start + at[0]) * side), round((part.start + at[-1] + 1) * side))
            for part, side, at in zip(self.box, self.scale, (np.flatnonzero(self.inside.any(axis=a)) for a in (1, 0)))
        )
        return left, top, max(1, right - left), max(1, bottom - top)

    def contours_px(self) -> list[list[tuple[float, float]]]:
        """Return the outline of each connected part."""
        from scipy import ndimage

        labels, _ = ndimage.label(self.inside, _TOUCHING)
        (top, left), (down, right) = (part.start for part in self.box), self.scale
        return [
            [
                (round((left + columns.start + x) * right, 2), round((top + rows.start + y) * down, 2))
                for x, y in _outline(labels[rows, columns] == label)
            ]
            for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1)
        ]


def _with_kind(region: Region, inside: np.ndarray, tell: Tell | None) -> Region:
    if tell is None:
        return region
    kind, certainty = tell(*np.nonzero(inside))
    return replace(region, kind=kind, kind_certainty=certainty)


def _outline(inside: np.ndarray) -> list[tuple[int, int]]:
    """Trace the outer border of one 8-connected region.

    Parameters
    ----------
    inside : ndarray (h, w) bool
        Bounding box of the region.

    Returns
    -------
    list of (int, int)
        Corners (x, y), clockwise from the upper left corner of the first cell.

    Notes
    -----
    The path follows the edges of cells and keeps the region on its right. Where two cells touch only at a corner, it
    turns left, so that one outline includes both.
    """
    padded = np.pad(inside, 1)

    def cell(row: int, column: int) -> bool:  # whether the cell with this upper left corner is inside
        return bool(padded[row + 1, column + 1])

    start = 0, int(np.argmax(inside[0]))
    corners: list[tuple[int, int]] = []
    place, heading = start, 0
    while True:
        row, column = place
        ahead = {  # the cells ahead, on the left and on the right of the path
            0: (cell(row - 1, column), cell(row, column)),
            1: (cell(row, column), cell(row, column - 1)),
            2: (cell(row, column - 1), cell(row - 1, column - 1)),
            3: (cell(row - 1, column - 1), cell(row - 1, column)),
        }[heading]
        turned = (heading - 1) % 4 if ahead[0] else heading if ahead[1] else (heading + 1) % 4
        if turned != heading or not corners:
            corners.append((column, row))
        heading = turned
        place = row + _STEPS[heading][0], column + _STEPS[heading][1]
        if place == start:
            return corners
