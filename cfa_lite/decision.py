"""Stage 7: raw scores of held-back good pictures -> the limit, and a verdict for each new picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_FOLDS = 4
FENCE = 3.0
MIN_FOR_FENCE = 20


def folds(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Fold (0 to min(N_FOLDS, n) - 1) of each training picture, at random, sizes as even as can be."""
    return rng.permutation(n_images) % min(N_FOLDS, n_images)


def far_out(held_back: np.ndarray) -> np.ndarray:
    """Which good pictures (n,) bool are so unlike the others that a bank should not hold them, nor a limit follow them.

    Tukey's fence: more than `FENCE` interquartile ranges above the upper quartile; of these at most a tenth of the
    pictures, the highest. None of fewer than `MIN_FOR_FENCE`, where each picture may be a kind of its own.
    """
    n = len(held_back)
    if n < MIN_FOR_FENCE:
        return np.zeros(n, bool)
    low, high = np.quantile(held_back, (0.25, 0.75))
    rank = np.argsort(np.argsort(-held_back, kind="stable"), kind="stable")
    return (held_back > high + FENCE * (high - low)) & (rank < n // 10)


def limit(held_back: Sequence[float] | np.ndarray) -> float:
    """The largest value that good pictures got from banks that had not seen them."""
    return float(np.max(held_back))


def verdict(score: float) -> str:
    """OK up to the limit, 1.0, NG above it."""
    return "NG" if score > 1.0 else "OK"
