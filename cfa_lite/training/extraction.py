"""Extraction: feature maps of normal images, and of the synthetic defects painted on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..features import feature_maps
from ..features.backbone import Backbone
from ..features.feature_cache import FeatureStore
from ..features.feature_maps import FeatureMaps
from ..parameters import DEFAULT_SIZE_PX
from . import synthetic_defects, training_set
from .framing import Framing
from .training_set import Progress, Source, TrainingSet

WORKING_AREA_PX = DEFAULT_SIZE_PX**2
N_DEFECTS = 128  # synthetic defects over all normal images; 64 decide differently from seed to seed
_DEFECTS = 20  # random stream
_MAX_WHOLE_AREAS = 4  # in an image of more working areas, a defect is painted in a window of one working area


@dataclass(frozen=True)
class SyntheticDefect:
    """Feature maps of a normal image with a synthetic defect, and where the defect is: `mask` (h, w) of bool."""

    maps: FeatureMaps
    mask: np.ndarray


@dataclass(frozen=True)
class NormalImage:
    """What is kept of a normal image: its feature maps, and those of its copies with synthetic defects."""

    maps: FeatureMaps
    defects: tuple[SyntheticDefect, ...] = ()


def read(
    source: Source,
    framing: Framing,
    backbone: Backbone,
    store: FeatureStore,
    *,
    n_defects: int = 0,
    random_state: int = 0,
    n_threads: int = 1,
    progress: Progress = lambda phase, done, total: None,
) -> TrainingSet[NormalImage]:
    """Extract the feature maps of the normal images, and of `n_defects` synthetic defects painted on them.

    Raises
    ------
    ImageError
        See `training_set.read`.
    """
    n_scales = framing.n_scales
    unit_px = feature_maps.unit_px(backbone, n_scales)
    n_images = len(source.images)

    def extract(i: int, pixels: np.ndarray) -> NormalImage:
        rng = np.random.default_rng([random_state, _DEFECTS, i])
        size_px = (pixels.shape[1], pixels.shape[2])
        maps = feature_maps.from_pixels(pixels, backbone, n_scales=n_scales)
        defects = []
        for _ in range(((i + 1) * n_defects) // n_images - (i * n_defects) // n_images):
            window = _window(size_px, unit_px, rng)
            painted, mask = synthetic_defects.paint(pixels[(slice(None), *window)], rng)
            if source.mask is not None:
                mask &= source.mask.inside(size_px)[window]
            if mask.any():
                defects.append(SyntheticDefect(feature_maps.from_pixels(painted, backbone, n_scales=n_scales), mask))
        return NormalImage(maps, tuple(defects))

    def stored(maps: FeatureMaps) -> FeatureMaps:
        return dict(zip(maps, store.keep(list(maps.values()))))

    def keep(image: NormalImage) -> NormalImage:
        maps = stored(image.maps)
        return NormalImage(maps, tuple(SyntheticDefect(stored(d.maps), d.mask) for d in image.defects))

    return training_set.read(source, framing, extract, keep, n_threads, progress)


def _window(size_px: tuple[int, int], unit_px: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the window to paint a synthetic defect in: the whole image, or one working area of a large image."""
    if size_px[0] * size_px[1] <= _MAX_WHOLE_AREAS * WORKING_AREA_PX:
        return slice(0, size_px[0]), slice(0, size_px[1])
    side = int(WORKING_AREA_PX**0.5) // unit_px * unit_px
    starts = [int(rng.integers(0, max(0, whole - side) // unit_px + 1)) * unit_px for whole in size_px]
    rows, columns = (slice(start, min(start + side, whole)) for start, whole in zip(starts, size_px))
    return rows, columns
