"""The last step of a fit: unpooled levels, position means, a lesson on known defects, and the limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..features import fingerprints
from ..features.manifest import BackboneSpec
from ..fitted import Fit, FittedProduct, HeldOut, LearnedImages
from ..inference.scorer import Scorer
from .extraction import NormalImage
from .held_out import HeldOutGood, HeldOutImages, Teach
from .provenance import costliest, named, not_counted, provenance
from .separation import DefectScores
from .settings import Settings
from .steps import Adapted, scorer_of
from .training_set import N_UNUSUAL, TrainingSet


def complete(adapted: Adapted, spec: BackboneSpec, settings: Settings, teach: Teach | None = None) -> Fit:
    """Add the unpooled levels, score the held-out images, learn from known defects, and compute the limits."""
    started, promise = adapted.cleaned.start, settings.promise
    cross, images, outliers = started.cross, started.images, adapted.cleaned.outliers
    unpooled = [key for key in cross.keys if not key.pooled]
    others = cross.start(unpooled, settings.n_centers, settings.shrinkage)
    fitted = {**adapted.fitted, **others}
    distances = [{**d, **o} for d, o in zip(adapted.distances, cross.held_out(unpooled, others))]
    held_out = HeldOutImages(images, distances, settings.n_threads, settings.progress)
    offsets_px = tuple(output.offset_px for output in spec.outputs)
    plain = replace(scorer_of(started, fitted, distances, settings), offsets_px=offsets_px)
    means = held_out.position_means(plain) if settings.ingredients.position_mean else None
    scores, decision = held_out.scores(plain), None
    if means is not None:
        new_scores = held_out.scores(plain, means)
        defects = DefectScores.measure(images.kept, cross, fitted, held_out)
        decision = defects.check_position_means(plain, means, scores, new_scores)
        if decision is None or decision.kept:
            scores = new_scores
        else:
            means = None
    scorer = plain if means is None else replace(plain, position_mean=means.of_all())
    scorer = replace(scorer, map_unit=float(held_out.map_peaks(scorer).mean() / scores.mean()))
    learned = LearnedImages(fingerprints.to_array(images.fingerprints), scores.astype(np.float32))
    lesson = None
    if teach is not None:
        lesson = teach(_with_outliers(adapted, held_out.score_maps(plain, means), scorer, promise.count_outliers))
        scores, scorer = lesson.scores[: len(images.kept)], replace(scorer, known=lesson.known)
    raised = [None] * len(scores) if lesson is None else lesson.raised
    left_out, order = _outlier_maps(outliers, scorer, raised[len(images.kept) :])
    highest = np.argsort(-scores, kind="stable")[:N_UNUSUAL]
    training = provenance(images, scores) | {"decisions": list(adapted.decisions)}
    training["position_mean"] = decision and decision.to_dict()
    training["known_defects"] = None if lesson is None else lesson.decision
    training["outliers"] = [named(one.name, float(one.raw_map.max())) for one in left_out]
    groups, counted, all_images = started.groups, np.ones(len(scores), bool), images
    if left_out and (promise.count_outliers or promise.cover_outliers):
        # The model does not learn outliers, but the guarantee covers all good images.
        scores = np.concatenate([scores, [float(one.raw_map.max()) for one in left_out]])
        groups = np.concatenate([groups, adapted.cleaned.outlier_groups[order]])
        counted = np.concatenate([counted, np.full(len(left_out), promise.count_outliers)])
        all_images = images.joined(outliers.at(order))
    names = [all_images.names[i] for i in np.flatnonzero(counted)]
    training["costliest"] = costliest(scores[counted], groups[counted], names, promise)
    training["not_counted"] = not_counted(scores, groups, all_images, counted, promise)
    product = FittedProduct(
        scorer=scorer,
        backbone=spec.name,
        backbone_sha256=spec.sha256,
        backbone_entry=spec.seen(),
        limits=promise.limits(scores, groups, counted),
        good_scores=scores.astype(np.float32),
        good_groups=groups,
        statistics=images.statistics(),
        reference=images.reference(),
        aligner=images.aligner,
        value_range=images.value_range,
        training=training,
        learned=learned,
        taught=() if lesson is None else lesson.taught,
    )
    unusual = (*left_out, *(held_out.held_out(scorer, i, float(scores[i]), raised[i]) for i in highest))
    return Fit(product, unusual, (*images.skipped, *(() if lesson is None else lesson.skipped)))


def _with_outliers(
    adapted: Adapted, score_map: Callable[[int], np.ndarray], scorer: Scorer, count_outliers: bool
) -> HeldOutGood:
    """Return the good images of a lesson. Outliers that count for the limits are among them.

    What raises the scores of outliers raises the limits, so it must not be taken for a defect.
    """
    started, outliers = adapted.cleaned.start, adapted.cleaned.outliers
    images, fold_of = started.images, started.cross.fold_of
    if not count_outliers or not outliers.kept:
        return HeldOutGood(images, fold_of, score_map, scorer)
    n, n_folds, fold_of_group = len(fold_of), int(fold_of.max()) + 1, dict(zip(started.groups, fold_of))
    folds = [fold_of_group.get(group, i % n_folds) for i, group in enumerate(adapted.cleaned.outlier_groups)]

    def score_map_of_any(i: int) -> np.ndarray:
        if i < n:
            return score_map(i)
        return scorer.score_map(scorer.distances(outliers.kept[i - n].maps), outliers.working_sizes_px[i - n])

    return HeldOutGood(images.joined(outliers), np.concatenate([fold_of, folds]), score_map_of_any, scorer)


def _outlier_maps(
    outliers: TrainingSet[NormalImage], scorer: Scorer, raised: Sequence[np.ndarray | None]
) -> tuple[list[HeldOut], np.ndarray]:
    """Return the outliers with their maps by the model, which was fitted without them, and their order by score.

    `raised` is what known defects that were learned without them add; it is empty if the lesson did not have them.
    """
    raw_maps = [
        scorer.combined(scorer.distances(image.maps), size_px, raised[i])
        if raised
        else scorer.of_maps(image.maps, size_px).raw_map
        for i, (image, size_px) in enumerate(zip(outliers.kept, outliers.working_sizes_px))
    ]
    order = np.argsort([-float(raw_map.max()) for raw_map in raw_maps], kind="stable")
    return [HeldOut(outliers.names[i], outliers.sizes_px[i], raw_maps[i], outliers.shifts[i]) for i in order], order
