"""The steps of a fit, as values: started, cleaned of outliers, adapted; and the scorer at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..features.feature_maps import FeatureMaps
from ..inference.levels import DistanceMaps, Level
from ..inference.scorer import Scorer
from .cross_fit import CrossFit, FittedLevels
from .extraction import NormalImage
from .held_out import HeldOutImages
from .settings import Settings
from .training_set import TrainingSet


@dataclass(frozen=True)
class Started:
    """The pooled levels as they start, with the distances of held-out images.

    Attributes
    ----------
    images : TrainingSet
    groups : ndarray of shape (n,)
    cross : CrossFit
    fitted : dict of (LevelKey, fold or None) to Level
    distances : list of DistanceMaps
        One per image, by levels that were fitted without it.
    """

    images: TrainingSet[NormalImage]
    groups: np.ndarray
    cross: CrossFit
    fitted: FittedLevels
    distances: list[DistanceMaps]

    def held_out(self, settings: Settings) -> HeldOutImages:
        """Return the images with their distances."""
        return HeldOutImages(self.images, self.distances, settings.n_threads, settings.progress)


@dataclass(frozen=True)
class Cleaned:
    """The start without outliers, and the outliers with their groups."""

    start: Started
    outliers: TrainingSet[NormalImage]
    outlier_groups: np.ndarray


@dataclass(frozen=True)
class Adapted:
    """The trained pooled levels, and what was decided for each of them; JSON types only."""

    cleaned: Cleaned
    fitted: FittedLevels
    distances: list[DistanceMaps]
    decisions: tuple[dict[str, Any], ...] = ()


def scorer_of(started: Started, fitted: FittedLevels, distances: Sequence[DistanceMaps], settings: Settings) -> Scorer:
    """Return the scorer of the levels that were fitted on all images, with the unit of each level's distances."""
    return Scorer(
        levels=tuple(_weighted(started.cross, fitted, distances, settings.ingredients.spread_weights)),
        scale=started.images.scale,
        background_share=settings.background_share,
        map_smoothing=settings.ingredients.map_smoothing,
        mask=started.images.mask,
    )


def _weighted(
    cross: CrossFit, fitted: FittedLevels, distances: Sequence[DistanceMaps], spread_weights: bool
) -> list[Level]:
    """Return the levels of all images with the unit of their distances, and the pooled ones with their weights."""
    final = [level for (_, fold), level in fitted.items() if fold is None]
    means, spreads = {}, {}
    for level in final:
        values = cross.values(distances, level.key)
        means[level.key] = float(values.mean(dtype=np.float64))
        spreads[level.key] = float(values.std(dtype=np.float64))
    # A weight of mean / spread makes a level's distances count in units of their standard deviation.
    raw = {
        key: means[key] / spreads[key] if spread_weights and spreads[key] > 0 else 1.0 for key in means if key.pooled
    }
    total = sum(raw.values())
    return [
        replace(level, distance_mean=means[level.key], score_weight=raw.get(level.key, 0.0) / total) for level in final
    ]


def all_equal(maps: Sequence[FeatureMaps]) -> bool:
    """Return whether all images have the same feature maps."""
    first = maps[0]
    return all(np.array_equal(m[key], first[key]) for m in maps[1:] for key in first)
