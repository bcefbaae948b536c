"""Stage 7: raw scores of held-out good images -> limits with a stated rate, and a verdict for each new image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

N_FOLDS = 4
FENCE = 3.0
MIN_FOR_FENCE = 20
MIN_FOR_SHIFT = 20  # images in a batch, below which nothing is said of it as a whole
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """Two limits of the raw score, and what is promised of them.

    Attributes
    ----------
    threshold, unsure_threshold : float
        Above the first an image is NG, above the second UNSURE.
    false_alarm_rate, unsure_rate : float
        Asked for.
    promised_rate, promised_unsure_rate : float
        A good image exchangeable with those that made the limits is above them with at most this probability.
        Higher than asked where there were too few images.
    margin : float
        Share by which both limits are above what the rates need.
    n_images, n_groups : int
        Good images that made the limits, and how many of them count as independent.
    source : str
        "fit", "calibrate" or "by hand".
    """

    threshold: float
    unsure_threshold: float
    false_alarm_rate: float
    unsure_rate: float
    promised_rate: float
    promised_unsure_rate: float
    margin: float
    n_images: int
    n_groups: int
    source: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def folds(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fold (0 to min(N_FOLDS, n) - 1) of each training image, whole groups at random, sizes as even as can be.

    Parameters
    ----------
    groups : ndarray (n,) of int
        Images of one group cannot vouch for one another. If all are of one group, images are divided singly.
    """
    names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) == 1:
        group_of, sizes = np.arange(len(groups)), np.ones(len(groups), int)
    fold_of = np.empty(len(sizes), int)
    filled = np.zeros(min(N_FOLDS, len(sizes)), int)
    for group in np.argsort(rng.permutation(len(sizes))):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of[group_of]


def find_outliers(held_out: np.ndarray) -> np.ndarray:
    """Which good images (n,) bool are so unlike the others that a bank should not hold them.

    Tukey's fence: more than `FENCE` interquartile ranges above the upper quartile; of these at most a tenth of the
    images, the highest. None of fewer than `MIN_FOR_FENCE`, where each image may be a kind of its own.
    """
    n = len(held_out)
    if n < MIN_FOR_FENCE:
        return np.zeros(n, bool)
    low, high = np.quantile(held_out, (0.25, 0.75))
    rank = np.argsort(np.argsort(-held_out, kind="stable"), kind="stable")
    return (held_out > high + FENCE * (high - low)) & (rank < n // 10)


def bound(scores: np.ndarray, groups: np.ndarray, rate: float) -> tuple[float, float]:
    """Lowest limit that a new good image exceeds with at most this probability, and the probability promised.

    Parameters
    ----------
    scores : ndarray (n,)
        Of good images that the scoring model has not seen.
    groups : ndarray (n,) of int
    rate : float, 0 to 1

    Returns
    -------
    limit : float
    promised : float
        `rate`, or 1 / (number of groups + 1) where that is more: then the limit is the highest score.

    Notes
    -----
    Split conformal prediction (Vovk et al. 2005) if each image is a group: the ceil((n + 1)(1 - rate))-th lowest
    score. A group counts once, its images sharing its weight: exact for groups that are exchangeable and a new
    image drawn from a new group (hierarchical conformal prediction, Lee, Barber and Willett 2023).
    """
    order = np.argsort(scores, kind="stable")
    covered = np.cumsum(_weights(groups)[order])
    smallest = 1 - float(covered[-1])
    at = int(np.searchsorted(covered, 1 - rate - _ROUNDING))
    return float(scores[order[min(at, len(order) - 1)]]), max(rate, smallest)


def rate_above(limit: float, scores: np.ndarray, groups: np.ndarray) -> float:
    """Probability that can be promised of a limit that was chosen without these scores."""
    return 1 - float(_weights(groups)[scores <= limit].sum())


def _weights(groups: np.ndarray) -> np.ndarray:
    """Weight of each score; they add up to n_groups / (n_groups + 1), the rest is the new image's own."""
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return 1 / (sizes[group_of] * (len(sizes) + 1))


def limits(
    scores: np.ndarray, groups: np.ndarray, false_alarm_rate: float, unsure_rate: float, margin: float, source: str
) -> Limits:
    """Both limits from scores (n,) of good images in groups (n,)."""
    upper, promised = bound(scores, groups, false_alarm_rate)
    lower, promised_unsure = bound(scores, groups, unsure_rate)
    return Limits(
        threshold=upper * (1 + margin),
        unsure_threshold=min(lower, upper) * (1 + margin),
        false_alarm_rate=false_alarm_rate,
        unsure_rate=unsure_rate,
        promised_rate=promised,
        promised_unsure_rate=max(promised, promised_unsure),
        margin=margin,
        n_images=len(scores),
        n_groups=len(np.unique(groups)),
        source=source,
    )


def moved(known: Limits, factor: float, scores: np.ndarray, groups: np.ndarray) -> Limits:
    """Both limits times `factor`, by hand, and what these good images' scores let one promise of them."""
    upper, lower = known.threshold * factor, known.unsure_threshold * factor
    return replace(
        known,
        threshold=upper,
        unsure_threshold=lower,
        promised_rate=rate_above(upper, scores, groups),
        promised_unsure_rate=rate_above(lower, scores, groups),
        source="by hand",
    )


def verdict(score: float, unsure_from: float) -> str:
    """OK up to the lower limit, UNSURE up to the limit, 1.0, NG above it."""
    return "NG" if score > 1.0 else "UNSURE" if score > unsure_from else "OK"


def percentile(raw_score: float, good: np.ndarray) -> float:
    """How many of a hundred good images have a raw score no higher."""
    return 100 * float(np.mean(good <= raw_score))


def has_shifted(batch: Sequence[float] | np.ndarray, good: np.ndarray) -> bool:
    """Whether a batch's raw scores are so high that camera, light or product must differ, or most are defective.

    Three quarters of the batch above three quarters of the good images: as long as half of a batch of
    `MIN_FOR_SHIFT` is good and as the good images were, that has a probability of at most 2 %.
    """
    if len(batch) < MIN_FOR_SHIFT:
        return False
    return bool(np.quantile(batch, 0.25, method="lower") > np.quantile(good, 0.75))
