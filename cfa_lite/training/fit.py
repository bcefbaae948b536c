"""Fitting a product in four steps: started, cleaned of outliers, adapted, completed. Each step returns a new value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import threads
from ..errors import ImageError
from ..features.feature_maps import FeatureMaps, LevelKey
from ..features.manifest import BackboneSpec
from ..fitted import Fit, FittedProduct, HeldOut
from ..inference import levels
from ..inference.levels import DistanceMaps, Level
from ..inference.scorer import Scorer
from ..method import limits
from . import adaptation, near_duplicates
from .cross_fit import CrossFit, FittedLevels, Samples
from .extraction import NormalImage
from .held_out import HeldOutImages
from .separation import DefectScores
from .settings import Settings
from .training_set import N_UNUSUAL, TrainingSet, named, provenance


@dataclass(frozen=True)
class Started:
    """The pooled levels as they start, with the distances of held-out images.

    Attributes
    ----------
    images : TrainingSet
    groups : ndarray of shape (n,)
    cross : CrossFit
    samples : dict of LevelKey to Sample
    fitted : dict of (LevelKey, fold or None) to Level
    distances : list of DistanceMaps
        One per image, by levels that were fitted without it.
    """

    images: TrainingSet[NormalImage]
    groups: np.ndarray
    cross: CrossFit
    samples: Samples
    fitted: FittedLevels
    distances: list[DistanceMaps]

    def held_out(self, settings: Settings) -> HeldOutImages:
        """Return the images with their distances."""
        return HeldOutImages(self.images, self.distances, settings.n_threads, settings.progress)


@dataclass(frozen=True)
class Cleaned:
    """The start without outliers, and the outliers with their groups."""

    start: Started
    outliers: TrainingSet[NormalImage]
    outlier_groups: np.ndarray


@dataclass(frozen=True)
class Adapted:
    """The trained pooled levels, and what was decided for each of them; JSON types only."""

    cleaned: Cleaned
    fitted: FittedLevels
    distances: list[DistanceMaps]
    decisions: tuple[dict[str, Any], ...] = ()


def fit(images: TrainingSet[NormalImage], spec: BackboneSpec, settings: Settings) -> Fit:
    """Fit every level on all images, and without each fold to score that fold.

    Descriptor and memory bank are fitted anew without each fold, so no image is scored by a level that has seen it.
    All folds share two numbers per level (mean and spread of its distances) and the decision which levels are trained.
    The pooled levels come first, because their scores show which images are outliers.

    Raises
    ------
    ImageError
        If all images are equal.
    """
    coarsest = max(images.kept[0].maps)  # lowest scale, last output
    maps = [image.maps[coarsest] for image in images.kept]
    groups = near_duplicates.find(maps, images.names, settings.promise.group_by)
    cleaned = clean(start(images, groups, settings), settings)
    return complete(adapt(cleaned, settings), spec, settings)


def start(images: TrainingSet[NormalImage], groups: np.ndarray, settings: Settings) -> Started:
    """Fit the pooled levels and measure the held-out images."""
    cross = CrossFit.of(
        [image.maps for image in images.kept], groups, images.mask, settings.random_state, settings.n_threads,
        settings.progress,
    )  # fmt: skip
    keys = [key for key in cross.keys if key.pooled]
    samples = cross.sample(keys)
    fitted = cross.start(samples, settings.n_centers, settings.shrinkage)
    distances = cross.held_out(keys, fitted)
    if not all(any(d[key].any() for d in distances) for key in keys) or _all_equal(cross.maps):
        raise ImageError(
            "All good images are the same image, so their variation cannot be learned. Use different images of"
            " different good parts."
        )
    return Started(images, groups, cross, samples, fitted, distances)


def clean(started: Started, settings: Settings) -> Cleaned:
    """Start again without outliers, if there are any and the recipe leaves them out."""
    out = np.zeros(len(started.images.kept), bool)
    if settings.ingredients.without_outliers:
        scorer, held_out = _scorer(started, started.fitted, started.distances, settings), started.held_out(settings)
        means = held_out.position_means(scorer) if settings.ingredients.position_mean else None
        out = limits.find_outliers(held_out.scores(scorer, means))
    outliers, outlier_groups = started.images.only(out), started.groups[out]
    if out.any():
        started = start(started.images.only(~out), started.groups[~out], settings)
    return Cleaned(started, outliers, outlier_groups)


def adapt(cleaned: Cleaned, settings: Settings) -> Adapted:
    """Train the pooled levels. A level keeps its training if synthetic defects then stand out more.

    A synthetic defect is scored on an image that neither version has seen. It stands out more if fewer patches of
    held-out normal images are at least as far away as its farthest patch. Training improves the image score and
    slightly degrades the map, so unpooled levels are not trained.
    """
    cross, before, distances = cleaned.start.cross, cleaned.start.fitted, cleaned.start.distances
    defects = [(i, d) for i, image in enumerate(cleaned.start.images.kept) for d in image.defects]
    if not settings.ingredients.trained or not defects:  # without defects, a gain cannot be shown
        return Adapted(cleaned, before, distances)
    trained = cross.train(cleaned.start.samples, before)
    after = {task: result.level for task, result in trained.items()}
    keys = list(dict.fromkeys(key for key, _ in trained))
    distances_after = cross.held_out(keys, after)

    def peaks(i: int, maps: FeatureMaps, mask: np.ndarray) -> list[list[float]]:
        found = []
        for key in keys:
            where = adaptation.defective_patches(mask, maps[key.map_key].shape[1:])
            pair = (levels.distance_map(maps, fitted[key, int(cross.fold_of[i])]).ravel() for fitted in (before, after))
            found.append([float(d[where].max()) for d in pair])
        return found

    results = threads.ordered_map(lambda task: peaks(task[0], task[1].maps, task[1].mask), defects, settings.n_threads)
    of_defects = np.array(list(results))  # (defects, keys, before and after)
    decisions = []
    kept: list[LevelKey] = []
    for k, key in enumerate(keys):
        rareness = [
            adaptation.rareness(of_defects[:, k, j], np.sort(cross.values(d, key)))
            for j, d in enumerate((distances, distances_after))
        ]
        gain, result = rareness[1] - rareness[0], trained[key, None]
        if result.drift > 0 and gain.mean() > 0:
            kept.append(key)
        decisions.append({
            "divisor": key.divisor, "output": key.output, "kept": key in kept, "drift": result.drift,
            "gain": float(gain.mean()), "gain_error": float(gain.std() / np.sqrt(len(gain))),
            "first_loss": result.first_loss, "last_loss": result.last_loss,
        })  # fmt: skip
    fitted = {task: after[task] if task[0] in kept else level for task, level in before.items()}
    chosen = [
        {key: new[key] if key in kept else d for key, d in old.items()} for old, new in zip(distances, distances_after)
    ]
    return Adapted(cleaned, fitted, chosen, tuple(decisions))


def complete(adapted: Adapted, spec: BackboneSpec, settings: Settings) -> Fit:
    """Add the unpooled levels, score the held-out images, and compute the limits."""
    started, promise = adapted.cleaned.start, settings.promise
    cross, images, outliers = started.cross, started.images, adapted.cleaned.outliers
    unpooled = [key for key in cross.keys if not key.pooled]
    others = cross.start(cross.sample(unpooled), settings.n_centers, settings.shrinkage)
    fitted = {**adapted.fitted, **others}
    distances = [{**d, **o} for d, o in zip(adapted.distances, cross.held_out(unpooled, others))]
    held_out = HeldOutImages(images, distances, settings.n_threads, settings.progress)
    plain = _scorer(started, fitted, distances, settings)
    means = held_out.position_means(plain) if settings.ingredients.position_mean else None
    decision = None
    if means is not None:
        defects = DefectScores.measure(images.kept, cross, fitted, held_out)
        decision = defects.check_position_means(plain, means)
        means = means if decision is None or decision.kept else None
    scores = held_out.scores(plain, means)
    scorer = plain if means is None else replace(plain, position_mean=means.of_all())
    scorer = replace(scorer, map_unit=float(held_out.map_peaks(scorer).mean() / scores.mean()))
    left_out, order = _outlier_maps(outliers, scorer)
    highest = np.argsort(-scores, kind="stable")[:N_UNUSUAL]
    training = provenance(images, scores) | {"decisions": list(adapted.decisions)}
    training["position_mean"] = decision and decision.to_dict()
    training["outliers"] = [named(one.name, float(one.raw_map.max())) for one in left_out]
    groups = started.groups
    if promise.count_outliers and left_out:
        # The model does not learn outliers, but the guarantee covers all good images.
        scores = np.concatenate([scores, [float(one.raw_map.max()) for one in left_out]])
        groups = np.concatenate([groups, adapted.cleaned.outlier_groups[order]])
    product = FittedProduct(
        scorer=scorer,
        backbone=spec.name,
        backbone_sha256=spec.sha256,
        backbone_entry=spec.seen(),
        limits=promise.limits(scores, groups),
        good_scores=scores.astype(np.float32),
        good_groups=groups,
        statistics=images.statistics(),
        value_range=images.value_range,
        training=training,
    )
    unusual = (*left_out, *(held_out.held_out(scorer, i, float(scores[i])) for i in highest))
    return Fit(product, unusual, images.skipped)


def _outlier_maps(outliers: TrainingSet[NormalImage], scorer: Scorer) -> tuple[list[HeldOut], np.ndarray]:
    """Return the outliers with their maps by the model, which was fitted without them, and their order by score."""
    raw_maps = [
        scorer.combined(scorer.distances(image.maps), size_px)
        for image, size_px in zip(outliers.kept, outliers.working_sizes_px)
    ]
    order = np.argsort([-float(raw_map.max()) for raw_map in raw_maps], kind="stable")
    return [HeldOut(outliers.names[i], outliers.sizes_px[i], raw_maps[i]) for i in order], order


def _scorer(started: Started, fitted: FittedLevels, distances: Sequence[DistanceMaps], settings: Settings) -> Scorer:
    """Return the scorer of the levels that were fitted on all images, with the unit of each level's distances."""
    return Scorer(
        levels=tuple(_weighted(started.cross, fitted, distances, settings.ingredients.spread_weights)),
        scale=started.images.scale,
        background_share=settings.background_share,
        map_smoothing=settings.ingredients.map_smoothing,
        mask=started.images.mask,
    )


def _weighted(
    cross: CrossFit, fitted: FittedLevels, distances: Sequence[DistanceMaps], spread_weights: bool
) -> list[Level]:
    """Return the levels of all images with the unit of their distances, and the pooled ones with their weights."""
    final = [level for (_, fold), level in fitted.items() if fold is None]
    means, spreads = {}, {}
    for level in final:
        values = cross.values(distances, level.key)
        means[level.key] = float(values.mean(dtype=np.float64))
        spreads[level.key] = float(values.std(dtype=np.float64))
    # A weight of mean / spread makes a level's distances count in units of their standard deviation.
    raw = {
        key: means[key] / spreads[key] if spread_weights and spreads[key] > 0 else 1.0 for key in means if key.pooled
    }
    total = sum(raw.values())
    return [
        replace(level, distance_mean=means[level.key], score_weight=raw.get(level.key, 0.0) / total) for level in final
    ]


def _all_equal(maps: Sequence[FeatureMaps]) -> bool:
    first = maps[0]
    return all(np.array_equal(m[key], first[key]) for m in maps[1:] for key in first)
