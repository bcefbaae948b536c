"""Fitted levels, and how far the patches of an image are from their memory banks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..features import feature_maps
from ..features.feature_maps import FeatureMaps, LevelKey, Tile
from ..features.mask import InspectionMask
from ..method import cells as cells_
from ..method import neighbors
from ..method.cells import Cells, Search

DistanceMaps = dict[LevelKey, np.ndarray]  # each (h, w) float32, on the level's own grid


@dataclass(frozen=True)
class Level:
    """A fitted level: the descriptor and the memory bank of one scale, one backbone output, pooled or not.

    Attributes
    ----------
    key : LevelKey
    mean : ndarray of shape (c,), float32
    weight : ndarray of shape (c, d), float32
        Descriptors are (patches - mean) @ weight.
    centers : ndarray of shape (n_centers, d), float32
        Memory bank.
    distance_mean : float
        Mean distance of held-out normal patches to memory banks that were fitted without them. It is the unit of this
        level's distances.
    score_weight : float
        Weight of this level in the image score. The weights of all pooled levels sum to 1.
    cells : Cells or None
        Cells in which the nearest center is searched. Without them, a patch is compared with every center.
    """

    key: LevelKey
    mean: np.ndarray
    weight: np.ndarray
    centers: np.ndarray
    distance_mean: float
    score_weight: float = 0.0
    cells: Cells | None = None

    def distances(self, centered: np.ndarray) -> np.ndarray:
        """Measure the distances (n,) of patches (c, n) from which the mean is already subtracted."""
        matrix, half_sq = self._folded
        if self._search is None:
            return neighbors.distances(centered, matrix, half_sq)
        return cells_.distances(centered, matrix, self._search)

    @cached_property
    def _folded(self) -> tuple[np.ndarray, np.ndarray]:
        return neighbors.folded(self.weight, self.centers if self.cells is None else self.cells.middles)

    @cached_property
    def _search(self) -> Search | None:
        return None if self.cells is None else cells_.prepare(self.centers, self.cells)


def distance_map(maps: FeatureMaps, level: Level, inspected: np.ndarray | None = None) -> np.ndarray:
    """Measure the distance of every patch to the nearest center of a level.

    Parameters
    ----------
    maps : FeatureMaps
    level : Level
    inspected : ndarray of shape (h*w,), bool, optional
        Which patches are measured. The others get the mean distance of these, so that they do not bias the smoothing.

    Returns
    -------
    ndarray of shape (h, w), float32
        On the level's own grid.
    """
    return filled(_measured(maps, level, inspected)[0])


def _measured(
    maps: FeatureMaps, level: Level, inspected: np.ndarray | None, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the distance map, with NaN where no patch is inspected, and the responses of all patches to a weight."""
    grid = maps[level.key.map_key].shape[1:]
    rows = feature_maps.level_patches(maps, level.key)
    centered = rows - level.mean
    response = None if weight is None else (weight.T @ centered.T).reshape(-1, *grid)
    if inspected is None:
        return level.distances(centered.T).reshape(grid), response
    everywhere = np.full(len(rows), np.float32(np.nan))
    # A selection of rows has another memory order than all rows; the product must be the same on every route.
    everywhere[inspected] = level.distances((rows[inspected] - level.mean).T)
    return everywhere.reshape(grid), response


def filled(distances: np.ndarray) -> np.ndarray:
    """Replace NaN, the patches that are not inspected, by the mean of the others."""
    missing = np.isnan(distances)
    return np.where(missing, distances[~missing].mean(), distances) if missing.any() else distances


def inspected_patches(
    maps: FeatureMaps, key: LevelKey, mask: InspectionMask | None, tile: Tile | None = None
) -> np.ndarray | None:
    """Return which patches of a level are inspected: ndarray of shape (h*w,), bool, or None for all.

    `maps` are those of a whole image, or of `tile`.
    """
    if mask is None:
        return None
    h, w = maps[key.map_key].shape[1:]
    if tile is None:
        return mask.patches((h, w))
    stride = (tile.rows.stop - tile.rows.start) // h
    whole = (tile.image_px[0] // stride, tile.image_px[1] // stride)
    rows, columns = (slice(part.start // stride, part.stop // stride) for part in (tile.rows, tile.columns))
    return mask.patches(whole).reshape(whole)[rows, columns].ravel()


def tile_measures(
    maps: FeatureMaps,
    levels: Iterable[Level],
    weights: Mapping[LevelKey, np.ndarray],
    mask: InspectionMask | None,
    tile: Tile,
) -> dict[tuple[str, LevelKey], np.ndarray]:
    """Measure the distance maps of all levels in a tile, and the responses of those that have a weight.

    The levels run on one thread: sharing the levels of one image between threads took longer.

    Returns
    -------
    dict of ("distance" or "response", LevelKey) to ndarray
        Distances (h, w) with NaN where no patch is inspected, and responses (n, h, w).
    """
    found: dict[tuple[str, LevelKey], np.ndarray] = {}
    for level in levels:
        inspected = inspected_patches(maps, level.key, mask, tile)
        found["distance", level.key], response = _measured(maps, level, inspected, weights.get(level.key))
        if response is not None:
            found["response", level.key] = response
    return found
