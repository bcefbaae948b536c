"""Stage 7: raw scores of held-back good pictures -> the limit, and a verdict for each new picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_FOLDS = 4


def folds(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Fold (0 to min(N_FOLDS, n) - 1) of each training picture, at random, sizes as even as can be."""
    return rng.permutation(n_images) % min(N_FOLDS, n_images)


def limit(held_back: Sequence[float] | np.ndarray) -> float:
    """The largest value that good pictures got from banks that had not seen them."""
    return float(np.max(held_back))


def verdict(score: float) -> str:
    """OK up to the limit, 1.0, NG above it."""
    return "NG" if score > 1.0 else "OK"
