"""Stage 8: an image's map -> connected regions above the limit, in the image's own pixels."""

from __future__ import annotations

import numpy as np

from ..results import Region

# Steps along cell edges and, for each, the cells to its left and right seen from the corner it starts at.
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # right, down, left, up as (row, column)


def without_small(score_map: np.ndarray, min_cells: float) -> np.ndarray:
    """The map with regions of fewer map pixels brought down to the limit, 1.0."""
    labels, n = _labelled(score_map)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    small = sizes < min_cells
    small[0] = False
    return np.where(small[labels], np.float32(1), score_map)


def find(
    score_map: np.ndarray, image_size_px: tuple[int, int], mm_per_pixel: float | None = None
) -> tuple[Region, ...]:
    """Regions where the map is above 1.0, 8-connected, the highest peak first.

    Parameters
    ----------
    score_map : ndarray (h, w) float32
        At the size the image was worked at.
    image_size_px : (int, int)
        Height and width of the image.
    mm_per_pixel : float, optional
    """
    if not (score_map > 1).any():  # most images; spares loading SciPy
        return ()
    from scipy import ndimage

    labels, _ = _labelled(score_map)
    factors = image_size_px[0] / score_map.shape[0], image_size_px[1] / score_map.shape[1]
    found = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[rows, columns] == label
        values = np.where(inside, score_map[rows, columns], -np.inf)
        row, column = (int(i) for i in np.unravel_index(np.argmax(values), values.shape))
        top, bottom = (round(edge * factors[0]) for edge in (rows.start, rows.stop))
        left, right = (round(edge * factors[1]) for edge in (columns.start, columns.stop))
        area_px = float(inside.sum()) * factors[0] * factors[1]
        found.append(
            Region(
                box_px=(left, top, max(1, right - left), max(1, bottom - top)),
                area_px=area_px,
                area_mm2=None if mm_per_pixel is None else area_px * mm_per_pixel**2,
                peak=float(values.max()),
                peak_px=(int((columns.start + column + 0.5) * factors[1]), int((rows.start + row + 0.5) * factors[0])),
                mean=float(values[inside].mean(dtype=np.float64)),
                contour_px=[
                    (round((columns.start + x) * factors[1], 2), round((rows.start + y) * factors[0], 2))
                    for x, y in _outline(inside)
                ],
            )
        )
    return tuple(sorted(found, key=lambda region: -region.peak))


def _labelled(score_map: np.ndarray) -> tuple[np.ndarray, int]:
    from scipy import ndimage

    return ndimage.label(score_map > 1, np.ones((3, 3)))


def _outline(inside: np.ndarray) -> list[tuple[int, int]]:
    """Corners (x, y) of the outer border of one 8-connected region, clockwise from its first cell's upper left.

    Walks along the edges of cells with the region at the right hand; where two cells touch at a corner only, it
    turns left, so that both belong to one outline.
    """
    padded = np.pad(inside, 1)

    def cell(row: int, column: int) -> bool:  # of the cell whose upper left corner is (row, column)
        return bool(padded[row + 1, column + 1])

    start = 0, int(np.argmax(inside[0]))
    corners: list[tuple[int, int]] = []
    place, heading = start, 0
    while True:
        row, column = place
        ahead = {  # cells ahead of this corner, left and right of the way
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
