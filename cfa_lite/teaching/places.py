"""Places of an image: cells of the grid on which defects are known, with their anomaly and their descriptors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..features import patches
from ..features.feature_maps import FeatureMaps
from ..features.mask import InspectionMask
from ..fitted import TaughtImage
from ..inference import known_defects
from ..inference.levels import Level
from ..method import resampling, whitening
from .labelled import LabelledImage

N_USED = 6  # places that teach a defect
N_KEPT = 12  # places that are kept of each defective image
_COVERED = 0.5  # a cell is defective if a mask covers this share of it


def pooled(levels: Sequence[Level]) -> list[Level]:
    """Return the levels whose descriptors tell known defects: those that make the image score."""
    return [level for level in levels if level.key.pooled]


def grid_of(maps: FeatureMaps, levels: Sequence[Level], size_px: tuple[int, int]) -> tuple[int, int]:
    """Return the grid (h, w) of the places of an image of the working size `size_px`."""
    grids = {level.key: tuple(maps[level.key.map_key].shape[1:]) for level in pooled(levels)}
    return known_defects.grid_of(grids, size_px)


def descriptors(maps: FeatureMaps, levels: Sequence[Level], grid: tuple[int, int], at: np.ndarray) -> np.ndarray:
    """Compute the descriptors of all pooled levels at places.

    Parameters
    ----------
    maps : FeatureMaps
        Of a whole image.
    levels : sequence of Level
    grid : (int, int)
    at : ndarray of shape (n,), int
        Positions on the grid, row by row.

    Returns
    -------
    ndarray of shape (n, d), float32
        Descriptors of the levels side by side.
    """
    parts = []
    for level in pooled(levels):
        feature_map = patches.pool(np.asarray(maps[level.key.map_key]))
        rows = resampling.to_grid(feature_map, grid).reshape(len(feature_map), -1)[:, at].T
        parts.append(whitening.describe(np.ascontiguousarray(rows), level.mean, level.weight))
    return np.concatenate(parts, axis=1)


def cells(score_map: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Arrange a map (h, w) by the cells of a grid: ndarray of shape (n_cells, pixels of a cell)."""
    (h, w), (rows, columns) = score_map.shape, grid
    by_cell = score_map.reshape(rows, h // rows, columns, w // columns).swapaxes(1, 2)
    return np.asarray(by_cell.reshape(rows * columns, -1))


def most_anomalous(score_map: np.ndarray, grid: tuple[int, int], mask: InspectionMask | None, n: int) -> np.ndarray:
    """Return the `n` places with the highest mean of a score map, the highest first; only inspected ones."""
    means = cells(score_map, grid).mean(axis=1)
    if mask is not None:
        means = np.where(mask.patches(grid), means, -np.inf)
    order = np.argsort(-means, kind="stable")[:n]
    return np.asarray(order[np.isfinite(means[order])])


def taught_image(
    labelled: LabelledImage,
    maps: FeatureMaps,
    score_map: np.ndarray,
    levels: Sequence[Level],
    inspected: InspectionMask | None,
    date: str,
) -> tuple[TaughtImage, np.ndarray]:
    """Choose the places of a defective image that teach its defect.

    They are the most anomalous places: of the image, or of its mask if it has one. A mask may therefore be rough.

    Parameters
    ----------
    labelled : LabelledImage
        With the mask of its defect at the working size, if there is one.
    maps : FeatureMaps
    score_map : ndarray of shape (h, w)
        Without known defects.
    levels : sequence of Level
    inspected : InspectionMask or None
    date : str

    Returns
    -------
    TaughtImage
    used : ndarray of shape (h, w), bool
        The places that teach the defect, at the working size.
    """
    size_px = (score_map.shape[0], score_map.shape[1])
    grid = grid_of(maps, levels, size_px)
    ranked = most_anomalous(score_map, grid, inspected, grid[0] * grid[1])
    used = ranked[:N_USED]
    if labelled.mask is not None:
        share = resampling.cell_means(labelled.mask, grid).ravel()
        defective = ranked[share[ranked] >= min(_COVERED, float(share[ranked].max()))]
        used = defective[:N_USED]
    kept = np.concatenate([used, ranked[:N_KEPT][~np.isin(ranked[:N_KEPT], used)]])[:N_KEPT]
    where = np.zeros(grid, np.float32)
    where.ravel()[used] = 1
    shown = np.kron(where, np.ones((size_px[0] // grid[0], size_px[1] // grid[1]))) > 0
    image = TaughtImage(
        name=labelled.file_name,
        kind=labelled.kind,
        date=date,
        fingerprint=labelled.fingerprint,
        n_used=len(used),
        has_mask=labelled.mask is not None,
        raw_score=float(score_map.max()),
        descriptors=descriptors(maps, levels, grid, kept),
        anomaly=cells(score_map, grid)[kept].max(axis=1),
    )
    return image, shown
