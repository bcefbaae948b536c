"""Arguments of the estimator: what values are allowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import threads

RECIPES = ("none",)


def check(params: dict[str, Any]) -> int:
    """Check all arguments of `CFA`; give the number of threads that they mean.

    Raises
    ------
    ValueError
        If one is out of its range; the message names it, its value and the range.
    """
    if params["recipe"] not in RECIPES:
        raise ValueError(f"recipe={params['recipe']!r}: give one of {', '.join(map(repr, RECIPES))}")
    for name, lowest in (("n_centers", 1), ("seed", 0)):
        value = params[name]
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < lowest:
            raise ValueError(f"{name}={value!r}: give a whole number of at least {lowest}")
    if not (np.isfinite(params["shrinkage"]) and params["shrinkage"] > 0):
        raise ValueError(f"shrinkage={params['shrinkage']!r}: give a number above 0")
    if not 0 <= params["background_share"] <= 1:
        raise ValueError(f"background_share={params['background_share']!r}: give a number from 0 to 1")
    return threads.resolve(params["threads"])
