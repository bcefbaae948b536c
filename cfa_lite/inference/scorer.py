"""The line for one image: pixels -> feature maps -> distance maps of all levels -> maps and score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..features import images, patches, tiling
from ..features.backbone import Backbone
from ..features.feature_cache import Features
from ..features.mask import InspectionMask
from ..fitted import Finish, Level, LevelKey
from ..method import anomaly_map, neighbors

DIVISORS = (1, 2)  # working size, and half of it

FeatureMaps = Mapping[tuple[int, int], Features]  # (divisor, output index) -> (c, h, w) float32


def level_keys(n_outputs: int) -> list[LevelKey]:
    """Every level of a backbone with `n_outputs` outputs."""
    return [LevelKey(d, o, p) for p in (True, False) for d in DIVISORS for o in range(n_outputs)]


def unit_px(backbone: Backbone) -> int:
    """Sides of the working size are multiples of this: the coarsest grid of the smallest scale fits."""
    return backbone.unit_px * max(DIVISORS)


def maps_of_pixels(pixels: np.ndarray, backbone: Backbone, n_threads: int = 1) -> dict[tuple[int, int], np.ndarray]:
    """Feature maps of pixels (3, h, w) of the working size at every scale; of large images tile by tile."""
    return tiling.stitched(
        pixels.shape[1:], unit_px(backbone), lambda tile: _maps_of_tile(pixels, tile, backbone, n_threads)
    )


def _maps_of_tile(
    pixels: np.ndarray, tile: tuple[slice, slice], backbone: Backbone, n_threads: int
) -> dict[tuple[int, int], np.ndarray]:
    part = np.ascontiguousarray(pixels[(slice(None), *tile)])
    maps = dict(((1, o), m) for o, m in enumerate(backbone.maps(part, n_threads)))
    maps.update(((2, o), m) for o, m in enumerate(backbone.maps(images.halve(part), n_threads)))
    return maps


def level_patches(maps: FeatureMaps, key: LevelKey) -> np.ndarray:
    """Patch features (h*w, c) that level `key` sees."""
    feature_map = np.asarray(maps[key.divisor, key.output])
    return patches.patch_features(patches.pool(feature_map) if key.pooled else feature_map)


def distance_map(maps: FeatureMaps, level: Level, counts: np.ndarray | None = None) -> np.ndarray:
    """Distance of every patch to the level's nearest center, on the level's own grid: (h, w) float32.

    Of patches that do not count, by `counts` (h*w,) bool, none is measured; they are NaN.
    """
    grid = maps[level.key.divisor, level.key.output].shape[1:]
    rows = level_patches(maps, level.key)
    counted = rows if counts is None else rows[counts]
    distance = neighbors.distances((counted - level.mean).T, *level.folded)
    if counts is None:
        return distance.reshape(grid)
    everywhere = np.full(len(rows), np.float32(np.nan))
    everywhere[counts] = distance
    return everywhere.reshape(grid)


def neutral(distance: np.ndarray) -> np.ndarray:
    """A distance map whose patches that do not count have the mean of those that do, so that smoothing does no harm."""
    missing = np.isnan(distance)
    return np.where(missing, distance[~missing].mean(), distance) if missing.any() else distance


def counts_of(
    maps: FeatureMaps,
    key: LevelKey,
    area: InspectionMask | None,
    size_px: tuple[int, int] | None = None,
    tile: tuple[slice, slice] | None = None,
) -> np.ndarray | None:
    """Patches (h*w,) bool of a level that count, of an image or of a tile of one of `size_px`; None if all do."""
    if area is None:
        return None
    grid = maps[key.divisor, key.output].shape[1:]
    if tile is None or size_px is None:
        return area.patches(grid)
    stride = (tile[0].stop - tile[0].start) // grid[0]
    whole = tuple(side // stride for side in size_px)
    rows, columns = (slice(part.start // stride, part.stop // stride) for part in tile)
    return area.patches(whole).reshape(whole)[rows, columns].ravel()


def distance_maps(
    maps: FeatureMaps,
    levels: list[Level],
    area: InspectionMask | None,
    size_px: tuple[int, int],
    tile: tuple[slice, slice] | None = None,
) -> dict[LevelKey, np.ndarray]:
    """Distance map of every level, of an image of a working size or of a tile of it.

    On one thread: shared between two they took longer (DESIGN.md, one BLAS thread).
    """
    return {lv.key: distance_map(maps, lv, counts_of(maps, lv.key, area, size_px, tile)) for lv in levels}


def combine(
    distances: dict[LevelKey, np.ndarray],
    levels: list[Level],
    finish: Finish,
    background: float,
    size_px: tuple[int, int],
    area: InspectionMask | None = None,
) -> np.ndarray:
    """Raw map (h, w) float32 of an image at its working size, whose maximum is the raw score.

    In units of the levels' mean distances. Score and map come from different levels (FINDINGS 9, 14); the map is
    brought to the score.
    """
    score = float(score_map(distances, levels, finish, background, size_px, area).max())
    return brought_map(distances, levels, finish, background, size_px, score, area)


def brought_map(
    distances: dict[LevelKey, np.ndarray],
    levels: list[Level],
    finish: Finish,
    background: float,
    size_px: tuple[int, int],
    score: float,
    area: InspectionMask | None,
) -> np.ndarray:
    """The map that is shown, brought to a raw score that is known."""
    shown = shown_map(distances, levels, finish, background, size_px, area) / np.float32(finish.map_unit)
    return anomaly_map.to_score(shown, score, None if area is None else area.inside(size_px))


def score_map(
    distances: dict[LevelKey, np.ndarray],
    levels: list[Level],
    finish: Finish,
    background: float,
    size_px: tuple[int, int],
    area: InspectionMask | None = None,
) -> np.ndarray:
    """The map whose maximum is the image's score, from its pooled levels' distance maps.

    What does not count is lowest, so that it makes no score.
    """
    inside = None if area is None else area.inside(size_px)
    pooled = [level for level in levels if level.key.pooled]
    of_score = anomaly_map.weighted_map(
        (distances[level.key] for level in pooled),
        (level.score_weight / level.distance_mean for level in pooled),
        size_px,
        anomaly_map.SMOOTHING_SHARE,
    )
    of_score = anomaly_map.remove_background(of_score, background, inside)
    if finish.position_mean is not None:
        of_score = anomaly_map.remove_position_mean(of_score, finish.position_mean)
    return of_score if inside is None else np.where(inside, of_score, of_score[inside].min())


def shown_map(
    distances: dict[LevelKey, np.ndarray],
    levels: list[Level],
    finish: Finish,
    background: float,
    size_px: tuple[int, int],
    area: InspectionMask | None = None,
) -> np.ndarray:
    """The map that is shown, from all levels' distance maps: as many with as without pooling."""
    both = anomaly_map.weighted_map(
        (distances[level.key] for level in levels),
        (1 / (level.distance_mean * len(levels)) for level in levels),
        size_px,
        finish.map_smoothing,
    )
    return anomaly_map.remove_background(both, background, None if area is None else area.inside(size_px))


def raw_map(
    pixels: np.ndarray,
    backbone: Backbone,
    levels: list[Level],
    finish: Finish,
    background: float,
    area: InspectionMask | None,
    n_threads: int,
) -> np.ndarray:
    """The whole line: pixels (3, h, w) of the working size -> raw map (h, w), by fitted levels.

    Of a large image tile after tile is brought to distances, which are small; background and smoothing are of the
    image.
    """
    size_px = pixels.shape[1:]

    def work(tile: tuple[slice, slice]) -> dict[LevelKey, np.ndarray]:
        maps = _maps_of_tile(pixels, tile, backbone, n_threads)
        return distance_maps(maps, levels, area, size_px, tile)

    distances = {key: neutral(d) for key, d in tiling.stitched(size_px, unit_px(backbone), work).items()}
    return combine(distances, levels, finish, background, size_px, area)
