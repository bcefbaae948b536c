"""Teaching a fitted model: known defects, new limits, and what changes; the levels stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import threads
from ..errors import ImageError
from ..features import feature_maps, fingerprints
from ..features.feature_cache import FeatureStore
from ..fitted import FittedProduct, SkippedImage, TaughtImage
from ..inference.scorer import Scorer
from ..method import anomaly_map, limits
from ..parameters import NO_GROUPS
from ..training import extraction, grouping, usable
from ..training.framing import Framing
from ..training.held_out import HeldOutGood
from ..training.provenance import not_counted
from ..training.settings import Promise
from ..training.training_set import Source, TrainingSet
from .learning import Learned
from .lesson import TaughtPlaces, Teacher, joined, refuse_near_duplicates

_FOLDS = 41  # random stream


@dataclass(frozen=True)
class Change:
    """What teaching changes for one image.

    Attributes
    ----------
    name : str
    kind : str
        "good" for a good image.
    before, after : float or None
        Score without and with known defects, each divided by its limit at the same promised rate. A defect is left out
        of what is learned. None if it cannot be left out.
    """

    name: str
    kind: str
    before: float | None
    after: float | None


@dataclass(frozen=True, repr=False)
class Taught:
    """Result of teaching a model.

    Attributes
    ----------
    product : FittedProduct
        The taught model.
    defects, good : list of Change
    places : list of TaughtPlaces
        What was taken from each new defective image.
    thresholds : (float, float)
        Limit of the raw score without and with known defects, at the same promised rate.
    skipped : tuple of SkippedImage
        Good and defective images that do not count: unreadable good ones, and those that an inspection would call
        INVALID.
    """

    product: FittedProduct
    defects: list[Change]
    good: list[Change]
    places: list[TaughtPlaces]
    thresholds: tuple[float, float]
    skipped: tuple[SkippedImage, ...] = ()

    def __repr__(self) -> str:
        """Show the counts, not the arrays."""
        return f"Taught({len(self.defects)} defects, {len(self.good)} good images)"


def teach(
    product: FittedProduct, source: Source, teacher: Teacher, promise: Promise, forget: Sequence[str],
    store: FeatureStore,
) -> Taught:  # fmt: skip
    """Teach a model known defects, in addition to those that it knows.

    Parameters
    ----------
    product : FittedProduct
        With a `Scorer`.
    source : Source
        Good images: normal patches and limits come from them. It has the statistics of the model, so that images that
        it would call INVALID are left out.
    teacher : Teacher
    promise : Promise
    forget : sequence of str
        Kinds that the model no longer knows.
    store : FeatureStore

    Raises
    ------
    ImageError
        If a defective image or a mask cannot be read, no defective image is left, most of the good images are left out,
        or a kind that is to be forgotten is not known.
    """
    scorer = product.scorer
    assert isinstance(scorer, Scorer)
    plain = replace(scorer, known=None)
    before = _remembered(product.taught, forget)
    good, groups = _good_images(product, plain, source, teacher, promise, store)
    places, left_out = teacher.read(plain, product.statistics, product.value_range, product.aligner)
    if places:
        refuse_near_duplicates(good.images, places)
    taught = joined(before, [one.image for one in places])
    if taught:
        learned = teacher.learn(good, taught)
        known, scores, decision = (
            learned.known,
            learned.scores,
            learned.decision.to_dict() | {"n_left_out": len(left_out)},
        )
    else:
        learned, known, decision = None, None, None
        scores = np.array([float(good.score_map(i).max()) for i in range(len(groups))])
    counted = _counted(product, good.images)
    made = replace(promise.limits(scores, groups, counted), source="teach", n_left_out=len(good.images.skipped))
    changed = product.with_limits(made, scores.astype(np.float32), groups)
    cost = not_counted(scores, groups, good.images, counted, promise)
    training = {**product.training, "known_defects": decision, "not_counted": cost}
    changed = replace(changed, scorer=replace(plain, known=known), taught=taught, training=training)
    skipped = (*good.images.skipped, *left_out)
    if learned is None:
        shares = zip(good.images.names, (float(score) / made.threshold for score in scores))
        same = [Change(name, "good", share, share) for name, share in shares]
        return Taught(changed, [], same, places, (made.threshold, made.threshold), skipped)
    thresholds = promise.limits(learned.plain_scores, groups, counted).threshold, made.threshold
    return Taught(changed, *_changes(learned, taught, good.images, thresholds), places, thresholds, skipped)


def _counted(product: FittedProduct, images: TrainingSet[Any]) -> np.ndarray:
    """Return which images (n,) count towards the limits: all but those that did not count in the fit."""
    found = product.training.get("not_counted") or {"images": []}
    out = {image["fingerprint"] for image in found["images"]}
    return np.array([fingerprint not in out for fingerprint in images.fingerprints])


def _remembered(taught: Sequence[TaughtImage], forget: Sequence[str]) -> tuple[TaughtImage, ...]:
    kinds = Counter(image.kind for image in taught)
    for kind in forget:
        if kind not in kinds:
            known = ", ".join(sorted(kinds)) or "none"
            raise ImageError(f"The model was not taught a kind {kind!r}, so it cannot forget it. It knows: {known}.")
    return tuple(image for image in taught if image.kind not in forget)


def _good_images(
    product: FittedProduct, plain: Scorer, source: Source, teacher: Teacher, promise: Promise, store: FeatureStore
) -> tuple[HeldOutGood, np.ndarray]:
    """Read the good images, and return them with their groups.

    The levels have seen those that `fit` learned from. Their maps are scaled to the scores that they had when they
    were held out.
    """
    unit_px = feature_maps.unit_px(teacher.backbone, plain.n_scales)
    framing = Framing(None, unit_px, False, n_scales=plain.n_scales, known_scale=plain.scale)
    images = extraction.read(
        source, framing, teacher.backbone, store, n_threads=teacher.n_threads, progress=teacher.progress
    )
    usable.check_most(len(images.names), images.skipped)
    distances = list(threads.ordered_map(lambda kept: plain.distances(kept.maps), images.kept, teacher.n_threads))
    held_out = {}
    if product.learned is not None:
        held_out = dict(zip(fingerprints.from_array(product.learned.fingerprints), product.learned.scores.tolist()))

    def score_map(i: int) -> np.ndarray:
        size_px = images.working_sizes_px[i]
        found, known = plain.score_map(distances[i], size_px), held_out.get(images.fingerprints[i])
        if known is None:
            return found
        return anomaly_map.to_score(found, known, None if plain.mask is None else plain.mask.inside(size_px))

    coarsest = max(images.kept[0].maps)
    pattern = grouping.pattern_of(promise.group_by, product.training) or NO_GROUPS
    groups = grouping.find([image.maps[coarsest] for image in images.kept], images.names, pattern).groups
    fold_of = limits.folds(groups, np.random.default_rng([teacher.random_state, _FOLDS]))
    return HeldOutGood(images, fold_of, score_map, plain), groups


def _changes(
    learned: Learned, taught: Sequence[TaughtImage], images: TrainingSet[Any], thresholds: tuple[float, float]
) -> tuple[list[Change], list[Change]]:
    untaught, limit = thresholds
    defects = [
        Change(
            image.name,
            image.kind,
            image.raw_score / untaught,
            learned.left_out[j] / limit if j in learned.left_out else None,
        )
        for j, image in enumerate(taught)
    ]
    good = [
        Change(name, "good", float(before) / untaught, float(after) / limit)
        for name, before, after in zip(images.names, learned.plain_scores, learned.scores)
    ]
    return defects, good
