"""Fitting a product by the published recipe: read, train, score held-out images, compute the limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import threads
from ..features.backbone import Backbone
from ..features.feature_cache import FeatureStore
from ..features.manifest import BackboneSpec
from ..fitted import Fit, FittedProduct, HeldOut
from ..method import limits
from ..training import grouping, training_set
from ..training.framing import Framing
from ..training.provenance import provenance
from ..training.settings import Promise
from ..training.training_set import N_UNUSUAL, Progress, Source, TrainingSet
from . import training
from .coordinates import CoordLinear
from .scorer import PublishedScorer, loaded, pooled_maps
from .settings import PublishedSettings
from .training import Kept

AREA_PX = 224 * 224  # as published, every image is resized to 224x224


@dataclass(frozen=True)
class PublishedFit:
    """The result of `fit`, and a report with one row per epoch."""

    fit: Fit
    report: list[dict[str, Any]]


def read(
    source: Source, backbone: Backbone, store: FeatureStore, n_threads: int, progress: Progress
) -> TrainingSet[Kept]:
    """Extract the pooled maps of the normal images, at one size with an area of 224x224 pixels.

    The size has the proportions of the median image.
    """
    framing = Framing(AREA_PX, backbone.unit_px, one_size=True)

    def extract(i: int, pixels: np.ndarray) -> Kept:
        return pooled_maps(pixels, backbone)

    return training_set.read(source, framing, extract, store.keep, n_threads, progress)


def start(images: TrainingSet[Kept], settings: PublishedSettings, random_state: int) -> PublishedScorer:
    """Return the untrained scorer: a random descriptor and its memory bank.

    Raises
    ------
    ValueError
        If gamma_c or gamma_d leaves too few centers or channels.
    """
    layer = training.initial_layer(sum(stage.shape[0] for stage in images.kept[0]), settings, random_state)
    return PublishedScorer(
        weight=layer.weight,
        bias=layer.bias,
        centers=training.make_bank(images.kept, layer, settings, random_state),
        radius=settings.radius,
        n_neighbors=settings.n_neighbors,
        certainty=settings.certainty,
        working_px=images.working_sizes_px[0],
        scale=images.scale,
        mask=images.mask,
    )


def fit(
    images: TrainingSet[Kept],
    spec: BackboneSpec,
    settings: PublishedSettings,
    promise: Promise,
    *,
    random_state: int,
    n_threads: int,
    progress: Progress,
) -> PublishedFit:
    """Train the descriptor, then score every image by a bank that was made without it.

    All held-out scores use the same trained descriptor, which has seen all images. Training again without each fold
    would take four times as long.

    Raises
    ------
    ValueError
        If gamma_c or gamma_d leaves too few centers or channels, or training diverges.
    """
    found = grouping.find([pooled[-1] for pooled in images.kept], images.names, promise.group_by)
    groups = found.groups
    untrained = start(images, settings, random_state)
    trained = training.train(
        images.kept, untrained, settings, random_state=random_state, n_threads=n_threads, progress=progress
    )
    fold_of = limits.folds(groups, np.random.default_rng([random_state, training.FOLDS]))

    def bank_of(kept: Sequence[Kept], layer: CoordLinear = trained.bank_layer) -> np.ndarray:
        return training.make_bank(kept, layer, settings, random_state)

    scores, highest = _held_out(images.kept, trained.scorer, fold_of, bank_of, n_threads)
    # The seconds are not saved: the same fit gives the same file.
    epochs = [{k: v for k, v in row.items() if k != "seconds"} for row in trained.report]
    product = FittedProduct(
        scorer=trained.scorer,
        backbone=spec.name,
        backbone_sha256=spec.sha256,
        backbone_entry=spec.seen(),
        limits=promise.limits(scores, groups),
        good_scores=scores,
        good_groups=groups,
        statistics=images.statistics(),
        reference=images.reference(),
        aligner=images.aligner,
        value_range=images.value_range,
        training=provenance(images, scores) | {"epochs": epochs} | found.to_dict(),
    )
    order = sorted(highest, key=lambda i: -scores[i])
    unusual = tuple(HeldOut(images.names[i], images.sizes_px[i], highest[i], images.shifts[i]) for i in order)
    return PublishedFit(Fit(product, unusual, images.skipped), trained.report)


def _held_out(
    images: Sequence[Kept],
    scorer: PublishedScorer,
    fold_of: np.ndarray,
    bank_of: Callable[[Sequence[Kept]], np.ndarray],
    n_threads: int,
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Score each image by a bank of the images outside its fold; return the raw maps of the highest scores too."""
    scores = np.full(len(images), -np.inf)
    maps: dict[int, np.ndarray] = {}
    for fold in np.unique(fold_of):
        of_fold = replace(scorer, centers=bank_of([p for p, f in zip(images, fold_of) if f != fold]))

        def raw_map(i: int, of_fold: PublishedScorer = of_fold) -> np.ndarray:
            return of_fold.map_of(loaded(images[i]))

        held_out = np.flatnonzero(fold_of == fold).tolist()
        for i, raw in zip(held_out, threads.ordered_map(raw_map, held_out, n_threads)):
            scores[i], maps[i] = raw.max(), raw
            if len(maps) > N_UNUSUAL:
                del maps[min(maps, key=lambda k: scores[k])]
    return scores.astype(np.float32), maps
