"""How a product is fitted: ingredients of the recipe, and what the limits guarantee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..method import anomaly_map, limits
from .training_set import Progress


@dataclass(frozen=True)
class Ingredients:
    """Steps of recipe "adapted" that "whitened" does not have. benchmarks/ablation.py turns each of them off."""

    without_outliers: bool = True
    trained: bool = True
    spread_weights: bool = True
    position_mean: bool = True
    map_smoothing: float = 2 / 224


WHITENED = Ingredients(False, False, False, False, anomaly_map.SMOOTHING_SHARE)


@dataclass(frozen=True)
class Promise:
    """What the limits guarantee, and which images they are computed from. See the parameters of `CFA`."""

    false_alarm_rate: float = 0.01
    unsure_rate: float | None = None
    margin: float = 0.0
    group_by: str | None = None
    count_outliers: bool = True
    cover_outliers: bool = False  # whether the promised rate is also for outliers that do not count

    def limits(self, scores: np.ndarray, groups: np.ndarray, counted: np.ndarray | None = None) -> limits.Limits:
        """Compute the limits from held-out raw scores (n,) and groups (n,); see `limits.make_limits`."""
        rates = self.false_alarm_rate, self.unsure_rate
        return limits.make_limits(scores, groups, *rates, self.margin, "fit", counted)


@dataclass(frozen=True)
class Settings:
    """How a product is fitted."""

    n_centers: int = 1024
    shrinkage: float = 0.1
    background_share: float = 0.25
    ingredients: Ingredients = Ingredients()
    promise: Promise = Promise()
    random_state: int = 0
    n_threads: int = 1
    progress: Progress = lambda phase, done, total: None
