"""Learning a product: feature maps of good images -> fitted levels, and the scores that good images get."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import threads
from ..errors import ImageError
from ..fitted import Finish, Fit, HeldOut, Learnt, Level
from ..inference import scorer
from ..inference.scorer import FeatureMaps
from ..method import anomaly_map, limits
from ..parameters import SIZE
from . import adaptation, near_duplicates
from .cross_fit import CrossFit, Distances, Fitted
from .held_out import Finishing
from .training_set import N_UNLIKE, Progress, TrainingSet, provenance

WORKING_AREA_PX = SIZE**2


@dataclass(frozen=True)
class Seen:
    """What is kept of a good image: its maps, and those of it with synthetic defects, each with their mask."""

    maps: FeatureMaps
    painted: list[tuple[FeatureMaps, np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True)
class Ingredients:
    """What recipe `adapted` does beyond `none`; benchmarks/ablation.py turns each off."""

    without_outliers: bool = True
    trained: bool = True
    spread_weights: bool = True
    position_mean: bool = True
    map_smoothing: float = 2 / 224


NO_ADAPTATION = Ingredients(False, False, False, False, anomaly_map.SMOOTHING_SHARE)


@dataclass(frozen=True)
class Promise:
    """What the limits are to promise, and which images vouch for it: arguments of `CFA`."""

    false_alarm_rate: float = 0.01
    unsure_rate: float = 0.05
    margin: float = 0.0
    group_by: str | None = None
    count_outliers: bool = True


def learn(
    good: TrainingSet[Seen],
    backbone_sha256: str,
    *,
    n_centers: int,
    shrinkage: float,
    background: float,
    ingredients: Ingredients,
    promise: Promise,
    seed: int,
    n_threads: int,
    progress: Progress,
) -> Fit:
    """Fit every level on all images, and on all but each fold to score that fold.

    Descriptor and bank are both learnt anew for each fold, so no good image is scored by anything that has
    seen it; what is shared is two numbers a level (mean and spread of its distances) and which levels moved.
    Pooled levels come first: they make the scores that tell which images are far out.

    Raises
    ------
    ImageError
        If the images do not differ.
    """
    finishing = Finishing(background, ingredients.map_smoothing, ingredients.position_mean, n_threads, progress)
    every = good
    coarsest = max(good.kept[0].maps)  # lowest scale, last output
    groups = near_duplicates.find([seen.maps[coarsest] for seen in good.kept], good.names, promise.group_by)
    groups_of_all = groups
    out = np.zeros(len(good.kept), bool)
    cross, fitted, distances = _start(good, groups, n_centers, shrinkage, seed, n_threads, progress)
    if ingredients.without_outliers:
        out = limits.find_outliers(
            finishing.scores(good, distances, _weighted(cross, fitted, distances, ingredients))[1]
        )
        if out.any():
            good, groups = good.only(~out), groups[~out]
            cross, fitted, distances = _start(good, groups, n_centers, shrinkage, seed, n_threads, progress)
    moves: list[dict[str, Any]] = []
    if ingredients.trained:
        # Training helps the image's score and costs the map a little: unpooled levels stay as they start.
        moves = _keep_what_helps(good.kept, cross, fitted, distances, n_threads)
    unpooled = [key for key in cross.keys if not key.pooled]
    fitted |= cross.start(unpooled, n_centers, shrinkage)
    for pooled, others in zip(distances, cross.held_out(unpooled, fitted)):
        pooled |= others
    levels = _weighted(cross, fitted, distances, ingredients)
    finish, scores = finishing.scores(good, distances, levels)
    finish = replace(finish, map_unit=float(finishing.peaks(good, distances, levels, finish).mean() / scores.mean()))
    left_out = _left_out(every.only(out), levels, finish, background)
    unlike = left_out + [
        finishing.held_out(good, distances, levels, finish, float(scores[i]), i)
        for i in np.argsort(-scores, kind="stable")[:N_UNLIKE]
    ]
    training = provenance(good, scores) | {"moves": moves}
    training["outliers"] = [{"name": os.path.basename(h.name), "raw_score": float(h.raw_map.max())} for h in left_out]
    if promise.count_outliers and left_out:
        # They are not learnt from; but what is promised is promised of all good images.
        scores = np.concatenate([scores, [float(h.raw_map.max()) for h in left_out]])
        groups = np.concatenate([groups, groups_of_all[out]])
    learnt = Learnt(
        levels=levels,
        limits=limits.limits(
            scores, groups, promise.false_alarm_rate, promise.unsure_rate, promise.margin, source="fit"
        ),
        good_scores=scores.astype(np.float32),
        good_groups=groups,
        scale=good.scale,
        backbone_sha256=backbone_sha256,
        training=training,
        finish=finish,
        area=good.area,
        value_range=good.value_range,
    )
    return Fit(learnt, unlike, every.skipped)


def _left_out(out: TrainingSet[Seen], levels: list[Level], finish: Finish, background: float) -> list[HeldOut]:
    """Images that were left out, as seen by what was learnt without them, the highest score first."""
    found = []
    for i, seen in enumerate(out.kept):
        size_px = out.working_sizes_px[i]
        distances = scorer.distance_maps(seen.maps, levels, out.area, size_px)
        distances = {key: scorer.neutral(distance) for key, distance in distances.items()}
        raw = scorer.combine(distances, levels, finish, background, size_px, out.area)
        found.append(HeldOut(out.names[i], out.sizes_px[i], raw))
    return sorted(found, key=lambda one: -one.raw_map.max())


def _start(
    good: TrainingSet[Seen],
    groups: np.ndarray,
    n_centers: int,
    shrinkage: float,
    seed: int,
    n_threads: int,
    progress: Progress,
) -> tuple[CrossFit, Fitted, Distances]:
    """Pooled levels as they start, with their held-out distances."""
    cross = CrossFit([seen.maps for seen in good.kept], groups, good.area, seed, n_threads, progress)
    keys = [key for key in cross.keys if key.pooled]
    fitted = cross.start(keys, n_centers, shrinkage)
    distances = cross.held_out(keys, fitted)
    if not all(any(d[key].any() for d in distances) for key in keys) or _all_alike(cross.maps):
        raise ImageError(
            "The good images are all the same image: how good parts vary cannot be learnt from them."
            " Give different images of different good parts."
        )
    return cross, fitted, distances


def _keep_what_helps(
    seen: list[Seen], cross: CrossFit, fitted: Fitted, distances: Distances, n_threads: int
) -> list[dict[str, Any]]:
    """Train levels and put each in the place of its start where synthetic defects say so; what was done, for `info`.

    A synthetic defect is on an image that neither version has seen. It stands out by how few patches of held-out
    good images are as far away as its farthest one.
    """
    defects = [(i, maps, mask) for i, s in enumerate(seen) for maps, mask in s.painted]
    if not defects:  # they were painted on images that could not be used: nothing can be checked
        return []
    trained = cross.train(fitted)
    keys = list(dict.fromkeys(key for key, _ in trained))
    after = {task: result.level for task, result in trained.items()}
    after_distances = cross.held_out(keys, after)

    def peaks(defect: tuple[int, FeatureMaps, np.ndarray]) -> list[list[float]]:
        i, maps, mask = defect
        found = []
        for key in keys:
            where = adaptation.defective_patches(mask, maps[key.divisor, key.output].shape[1:])
            pair = (scorer.distance_map(maps, levels[key, cross.fold_of[i]]).ravel() for levels in (fitted, after))
            found.append([float(d[where].max()) for d in pair])
        return found

    of_defects = np.array(list(threads.ordered_map(peaks, defects, n_threads)))  # (defects, keys, before and after)
    moves = []
    for k, key in enumerate(keys):
        rare = [
            adaptation.rareness(of_defects[:, k, j], np.sort(cross.values(of, key)))
            for j, of in enumerate((distances, after_distances))
        ]
        gain = rare[1] - rare[0]
        result = trained[key, -1]
        kept = bool(result.drift > 0 and gain.mean() > 0)
        moves.append({
            "divisor": key.divisor, "output": key.output, "kept": kept, "drift": result.drift,
            "gain": float(gain.mean()), "gain_error": float(gain.std() / np.sqrt(len(gain))),
            "first_loss": result.first_loss, "last_loss": result.last_loss,
        })  # fmt: skip
        if kept:
            fitted.update({task: level for task, level in after.items() if task[0] == key})
            for before, now in zip(distances, after_distances):
                before[key] = now[key]
    return moves


def _weighted(cross: CrossFit, fitted: Fitted, distances: Distances, ingredients: Ingredients) -> list[Level]:
    """Levels of all images with the unit of their distances, and the pooled ones with their weight in the score."""
    levels = [level for (_, fold), level in fitted.items() if fold == -1]
    means, spreads = {}, {}
    for level in levels:
        values = cross.values(distances, level.key)
        means[level.key] = float(values.mean(dtype=np.float64))
        spreads[level.key] = float(values.std(dtype=np.float64))
    # Weights by mean / spread make each level's distances count in units of their spread on good images.
    raw = {
        key: means[key] / spreads[key] if ingredients.spread_weights and spreads[key] > 0 else 1.0
        for key in means
        if key.pooled
    }
    total = sum(raw.values())
    return [
        replace(level, distance_mean=means[level.key], score_weight=raw.get(level.key, 0.0) / total) for level in levels
    ]


def _all_alike(maps: list[FeatureMaps]) -> bool:
    first = maps[0]
    return all(np.array_equal(m[key], first[key]) for m in maps[1:] for key in first)
