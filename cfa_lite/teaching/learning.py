"""Learning from known defects: their directions, their share in the score, and the kinds that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import ImageError
from ..fitted import TaughtImage
from ..inference import known_defects
from ..inference.known_defects import KnownDefects
from . import directions, leaving_out, places
from .good_images import GoodImages
from .leaving_out import START, Standard, robust_spread

_MIN_SCALE = 1e-3  # of a descriptor; constant channels have no spread
MIN_GOOD = 8  # fewer good images do not show how far their responses spread
STANDS_OUT = 0.75  # an image without a mask whose score is below this quantile of good images teaches nothing sure


@dataclass(frozen=True)
class TeachingDecision:
    """How much known defects count, and why. JSON types only.

    Attributes
    ----------
    kept : bool
        Whether they count at all.
    weight : float
        Share of their full effect, from 0 to 1.
    n_checked : int
        Number of images that were left out in turn.
    gain, gain_error : float or None
        Mean change of the rareness of these images in log10, and its standard error. None without a check.
    told : list of str
        Kinds that are told.
    unclear : list of str
        Images without a mask in which nothing stands out.
    """

    kept: bool
    weight: float
    n_checked: int
    gain: float | None
    gain_error: float | None
    told: list[str]
    unclear: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


@dataclass(frozen=True)
class Learned:
    """What was learned from known defects.

    Attributes
    ----------
    known : KnownDefects or None
        None if they do not count.
    scores : ndarray of shape (n,), float64
        Raw score of each good image, by directions that were fitted without its fold.
    plain_scores : ndarray of shape (n,), float64
        Without known defects.
    raised : list of ndarray of shape (h, w)
        What known defects add to the map of each good image.
    left_out : dict of int to float
        Raw scores of the images that were left out in turn.
    decision : TeachingDecision
    """

    known: KnownDefects | None
    scores: np.ndarray
    plain_scores: np.ndarray
    raised: list[np.ndarray]
    left_out: dict[int, float]
    decision: TeachingDecision


def learn(good: GoodImages, taught: Sequence[TaughtImage]) -> Learned:
    """Learn from known defects, given good images that are held out in folds.

    Parameters
    ----------
    good : GoodImages
    taught : sequence of TaughtImage
        At least one.

    Returns
    -------
    Learned

    Raises
    ------
    ImageError
        If there are fewer than `MIN_GOOD` good images.

    Notes
    -----
    A direction is Fisher's discriminant between the descriptors of a defect and those of normal patches. Its response
    is standardized by the highest responses of held-out good images, in robust standard deviations from the peak of the
    median good image. What the highest response of all directions exceeds 1 by is added to the score map, in units of
    the spread of good scores. So most good images, and defects that no direction resembles, are scored as before.
    """
    if len(good) < MIN_GOOD:
        raise ImageError(
            f"{len(good)} good images are too few to learn from known defects. Give at least {MIN_GOOD}; 99 or more are"
            " better."
        )
    sample = good.sample()
    scales = sample.descriptors[~sample.is_hard].std(axis=0) + np.float32(_MIN_SCALE)
    spreads = sample.spreads(good.fold_of, scales, good.n_threads)
    found = directions.of_images(taught, good.random_state)
    raw = good.responses([found.weights(spread, scales, good.levels) for spread in spreads[1:]])
    if good.images.mask is not None:
        raw = [_inspected(one, good.images.mask.patches((one.shape[1], one.shape[2]))) for one in raw]
    single = Standard.of(np.array([one.max(axis=(1, 2)) for one in raw]))
    responses = [single.apply(one) for one in raw]
    of_model = found.of_model
    joint = Standard.of(np.array([[one[of_model].max()] for one in responses]))

    score_maps = good.each("scoring good images", lambda i: _peak_and_cells(good, i))
    plain_scores = np.array([peak for peak, _ in score_maps])
    unit = robust_spread(plain_scores)
    of_descriptors = found.of_descriptors(spreads[0], scales)
    of_taught = [single.apply((image.descriptors @ of_descriptors).T[:, :, None])[:, :, 0] for image in taught]
    check = leaving_out.check(found, taught, of_taught, responses, [cells for _, cells in score_maps], unit)
    gain = check.weight * unit

    raised = [known_defects.raised(joint.apply_all(one[of_model].max(axis=0)) - START, gain) for one in responses]
    scores = np.array(good.each("scoring good images", lambda i: _raised_peak(good, i, raised[i])))
    weights = found.weights(spreads[0], scales, good.levels)
    factor, shift = joint.spread[0], joint.median[0]
    told = check.kinds
    known = KnownDefects(
        weights={key: np.ascontiguousarray(w[:, of_model] / (single.spread[of_model] * factor), np.float32)
                 for key, w in weights.items()},
        offset=((-single.median[of_model] / single.spread[of_model] - shift) / factor - START).astype(np.float32),
        gain=float(gain),
        kinds=found.kinds,
        kind_of=found.kind_of[of_model],
        told_from=tuple(told[kind].told_from for kind in found.kinds),
        certainty=tuple(told[kind].certainty for kind in found.kinds),
    )  # fmt: skip
    lowest = float(np.quantile(plain_scores, STANDS_OUT))
    decision = TeachingDecision(
        kept=check.weight > 0,
        weight=check.weight,
        n_checked=len(check.gains),
        gain=float(np.mean(check.gains)) if check.gains else None,
        gain_error=float(np.std(check.gains) / np.sqrt(len(check.gains))) if check.gains else None,
        told=[kind for kind in found.kinds if check.weight > 0 and np.isfinite(told[kind].told_from)],
        unclear=[f"{image.name} ({image.kind})" for image in taught if not image.has_mask and image.raw_score < lowest],
    )
    return Learned(known if decision.kept else None, scores, plain_scores, raised, check.scores, decision)


def _inspected(responses: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Give places that are not inspected the lowest response, so that they cannot be the peak."""
    flat = responses.reshape(len(responses), -1)
    return np.where(inside, flat, flat[:, inside].min(axis=1, keepdims=True)).reshape(responses.shape)


def _peak_and_cells(good: GoodImages, i: int) -> tuple[float, np.ndarray]:
    score_map, grid = good.score_map(i), good.grid(i)
    return float(score_map.max()), places.cells(score_map, grid).max(axis=1).reshape(grid)


def _raised_peak(good: GoodImages, i: int, raised: np.ndarray) -> float:
    score_map = good.score_map(i)
    found = known_defects.add_raised(score_map, raised)
    mask = good.images.mask
    return float(found.max() if mask is None else found[mask.inside((score_map.shape[0], score_map.shape[1]))].max())
