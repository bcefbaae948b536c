"""Leaving each labelled image out in turn: whether known defects help to find it, and whether its kind is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..fitted import TaughtImage
from ..inference import known_defects
from ..training import adaptation
from .directions import Directions

PRIOR_GAIN, PRIOR_IMAGES = 0.1, 4  # the gain that is expected before any image was left out, and its weight in images
MIN_RIGHT, MIN_CERTAINTY = 2, 0.75  # a kind is told if it was right this often, and as certain as this
MIN_OTHERS = 2  # images of other kinds, which show that it is not told of them
START = 1.0  # responses count from this many spreads above the peak of the median good image
_SURE = 0.5  # a region needs this share of the typical response of images of the kind
_IQR = 1.349  # interquartile range of a normal distribution with a standard deviation of 1


def robust_spread(values: np.ndarray) -> float:
    """Return the interquartile range in standard deviations; above 0 even if all values are equal."""
    low, high = np.quantile(values, (0.25, 0.75))
    found = float(high - low) / _IQR or float(np.std(values))
    return max(found, 1e-6 * max(1e-6, abs(float(np.median(values)))))


@dataclass(frozen=True)
class Standard:
    """Median (n,) and spread (n,) of the highest responses of good images, for each direction."""

    median: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, peaks: np.ndarray) -> Standard:
        """Measure them from the peaks (n_images, n) of good images."""
        return cls(np.median(peaks, axis=0), np.array([robust_spread(column) for column in peaks.T]))

    def apply(self, responses: np.ndarray) -> np.ndarray:
        """Standardize responses (n, h, w)."""
        found: np.ndarray = ((responses - self.median[:, None, None]) / self.spread[:, None, None]).astype(np.float32)
        return found

    def apply_all(self, response: np.ndarray) -> np.ndarray:
        """Standardize a response of any shape; there is only one direction."""
        found: np.ndarray = ((response - self.median[0]) / self.spread[0]).astype(np.float32)
        return found


@dataclass(frozen=True)
class KindCheck:
    """From which response a kind is told (infinite: never), and how often that was right."""

    told_from: float
    certainty: float


@dataclass(frozen=True)
class Check:
    """Result of leaving each image out in turn.

    Attributes
    ----------
    weight : float
        Share of their full effect that known defects have, from 0 to 1.
    gains : list of float
        Change of the rareness of each image that was left out, in log10.
    scores : dict of int to float
        Raw scores of these images with known defects.
    kinds : dict of str to KindCheck
    """

    weight: float
    gains: list[float]
    scores: dict[int, float]
    kinds: dict[str, KindCheck]


def check(
    found: Directions,
    taught: Sequence[TaughtImage],
    of_taught: Sequence[np.ndarray],
    of_good: Sequence[np.ndarray],
    good_cells: Sequence[np.ndarray],
    unit: float,
) -> Check:
    """Leave each image out in turn, and compare its score with those of held-out good images.

    Parameters
    ----------
    found : Directions
    taught : sequence of TaughtImage
    of_taught : sequence of ndarray of shape (n_directions, n_places)
        Standardized responses of the places of each taught image.
    of_good : sequence of ndarray of shape (n_directions, h, w)
        Standardized responses of each good image, by directions that were fitted without its fold.
    good_cells : sequence of ndarray of shape (h, w)
        Highest value of the score map in each place of each good image.
    unit : float
        Spread of the scores of good images.

    Returns
    -------
    Check

    Notes
    -----
    One image is trusted half, two images three quarters, and so on: weight = 1 - 2^-n. A few images that were left out
    say little, so their mean gain is drawn towards the gain that development sets had. If what is expected is not
    above 0, known defects do not count.
    """
    weight = 1 - 0.5 ** len(taught)
    gain = weight * unit
    plain_good = np.sort([float(cells.max()) for cells in good_cells])
    gains, scores = [], {}
    resembled: list[tuple[str, dict[str, float]]] = []  # kind of the image, and its response to each kind
    for j, used in found.without.items():
        joint = Standard.of(np.array([[one[used].max()] for one in of_good]))
        good = np.sort([
            float((cells + known_defects.raised(joint.apply_all(one[used].max(axis=0)) - START, gain)).max())
            for one, cells in zip(of_good, good_cells)
        ])  # fmt: skip
        response = joint.apply_all(of_taught[j][used]) - np.float32(START)
        scores[j] = float((taught[j].anomaly + known_defects.raised(response.max(axis=0), gain)).max())
        rareness = adaptation.rareness(np.array([scores[j]]), good)
        gains.append(float((rareness - adaptation.rareness(taught[j].anomaly.max(keepdims=True), plain_good))[0]))
        peaks = response.max(axis=1)
        to_kinds = {found.kinds[kind]: float(peaks[found.kind_of[used] == kind].max()) for kind in found.kind_of[used]}
        resembled.append((taught[j].kind, to_kinds))
    expected = (sum(gains) + PRIOR_IMAGES * PRIOR_GAIN) / (len(gains) + PRIOR_IMAGES)
    return Check(weight if expected > 0 else 0.0, gains, scores, _kinds(found.kinds, resembled))


def _kinds(kinds: Sequence[str], resembled: Sequence[tuple[str, dict[str, float]]]) -> dict[str, KindCheck]:
    """Decide which kinds are told, and from which response: those that were right for images that were left out.

    Images of the other kinds stand for a kind that was never taught: their own kind is left out of what they resemble.
    """
    found = {}
    for kind in kinds:
        right = [to_kinds[kind] for own, to_kinds in resembled if own == kind and _first(to_kinds) == kind]
        others = [(own, to_kinds) for own, to_kinds in resembled if own != kind]
        wrong = [to_kinds[kind] for own, to_kinds in others if _first(to_kinds, without=own) == kind]
        found[kind] = KindCheck(np.inf, 0.5)
        start = max(0.0, _SURE * float(np.median(right))) if right else np.inf
        for told_from in [start, *sorted(response for response in right if response > start)]:
            n_right = sum(response >= told_from for response in right)
            n_wrong = sum(response >= told_from for response in wrong)
            check = KindCheck(told_from, (n_right + 1) / (n_right + n_wrong + 2))
            if n_right >= MIN_RIGHT and len(others) >= MIN_OTHERS and check.certainty >= MIN_CERTAINTY:
                found[kind] = check
                break
    return found


def _first(to_kinds: dict[str, float], without: str = "") -> str:
    """Return the kind with the highest response; "" if there is none."""
    return max((kind for kind in to_kinds if kind != without), key=to_kinds.__getitem__, default="")
