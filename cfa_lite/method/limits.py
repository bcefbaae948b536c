"""Limits: raw scores of held-out good images -> limits with a guaranteed rate, and the verdict for a new image."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

N_FOLDS = 4
FENCE = 3.0  # interquartile ranges
MIN_FOR_FENCE = 20
UNSURE_RATE = 0.05
MIN_FOR_UNSURE = 20  # of fewer groups, three would be too large a share
_N_UNSURE = 3
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """Both limits of the raw score, and the rates that are guaranteed for them.

    Attributes
    ----------
    threshold : float
        An image with a higher raw score is NG.
    unsure_threshold : float
        An image with a higher raw score, up to `threshold`, is UNSURE.
    false_alarm_rate, unsure_rate : float
        Requested rates.
    promised_rate, promised_unsure_rate : float
        Upper bounds of the probability that a good image exceeds the limits, if it is exchangeable with the images
        that the limits were computed from. They are higher than the requested rates if there were too few images.
    margin : float
        Share that was added to both limits.
    n_images : int
        Number of good images that the limits were computed from.
    n_groups : int
        Number of groups among these images. Only groups count as independent.
    source : str
        "fit", "calibrate", "teach" or "by hand".
    n_left_out : int
        Number of good images given to calibrate or teach that do not count, because they are unreadable or INVALID.
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
    n_left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dictionary of JSON types."""
        return asdict(self)


def folds(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Assign each training image to a fold, whole groups at random, with folds of similar size.

    Parameters
    ----------
    groups : ndarray (n,) of int
        Group of each image. If there is only one group, its images are assigned one by one.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (n,) of int
        From 0 to min(N_FOLDS, number of groups) - 1.
    """
    names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) == 1:
        group_of, sizes = np.arange(len(groups)), np.ones(len(groups), int)
    fold_of = np.empty(len(sizes), int)
    filled = np.zeros(min(N_FOLDS, len(sizes)), int)
    for group in np.argsort(rng.permutation(len(sizes))):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    folds_of_images: np.ndarray = fold_of[group_of]
    return folds_of_images


