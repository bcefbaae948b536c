"""Which stages each recipe is made of: the one place that tells the recipes apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..features import images
from ..features import mask as mask_
from ..features.backbone import Backbone
from ..features.feature_cache import FeatureStore
from ..features.images import ImageLike, ValueRange
from ..features.mask import InspectionMask
from ..fitted import Fit, HeldOut, Learnt
from ..inference import scorer
from ..inference.scorer import FeatureMaps
from ..method import limits
from ..parameters import PaperSettings
from ..published import training
from . import fit, near_duplicates, synthetic_defects, training_set
from .fit import Promise, Seen
from .training_set import Framing, Progress, TrainingSet

N_DEFECTS = 64  # synthetic ones, over all good images
_DEFECTS = 20  # stream of chance
_WHOLE_AREAS = 4  # an image of more times the usual area gets its synthetic defects in a part of it
PAPER_AREA_PX = 224 * 224  # published: every image is resized to 224x224


@dataclass(frozen=True)
class Sight:
    """How images are looked at: the area they are brought to (None: full size), or the defect that must be seen;
    which part counts; and which values are black and white."""

    area_px: int | None = fit.WORKING_AREA_PX
    smallest_defect_px: float | None = None
    area: InspectionMask | None = None
    value_range: ValueRange | None = None


def _sight(params: Mapping[str, Any], given: list[ImageLike]) -> Sight:
    value_range = params["value_range"]
    if value_range == "auto":
        value_range = images.value_range_of((image, images.name_of(image, i)) for i, image in enumerate(given))
    return Sight(
        area_px=None if params["size"] == "full" else params["size"] ** 2,
        smallest_defect_px=params["smallest_defect"],
        area=None if params["mask"] is None else mask_.read(params["mask"]),
        value_range=value_range and (float(value_range[0]), float(value_range[1])),
    )


def learn(
    params: Mapping[str, Any],
    given: list[ImageLike],
    network: Backbone,
    store: FeatureStore,
    n_threads: int,
    progress: Progress,
) -> Fit:
    """Fit `CFA` arguments `params` on images.

    Raises
    ------
    ImageError, ValueError
        See `CFA.fit`.
    """
    sight = _sight(params, given)
    promise = Promise(
        false_alarm_rate=params["false_alarm_rate"],
        unsure_rate=params["unsure_rate"],
        margin=params["limit_margin"],
        group_by=params["group_by"],
        count_outliers=params["outliers"] == "count",
    )
    if params["recipe"] == "paper":
        pooled = read_for_paper(given, network, store, n_threads, progress, sight)
        found = _learn_paper(params, promise, pooled, network.spec.sha256, n_threads, progress)
    else:
        found = _learn_levels(params, promise, given, network, store, n_threads, progress, sight)
    found.learnt.training["network"] = network.spec.seen()
    return found


def _learn_levels(
    params: Mapping[str, Any],
    promise: Promise,
    given: list[ImageLike],
    network: Backbone,
    store: FeatureStore,
    n_threads: int,
    progress: Progress,
    sight: Sight,
) -> Fit:
    ingredients = fit.NO_ADAPTATION
    if params["recipe"] == "adapted":
        ingredients = fit.Ingredients(without_outliers=params["outliers"] != "keep")
    good = read(given, network, store, params["seed"], ingredients.trained, n_threads, progress, sight)
    return fit.learn(
        good,
        network.spec.sha256,
        n_centers=params["n_centers"],
        shrinkage=params["shrinkage"],
        background=params["background_share"],
        ingredients=ingredients,
        promise=promise,
        seed=params["seed"],
        n_threads=n_threads,
        progress=progress,
    )


def read(
    given: list[ImageLike],
    network: Backbone,
    store: FeatureStore,
    seed: int,
    with_defects: bool,
    n_threads: int,
    progress: Progress,
    sight: Sight | None = None,
) -> TrainingSet[Seen]:
    """Feature maps of good images at their scale, and of about `N_DEFECTS` synthetic defects painted on them."""
    sight = sight or Sight()
    unit_px = scorer.unit_px(network)

    def extract(i: int, pixels: np.ndarray) -> Seen:
        seen = Seen(scorer.maps_of_pixels(pixels, network))
        rng = np.random.default_rng([seed, _DEFECTS, i])
        n_painted = ((i + 1) * N_DEFECTS) // len(given) - (i * N_DEFECTS) // len(given) if with_defects else 0
        for _ in range(n_painted):
            window = _window(pixels.shape[1:], unit_px, rng)
            painted, mask = synthetic_defects.paint(pixels[(slice(None), *window)], rng)
            if sight.area is not None:
                mask &= sight.area.inside(pixels.shape[1:])[window]
            if mask.any():
                seen.painted.append((scorer.maps_of_pixels(painted, network), mask))
        return seen

    def keep(seen: Seen) -> Seen:
        return Seen(_kept(seen.maps, store), [(_kept(maps, store), mask) for maps, mask in seen.painted])

    framing = Framing(sight.area_px, unit_px, one_size=False, smallest_defect_px=sight.smallest_defect_px)
    return training_set.read(given, framing, extract, keep, sight.area, sight.value_range, n_threads, progress)


def _window(size_px: tuple[int, ...], unit_px: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Where a defect is painted: anywhere in an image of usual size, in a part of that size of a larger one."""
    if size_px[0] * size_px[1] <= _WHOLE_AREAS * fit.WORKING_AREA_PX:
        return slice(0, size_px[0]), slice(0, size_px[1])
    side = int(fit.WORKING_AREA_PX**0.5) // unit_px * unit_px
    starts = [int(rng.integers(0, max(0, whole - side) // unit_px + 1)) * unit_px for whole in size_px]
    rows, columns = (slice(start, min(start + side, whole)) for start, whole in zip(starts, size_px))
    return rows, columns


def _kept(maps: FeatureMaps, store: FeatureStore) -> FeatureMaps:
    return dict(zip(maps, store.keep(list(maps.values()))))


def read_for_paper(
    given: list[ImageLike],
    network: Backbone,
    store: FeatureStore,
    n_threads: int,
    progress: Progress,
    sight: Sight | None = None,
) -> TrainingSet[training.Kept]:
    """Pooled maps of training images, all at one size of 224x224 pixels of area in the median image's proportions."""
    sight = sight or Sight()
    return training_set.read(
        given,
        Framing(PAPER_AREA_PX, network.unit_px, one_size=True),
        lambda i, pixels: training.pooled_maps(pixels, network),
        store.keep,
        sight.area,
        sight.value_range,
        n_threads,
        progress,
    )


def _learn_paper(
    params: Mapping[str, Any],
    promise: Promise,
    good: TrainingSet[training.Kept],
    backbone_sha256: str,
    n_threads: int,
    progress: Progress,
) -> Fit:
    coarsest = [pooled[-1] for pooled in good.kept]
    groups = near_duplicates.find(coarsest, good.names, promise.group_by)
    fit = training.learn(
        good.kept,
        good.working_sizes_px[0],
        PaperSettings.of(params),
        groups=groups,
        area=good.area,
        seed=params["seed"],
        n_threads=n_threads,
        progress=progress,
    )
    scores = fit.held_out_scores.astype(np.float32)
    # Seconds stay out of what is saved: the same fit gives the same file.
    epochs = [{k: v for k, v in row.items() if k != "seconds"} for row in fit.report]
    learnt = Learnt(
        levels=[],
        limits=limits.limits(
            scores, groups, promise.false_alarm_rate, promise.unsure_rate, promise.margin, source="fit"
        ),
        good_scores=scores,
        good_groups=groups,
        scale=good.scale,
        backbone_sha256=backbone_sha256,
        training=training_set.provenance(good, scores) | {"epochs": epochs},
        paper=fit.model,
        area=good.area,
        value_range=good.value_range,
    )
    highest = sorted(fit.highest_maps, key=lambda i: -scores[i])
    unlike = [HeldOut(good.names[i], good.sizes_px[i], fit.highest_maps[i]) for i in highest]
    return Fit(learnt, unlike, good.skipped, fit.report)


def pixels_of(learnt: Learnt, bands: list[Image.Image], network: Backbone) -> np.ndarray:
    """Pixels (3, h, w) of an image (bands of images.read) at the size it is worked at."""
    w, h = bands[0].size
    if learnt.paper is not None:
        height, width = learnt.training["working_px"]
    else:
        height, width = images.working_size((h, w), learnt.scale, scorer.unit_px(network))
    return images.to_pixels(bands, (height, width), learnt.area)


def raw_map(learnt: Learnt, background: float, pixels: np.ndarray, network: Backbone, n_threads: int) -> np.ndarray:
    """Raw map (h, w) float32 of an image's pixels by what was learnt; its maximum is the raw score."""
    if learnt.paper is not None:
        size_px = pixels.shape[1:]
        return training.raw_map(training.pooled_maps(pixels, network, n_threads), learnt.paper, size_px, learnt.area)
    assert learnt.finish is not None
    return scorer.raw_map(pixels, network, learnt.levels, learnt.finish, background, learnt.area, n_threads)
