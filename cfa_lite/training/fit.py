"""Fitting a product in four steps: started, cleaned of outliers, adapted, completed. Each step returns a new value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import threads
from ..errors import ImageError
from ..features.feature_maps import FeatureMaps, LevelKey
from ..features.manifest import BackboneSpec
from ..fitted import Fit
from ..inference import levels
from ..method import limits
from . import adaptation, completion, grouping
from .cross_fit import CrossFit
from .extraction import NormalImage
from .held_out import Teach
from .settings import Settings
from .steps import Adapted, Cleaned, Started, all_equal, scorer_of
from .training_set import TrainingSet


def fit(images: TrainingSet[NormalImage], spec: BackboneSpec, settings: Settings, teach: Teach | None = None) -> Fit:
    """Fit every level on all images, and without each fold to score that fold.

    Descriptor and memory bank are fitted anew without each fold, so no image is scored by a level that has seen it.
    All folds share two numbers per level (mean and spread of its distances) and the decision which levels are trained.
    The pooled levels come first, because their scores show which images are outliers. `teach` gives a lesson on known
    defects at the end.

    Raises
    ------
    ImageError
        If all images are equal.
    """
    coarsest = max(images.kept[0].maps)  # lowest scale, last output
    maps = [image.maps[coarsest] for image in images.kept]
    found = grouping.find(maps, images.names, settings.promise.group_by)
    cleaned = clean(start(images, found.groups, settings), settings)
    fitted = completion.complete(adapt(cleaned, settings), spec, settings, teach)
    product = replace(fitted.product, training=fitted.product.training | found.to_dict())
    return replace(fitted, product=product)


def start(images: TrainingSet[NormalImage], groups: np.ndarray, settings: Settings) -> Started:
    """Fit the pooled levels and measure the held-out images."""
    cross = CrossFit.of(
        [image.maps for image in images.kept], groups, images.mask, settings.random_state, settings.n_threads,
        settings.progress,
    )  # fmt: skip
    keys = [key for key in cross.keys if key.pooled]
    fitted = cross.start(keys, settings.n_centers, settings.shrinkage)
    distances = cross.held_out(keys, fitted)
    if not all(any(d[key].any() for d in distances) for key in keys) or all_equal(cross.maps):
        raise ImageError(
            "All good images are the same image, so their variation cannot be learned. Use different images of"
            " different good parts."
        )
    return Started(images, groups, cross, fitted, distances)


def clean(started: Started, settings: Settings) -> Cleaned:
    """Start again without outliers, if there are any and the recipe leaves them out."""
    out = np.zeros(len(started.images.kept), bool)
    if settings.ingredients.without_outliers:
        scorer, held_out = scorer_of(started, started.fitted, started.distances, settings), started.held_out(settings)
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
    trained = cross.train(before)
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
