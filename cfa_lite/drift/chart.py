"""Control chart: a moving average of one quantity, with limits that keep a stated rate of false alarms.

The chart is an EWMA (exponentially weighted moving average) of normal scores. The normal score of a value is where it
ranks among the reference, on the scale of a normal distribution. So the rate holds whatever the distribution is, and a
single odd image counts little.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

WEIGHT = 0.03  # of the newest image in the moving average
_BATCH = 20  # images whose means show whether images in a row resemble each other
_SURE = 2.326  # quantile of the normal distribution: correlation is not underestimated with a probability of 99%
_MAX_CORRELATION = 0.99
# Nodes of the integral equation: so many, and more in proportion to the limit. With fewer, errors of the sum are as
# large as the rate of alarms.
_NODES = 20, 3.8
_HIGHEST = 7.0  # limit without an error of the reference, in standard deviations of the moving average
_WORST = 5.0  # standard errors by which the reference may be off
_N_OFFS = 9
_N_HALVINGS = 13
_ERROR_STEPS = 200


@dataclass(frozen=True)
class Chart:
    """The moving average of one quantity.

    Attributes
    ----------
    scores : ndarray of shape (n,)
        Normal scores, about 0 without a change. NaN where the value is missing.
    average : ndarray of shape (n,)
        Moving average of `scores` since the end of the reference, where it is 0.
    limit : float
        There is a change where `average` is beyond this limit, on either side.
    n_independent : float
        How many independent images the reference is worth.
    """

    scores: np.ndarray
    average: np.ndarray
    limit: float
    n_independent: float


def make(values: np.ndarray, reference: np.ndarray, n_between_alarms: float) -> Chart:
    """Compute the chart of one quantity.

    Parameters
    ----------
    values : ndarray of shape (n,)
        In the order of time, NaN where a value is missing.
    reference : ndarray of shape (m,)
        Values without a change, in the order of time, NaN where one is missing.
    n_between_alarms : float
        Images between two false alarms, on average.

    Returns
    -------
    Chart
    """
    known = reference[~np.isnan(reference)]
    own = normal_scores(known, known)
    ratio, whole_ratio = _dependence(own)
    n_independent = len(known) / whole_ratio
    scores = normal_scores(values, known)
    noise = float(np.sqrt(ratio))
    error = np.ceil(1 / np.sqrt(n_independent) / noise * _ERROR_STEPS) / _ERROR_STEPS  # few values, which are kept
    return Chart(scores, moving_average(scores), noise * limit_of(n_between_alarms, float(error)), n_independent)


def normal_scores(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return where values (n,) rank in a reference (m,), on the scale of a normal distribution. NaN stays NaN."""
    ordered = np.sort(reference)
    rank = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    return np.where(np.isnan(values), np.nan, ndtri((rank + 0.5) / (len(ordered) + 1)))


def moving_average(scores: np.ndarray) -> np.ndarray:
    """Return the EWMA of scores (n,) or (n, k) along the first axis, which starts at 0. It stays where one is NaN."""
    average = np.empty_like(scores)
    last = np.zeros(scores.shape[1:])
    for i, score in enumerate(scores):
        last = np.where(np.isnan(score), last, last + WEIGHT * (score - last))
        average[i] = last
    return average


def _dependence(scores: np.ndarray) -> tuple[float, float]:
    """Return by how much dependence raises the variance of the moving average, and of the mean of the reference.

    The larger of two estimates counts: from the correlation of neighbors, as in an autoregression, and from the means
    of batches, which also show levels that last for some time, such as those of rolls. Both are raised by about what
    they may be too low by.
    """
    n = len(scores)
    centered = scores - scores.mean()
    variance = float(centered @ centered) / n
    if variance == 0:
        return 1.0, 1.0
    neighbors = float(centered[1:] @ centered[:-1]) / (n * variance)
    neighbors += (1 + 3 * max(neighbors, 0.0)) / n  # the bias of this estimate
    neighbors += _SURE * np.sqrt(max(1 - neighbors**2, 0.0) / n)
    correlation = float(np.clip(neighbors, 0.0, _MAX_CORRELATION))
    kept = correlation * (1 - WEIGHT)
    n_batches = n // _BATCH
    means = centered[: n_batches * _BATCH].reshape(n_batches, _BATCH).mean(axis=1)
    batches = _BATCH * float(means.var(ddof=1)) / variance * (1 + np.sqrt(2 / (n_batches - 1)))
    return max((1 + kept) / (1 - kept), batches), max((1 + correlation) / (1 - correlation), batches)


@functools.lru_cache(maxsize=64)
def limit_of(n_between_alarms: float, reference_error: float) -> float:
    """Return the limit that the moving average of independent scores crosses once in so many images.

    Parameters
    ----------
    n_between_alarms : float
    reference_error : float
        Standard error of the mean of the reference. Its unit, and that of the limit, is the standard deviation of a
        score. With another one, both are multiplied by it.

    Returns
    -------
    float

    Notes
    -----
    The average run length is the solution of an integral equation (Crowder, 1987), and its inverse is the rate of
    alarms. The rate is averaged over the errors that the reference may have, because they last for the whole chart.
    """
    off = np.linspace(0, _WORST, _N_OFFS)
    share = np.exp(-(off**2) / 2)
    share /= share.sum()
    low, high = 0.0, _HIGHEST * np.sqrt(WEIGHT / (2 - WEIGHT)) + _WORST * reference_error
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        rate = float(share @ (1 / run_length(middle, off * reference_error)))
        low, high = (middle, high) if rate > 1 / n_between_alarms else (low, middle)
    return float(high)


def run_length(limit: float, means: np.ndarray) -> np.ndarray:
    """Return the average number of images until a moving average that starts at 0 crosses a limit.

    Parameters
    ----------
    limit : float
    means : ndarray of shape (k,)
        Means of the scores, which are independent and have a standard deviation of 1.

    Returns
    -------
    ndarray of shape (k,)
    """
    n = _NODES[0] + int(_NODES[1] * limit / WEIGHT)
    nodes, weights = np.polynomial.legendre.leggauss(n)
    at = limit * nodes
    start = np.append(at, 0.0)
    steps = at[None, None] - (1 - WEIGHT) * start[None, :, None] - WEIGHT * means[:, None, None]
    density = limit * weights * np.exp(-((steps / WEIGHT) ** 2) / 2) / (WEIGHT * np.sqrt(2 * np.pi))
    from_nodes = np.linalg.solve(np.eye(n) - density[:, :-1], np.ones((len(means), n, 1)))[..., 0]
    length = np.asarray(1 + (density[:, -1] * from_nodes).sum(axis=-1))
    return np.where(length < 1, np.inf, length)  # beyond about 1e13 the equations are singular
