"""Arguments of the estimator: what values are allowed, and the published ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import threads
from .presets import PRESETS, resolved

RECIPES = ("adapted", "none", "paper")
BANKS = ("position_mean", "kmeans_ema")
SIZE = PRESETS["exact"].size  # side of a square of the area that images are worked at
OUTLIERS = ("count", "keep", "drop")

# Name -> lowest, highest, whether the lowest itself is allowed. Whole numbers first.
_WHOLE = {
    "n_centers": 1, "seed": 0, "n_neighbors": 1, "n_hard_negatives": 0, "epochs": 0, "batch_size": 1,
    "gamma_c": 1, "gamma_d": 1,
}  # fmt: skip
_REAL = {
    "shrinkage": (0, math.inf, False), "background_share": (0, 1, True), "radius": (0, math.inf, False),
    "margin": (0, math.inf, True), "nu": (0, math.inf, False), "learning_rate": (0, math.inf, False),
    "weight_decay": (0, math.inf, True), "ema_rate": (0, 1, True), "max_memory": (0, math.inf, True),
    "limit_margin": (0, math.inf, True), "min_area": (0, math.inf, True), "mm_per_pixel": (0, math.inf, False),
    "smallest_defect": (0, math.inf, False),
}  # fmt: skip
RATES = ("false_alarm_rate", "unsure_rate")


@dataclass(frozen=True)
class LossSettings:
    """K, J, alpha and nu of the coupled-hypersphere loss, with their published values."""

    n_neighbors: int = 3
    n_hard_negatives: int = 3
    margin: float = 0.1
    nu: float = 1e-3


@dataclass(frozen=True)
class PaperSettings(LossSettings):
    """Arguments of recipe `paper` with their published values; `CFA` documents them."""

    radius: float = 1e-5
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    epochs: int = 30
    batch_size: int = 4
    gamma_c: int = 1
    gamma_d: int = 1
    bank: str = "position_mean"
    ema_rate: float = 0.05
    bank_follows: bool = False
    certainty: bool = True

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> PaperSettings:
        """Pick them out of all arguments of `CFA`."""
        return cls(**{field.name: params[field.name] for field in fields(cls)})


def check(params: Mapping[str, Any]) -> int:
    """Check all arguments of `CFA`; give the number of threads that they mean.

    Raises
    ------
    ValueError
        If one is out of its range; the message names it, its value and the range.
    """
    params = resolved(params)
    for name, known in (("recipe", RECIPES), ("bank", BANKS), ("outliers", OUTLIERS)):
        if params[name] not in known:
            raise ValueError(f"{name}={params[name]!r}: give one of {', '.join(map(repr, known))}")
    for name, lowest in _WHOLE.items():
        value = params[name]
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < lowest:
            raise ValueError(f"{name}={value!r}: give a whole number of at least {lowest}")
    for name, (low, high, closed) in _REAL.items():
        value = params[name]
        if name in ("mm_per_pixel", "smallest_defect") and value is None:
            continue
        inside = isinstance(value, int | float | np.number) and math.isfinite(value) and low <= value <= high
        if not inside or (value == low and not closed):
            upper = "" if high == math.inf else f" to {high}"
            raise ValueError(f"{name}={value!r}: give a number {'from' if closed else 'above'} {low}{upper}")
    check_rates(params["false_alarm_rate"], params["unsure_rate"])
    if not (params["group_by"] is None or isinstance(params["group_by"], str)):
        raise ValueError(f"group_by={params['group_by']!r}: give a regular expression as text, or None")
    _check_sight(params)
    for name in ("bank_follows", "certainty", "checks"):
        if not isinstance(params[name], bool | np.bool_):
            raise ValueError(f"{name}={params[name]!r}: give True or False")
    if params["bank_follows"] and params["bank"] != "kmeans_ema":
        raise ValueError("bank_follows=True goes with bank='kmeans_ema'; the position means never move")
    return threads.resolve(params["threads"])


def _check_sight(params: Mapping[str, Any]) -> None:
    size, value_range = params["size"], params["value_range"]
    if size != "full" and (not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 64):
        raise ValueError(f"size={size!r}: give a whole number of at least 64, or 'full'")
    changed = params["speed"] != "exact" or size != SIZE or params["smallest_defect"] is not None
    if params["recipe"] == "paper" and changed:
        raise ValueError(
            "speed, size and smallest_defect belong to other recipes: 'paper' works at 224x224 pixels, as published"
        )
    if value_range is None or value_range == "auto":
        return
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        raise ValueError(f"value_range={value_range!r}: give (low, high), 'auto' or None") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range={value_range!r}: give (low, high) with low below high")


def check_rates(false_alarm_rate: float, unsure_rate: float) -> None:
    """Check both rates.

    Raises
    ------
    ValueError
        If one is not between 0 and 1, or that of UNSURE is the smaller one.
    """
    for name, value in zip(RATES, (false_alarm_rate, unsure_rate)):
        if not isinstance(value, int | float | np.number) or not 0 < value < 1:
            raise ValueError(f"{name}={value!r}: give a number above 0 and below 1, such as 0.01")
    if unsure_rate < false_alarm_rate:
        raise ValueError(
            f"unsure_rate={unsure_rate!r}: give at least false_alarm_rate={false_alarm_rate!r}; the lower limit has the"
            " higher rate"
        )