def find_outliers(held_out: np.ndarray, fence: float = FENCE) -> np.ndarray:
    """Find the good images that differ too much from the others to be in the memory bank.

    Parameters
    ----------
    held_out : ndarray (n,)
        Held-out scores of the good images.
    fence : float
        Interquartile ranges.

    Returns
    -------
    ndarray (n,) bool

    Notes
    -----
    Tukey's fence: an outlier is more than `fence` interquartile ranges above the upper quartile. At most a tenth of the
    images are outliers, those with the highest scores. With fewer than `MIN_FOR_FENCE` images there are none, because
    each image can then be the only one of its kind.
    """
    n = len(held_out)
    if n < MIN_FOR_FENCE:
        return np.zeros(n, bool)
    low, high = np.quantile(held_out, (0.25, 0.75))
    rank = np.argsort(np.argsort(-held_out, kind="stable"), kind="stable")
    is_outlier: np.ndarray = (held_out > high + fence * (high - low)) & (rank < n // 10)
    return is_outlier


def bound(scores: np.ndarray, groups: np.ndarray, rate: float) -> tuple[float, float]:
    """Compute the lowest limit that a new good image exceeds with at most the given probability.

    Parameters
    ----------
    scores : ndarray (n,)
        Scores of good images that the model was not fitted on.
    groups : ndarray (n,) of int
        Group of each image.
    rate : float, 0 to 1

    Returns
    -------
    limit : float
    promised : float
        The guaranteed probability: `rate`, or 1 / (number of groups + 1) if this is higher. In the latter case the
        limit is the highest score.

    Notes
    -----
    If each image is a group, this is split conformal prediction (Vovk et al. 2005): the ceil((n + 1)(1 - rate))-th
    lowest score. The images of a group share its weight. The guarantee is exact if the groups are exchangeable and the
    new image belongs to a new group (hierarchical conformal prediction, Lee, Barber and Willett 2023).
    """
    order = np.argsort(scores, kind="stable")
    covered = np.cumsum(_weights(groups)[order])
    smallest = 1 - float(covered[-1])
    at = int(np.searchsorted(covered, 1 - rate - _ROUNDING))
    return float(scores[order[min(at, len(order) - 1)]]), max(rate, smallest)


def default_unsure_rate(n_groups: int, false_alarm_rate: float) -> float:
    """Return the highest probability that a good image is NG or UNSURE, if the user names none.

    Parameters
    ----------
    n_groups : int
        Number of groups among the good images.
    false_alarm_rate : float, 0 to 1

    Returns
    -------
    float
        `UNSURE_RATE`; with few groups, the probability to exceed the third highest of their scores, so that some scores
        of good images lie between the two limits. At least `false_alarm_rate`.
    """
    of_few = _N_UNSURE / (n_groups + 1) if n_groups >= MIN_FOR_UNSURE else 0.0
    return max(UNSURE_RATE, of_few, false_alarm_rate)


def rate_above(limit: float, scores: np.ndarray, groups: np.ndarray) -> float:
    """Compute the probability that can be guaranteed for a limit that was chosen without these scores.

    Parameters
    ----------
    limit : float
    scores : ndarray (n,)
        Scores of good images.
    groups : ndarray (n,) of int
        Group of each image.

    Returns
    -------
    float
        Upper bound of the probability that a new good image exceeds `limit`.
    """
    return 1 - float(_weights(groups)[scores <= limit].sum())


def _weights(groups: np.ndarray) -> np.ndarray:
    """Compute the weight of each score: they add up to n_groups / (n_groups + 1), and the new image has the rest."""
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights: np.ndarray = 1 / (sizes[group_of] * (len(sizes) + 1))
    return weights


def make_limits(
    scores: np.ndarray,
    groups: np.ndarray,
    false_alarm_rate: float,
    unsure_rate: float | None,
    margin: float,
    source: str,
    counted: np.ndarray | None = None,
) -> Limits:
    """Compute both limits from the scores of good images.

    Parameters
    ----------
    scores : ndarray (n,)
        Scores of good images that the model was not fitted on.
    groups : ndarray (n,) of int
        Group of each image.
    false_alarm_rate : float, 0 to 1
    unsure_rate : float, 0 to 1, or None
        None is the rate of `default_unsure_rate`.
    margin : float, at least 0
        Share that is added to both limits.
    source : str
        "fit" or "calibrate".
    counted : ndarray (n,) of bool, optional
        Images that the limits are computed from, by default all. The guaranteed rates are for all images in any case.

    Returns
    -------
    Limits
    """
    counted = np.ones(len(scores), bool) if counted is None else counted
    if unsure_rate is None:
        unsure_rate = default_unsure_rate(len(np.unique(groups[counted])), false_alarm_rate)
    upper, promised = bound(scores[counted], groups[counted], false_alarm_rate)
    lower, promised_unsure = bound(scores[counted], groups[counted], unsure_rate)
    if not counted.all():
        promised = max(promised, rate_above(upper, scores, groups))
        promised_unsure = max(promised_unsure, rate_above(min(lower, upper), scores, groups))
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


def scaled(limits: Limits, factor: float, scores: np.ndarray, groups: np.ndarray) -> Limits:
    """Multiply both limits by a factor that the user chose.

    Parameters
    ----------
    limits : Limits
    factor : float, above 0
    scores : ndarray (n,)
        Scores of good images, from which the guaranteed rates of the new limits are computed.
    groups : ndarray (n,) of int
        Group of each image.

    Returns
    -------
    Limits
    """
    upper, lower = limits.threshold * factor, limits.unsure_threshold * factor
    return replace(
        limits,
        threshold=upper,
        unsure_threshold=lower,
        promised_rate=rate_above(upper, scores, groups),
        promised_unsure_rate=rate_above(lower, scores, groups),
        source="by hand",
    )


def verdict(score: float, unsure_from: float) -> str:
    """Decide: "OK" up to `unsure_from`, "UNSURE" up to 1.0, the limit, and "NG" above."""
    return "NG" if score > 1.0 else "UNSURE" if score > unsure_from else "OK"


def percentile(raw_score: float, good: np.ndarray) -> float:
    """Compute the percentage of good images (n,) whose raw score is at most `raw_score`."""
    return 100 * float(np.mean(good <= raw_score))
