"""Pixels of the working size to feature maps at every scale, and the patch features that one level sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import images, patches, tiling
from .backbone import Backbone
from .feature_cache import Features

N_SCALES = 2  # the working size, and half of it


class MapKey(NamedTuple):
    """Scale and backbone output of a feature map: the working size is divided by `divisor`."""

    divisor: int
    output: int


FeatureMaps = Mapping[MapKey, Features]  # each (c, h, w) float32


@dataclass(frozen=True, order=True)
class LevelKey:
    """Names the features that a level sees.

    Attributes
    ----------
    divisor : int
        The level sees the working size divided by this: 1, 2 or 4.
    output : int
        Index of the backbone's output.
    pooled : bool
        Whether each patch is averaged with its eight neighbors. Pooled levels make the image score. All levels
        make the anomaly map.
    """

    divisor: int
    output: int
    pooled: bool

    @property
    def map_key(self) -> MapKey:
        """Key of the feature map that the level sees."""
        return MapKey(self.divisor, self.output)


class Tile(NamedTuple):
    """A part of an image of size `image_px` (h, w): its rows and columns, in pixels of the working size."""

    rows: slice
    columns: slice
    image_px: tuple[int, int]


def level_keys(n_outputs: int, n_scales: int = N_SCALES) -> list[LevelKey]:
    """List the key of every level of a backbone with `n_outputs` outputs."""
    return [LevelKey(2**s, o, p) for p in (True, False) for s in range(n_scales) for o in range(n_outputs)]


def unit_px(backbone: Backbone, n_scales: int = N_SCALES) -> int:
    """Return the unit of the working size: both sides are multiples of it, so that every grid fits exactly."""
    return backbone.unit_px << (n_scales - 1)


def halo_px(n_scales: int) -> int:
    """Return the border around a tile: a patch of the smallest scale sees as many of that scale's pixels around it."""
    return tiling.HALO_PX << max(0, n_scales - N_SCALES)


def from_pixels(
    pixels: np.ndarray, backbone: Backbone, n_threads: int = 1, n_scales: int = N_SCALES
) -> dict[MapKey, np.ndarray]:
    """Compute the feature maps of an image at every scale.

    Parameters
    ----------
    pixels : ndarray of shape (3, h, w), float32
        Pixels of the working size. Large images are processed tile by tile.
    backbone : Backbone
    n_threads : int, default: 1
        Threads of the backbone.
    n_scales : int, default: 2
        Each scale has half the size of the one before it; the first is the working size.

    Returns
    -------
    dict of MapKey to ndarray of shape (c, h, w), float32
    """
    return tiling.stitched(
        pixels.shape[1:],
        unit_px(backbone, n_scales),
        lambda tile: of_tile(pixels, tile, backbone, n_threads, n_scales),
        halo_px(n_scales),
    )


def of_tile(
    pixels: np.ndarray, tile: tuple[slice, slice], backbone: Backbone, n_threads: int, n_scales: int = N_SCALES
) -> dict[MapKey, np.ndarray]:
    """Compute the feature maps of the rows and columns `tile` of an image, at every scale."""
    part = np.ascontiguousarray(pixels[(slice(None), *tile)])
    maps = {MapKey(1, o): m for o, m in enumerate(backbone.maps(part, n_threads))}
    for scale in range(1, n_scales):
        part = images.halve(part)
        maps.update({MapKey(2**scale, o): m for o, m in enumerate(backbone.maps(part, n_threads))})
    return maps


def level_patches(maps: FeatureMaps, key: LevelKey) -> np.ndarray:
    """Return the patch features of shape (h*w, c) that level `key` sees."""
    feature_map = np.asarray(maps[key.map_key])
    return patches.patch_features(patches.pool(feature_map) if key.pooled else feature_map)
