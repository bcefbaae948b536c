"""The line for one picture: pixels -> feature maps -> distance maps of all levels -> maps and score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import descriptor, images, memory_bank, patches, scoring
from .backbone import Backbone
from .level import Finish, Level, LevelKey

DIVISORS = (1, 2)  # working size, and half of it

FeatureMaps = dict[tuple[int, int], np.ndarray]  # (divisor, output index) -> (c, h, w) float32


@dataclass(frozen=True)
class RawMaps:
    """Maps (h, w) float32 at the working size, background removed, in units of the levels' means.

    `pooled` makes the picture's score (its maximum), `both` is the map that is shown.
    """

    pooled: np.ndarray
    both: np.ndarray

    @property
    def score(self) -> float:
        return float(self.pooled.max())


def level_keys(n_outputs: int) -> list[LevelKey]:
    """Every level of a backbone with `n_outputs` outputs."""
    return [LevelKey(d, o, p) for p in (True, False) for d in DIVISORS for o in range(n_outputs)]


def unit_px(backbone: Backbone) -> int:
    """Sides of the working size are multiples of this: the coarsest grid of the smallest scale fits."""
    return backbone.unit_px * max(DIVISORS)


def feature_maps(
    bands: list[Image.Image], size_px: tuple[int, int], backbone: Backbone, n_threads: int = 1
) -> FeatureMaps:
    """Feature maps of a picture (bands of images.read) at every scale."""
    return maps_of_pixels(images.to_pixels(bands, size_px), backbone, n_threads)


def maps_of_pixels(pixels: np.ndarray, backbone: Backbone, n_threads: int = 1) -> FeatureMaps:
    """Feature maps of pixels (3, h, w) of the working size at every scale."""
    maps = dict(((1, o), m) for o, m in enumerate(backbone.maps(pixels, n_threads)))
    maps.update(((2, o), m) for o, m in enumerate(backbone.maps(images.halve(pixels), n_threads)))
    return maps


def level_patches(maps: FeatureMaps, key: LevelKey) -> np.ndarray:
    """Patch features (h*w, c) that level `key` sees."""
    feature_map = maps[key.divisor, key.output]
    return patches.patch_features(patches.pool(feature_map) if key.pooled else feature_map)


def distance_map(maps: FeatureMaps, level: Level) -> np.ndarray:
    """Distance of every patch to the level's nearest center, on the level's own grid: (h, w) float32."""
    descriptors = descriptor.describe(level_patches(maps, level.key), level.mean, level.weight)
    _, distance_sq = memory_bank.nearest(descriptors, level.centers)
    return np.sqrt(distance_sq).reshape(maps[level.key.divisor, level.key.output].shape[1:])


def distance_maps(maps: FeatureMaps, levels: list[Level]) -> dict[LevelKey, np.ndarray]:
    """Distance map of every level."""
    return {level.key: distance_map(maps, level) for level in levels}


def combine(
    distances: dict[LevelKey, np.ndarray],
    levels: list[Level],
    finish: Finish,
    background: float,
    size_px: tuple[int, int],
) -> RawMaps:
    """Both maps of a picture from its levels' distance maps."""
    return RawMaps(
        score_map(distances, levels, finish, background, size_px),
        shown_map(distances, levels, finish, background, size_px),
    )


def score_map(
    distances: dict[LevelKey, np.ndarray],
    levels: list[Level],
    finish: Finish,
    background: float,
    size_px: tuple[int, int],
) -> np.ndarray:
    """The map whose maximum is the picture's score, from its pooled levels' distance maps."""
    pooled = [level for level in levels if level.key.pooled]
    of_score = scoring.weighted_map(
        (distances[level.key] for level in pooled),
        (level.score_weight / level.distance_mean for level in pooled),
        size_px,
        scoring.SMOOTHING_SHARE,
    )
    of_score = scoring.remove_background(of_score, background)
    return of_score if finish.position_mean is None else scoring.remove_position_mean(of_score, finish.position_mean)


def shown_map(
    distances: dict[LevelKey, np.ndarray],
    levels: list[Level],
    finish: Finish,
    background: float,
    size_px: tuple[int, int],
) -> np.ndarray:
    """The map that is shown, from all levels' distance maps: as many with as without pooling."""
    both = scoring.weighted_map(
        (distances[level.key] for level in levels),
        (1 / (level.distance_mean * len(levels)) for level in levels),
        size_px,
        finish.map_smoothing,
    )
    return scoring.remove_background(both, background)


def raw_maps(
    bands: list[Image.Image],
    size_px: tuple[int, int],
    backbone: Backbone,
    levels: list[Level],
    finish: Finish,
    background: float,
    n_threads: int,
) -> RawMaps:
    """The whole line: bands of images.read -> both maps, by fitted levels."""
    distances = distance_maps(feature_maps(bands, size_px, backbone, n_threads), levels)
    return combine(distances, levels, finish, background, size_px)
