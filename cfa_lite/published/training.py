"""Recipe `paper`: the order of the stages as published, for a product and for one image.

Pooled maps of all stages on one grid, coordinates, a linear descriptor trained by the coupled-hypersphere
loss, certainty scores. Where the paper and the authors' code differ, an argument names both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import threads
from ..features import patches
from ..features.backbone import Backbone
from ..features.feature_cache import Features
from ..features.mask import InspectionMask
from ..fitted import PaperModel
from ..method import anomaly_map, hypersphere_loss, limits, memory_bank, neighbors
from ..parameters import PaperSettings
from ..training.training_set import N_UNLIKE
from . import coordinates
from .coordinates import CoordLinear

Pooled = list[np.ndarray]  # one map (c, h, w) a stage, finest first
Kept = Sequence[Features]  # the same, as it is kept of a training image

# One stream of chance for each purpose, so that a change to one does not move the others.
_FOLDS, _LAYER, _CENTERS, _ORDER = range(10, 14)


@dataclass(frozen=True)
class PaperFit:
    """What `learn` gives: the model; of each training image, by banks without it, the score; the raw maps of those
    with the highest, by their place; and the report."""

    model: PaperModel
    held_out_scores: np.ndarray
    highest_maps: dict[int, np.ndarray]
    report: list[dict[str, float]]


def pooled_maps(pixels: np.ndarray, backbone: Backbone, n_threads: int = 1) -> Pooled:
    """Pooled feature maps of an image's pixels (3, h, w), finest grid first."""
    maps = backbone.maps(pixels, n_threads)
    order = np.argsort(backbone.spec.strides, kind="stable")
    return [patches.pool(maps[i]) for i in order]


def loaded(kept: Kept) -> Pooled:
    """Maps of a training image, from wherever they are."""
    return [np.asarray(stage) for stage in kept]


def raw_map(
    pooled: Pooled, model: PaperModel, size_px: tuple[int, int], area: InspectionMask | None = None
) -> np.ndarray:
    """Score map (h, w) float32 of an image at its working size; its maximum is the score. 0 where it does not count."""
    raw = map_of_distances(distances_sq(pooled, model), pooled[0].shape[1:], model.certainty, size_px)
    return raw if area is None else np.where(area.inside(size_px), raw, np.float32(0))


def distances_sq(pooled: Pooled, model: PaperModel) -> np.ndarray:
    """Squared distances (n_patches, K) of an image's patches to their nearest centers."""
    descriptors = coordinates.describe(pooled, CoordLinear(model.weight, model.bias))
    return neighbors.nearest_k(descriptors, model.centers, model.n_neighbors)[1]


def map_of_distances(
    distance_sq: np.ndarray, grid: tuple[int, ...], certainty: bool, size_px: tuple[int, int]
) -> np.ndarray:
    """Distances -> patch scores, with or without certainty, -> upsampled and smoothed map."""
    patch_scores = anomaly_map.certainty_score(distance_sq) if certainty else np.sqrt(distance_sq[:, 0])
    sigma = anomaly_map.SMOOTHING_SHARE * min(size_px)
    return anomaly_map.smooth_map(patch_scores.reshape(grid), size_px, sigma)


def learn(
    images: list[Kept],
    size_px: tuple[int, int],
    settings: PaperSettings,
    *,
    groups: np.ndarray,
    area: InspectionMask | None,
    seed: int,
    n_threads: int,
    progress: Callable[[str, int, int], None],
    after_epoch: Callable[[int, PaperModel], None] | None = None,
) -> PaperFit:
    """Make the bank, train the descriptor, score every image by a bank without it.

    The held-out scores share the trained descriptor, which has seen all images: training anew without
    each fold would take four times as long. The banks have not seen them.

    Raises
    ------
    ValueError
        If the bank is smaller than K + J, gamma_d leaves no channel, or training leaves the finite numbers.
    """
    n_channels = sum(stage.shape[0] for stage in images[0])
    n_patches = images[0][0].shape[1] * images[0][0].shape[2]
    n_out, n_centers = n_channels // settings.gamma_d, n_patches // settings.gamma_c
    if n_out < 1:
        raise ValueError(f"gamma_d={settings.gamma_d} leaves no channel of {n_channels}: give 1 to {n_channels}")
    wanted = settings.n_neighbors + settings.n_hard_negatives
    if wanted > n_centers:
        raise ValueError(
            f"n_neighbors + n_hard_negatives = {wanted}, but gamma_c={settings.gamma_c} leaves {n_centers} centers of"
            f" {n_patches}: give at most {n_centers}"
        )
    layer = coordinates.initial(n_channels, n_out, np.random.default_rng([seed, _LAYER]))
    centers = make_bank(images, layer, n_centers, settings, seed)
    model = PaperModel(layer.weight, layer.bias, centers, settings.radius, settings.n_neighbors, settings.certainty)
    start = CoordLinear(layer.weight.copy(), layer.bias.copy())

    radius = np.array([settings.radius])
    optimizer = hypersphere_loss.AdamW(
        [layer.weight, layer.bias, radius], settings.learning_rate, settings.weight_decay
    )
    order = np.random.default_rng([seed, _ORDER])
    report: list[dict[str, float]] = []
    for epoch in range(1, settings.epochs + 1):
        began = time.perf_counter()
        sums = np.zeros(4)
        shuffled = order.permutation(len(images))
        for first in range(0, len(shuffled), settings.batch_size):
            batch = [images[i] for i in shuffled[first : first + settings.batch_size]]
            sums += _step(batch, layer, centers, radius, optimizer, settings, n_threads) * len(batch) / len(images)
            if settings.bank_follows:
                for image in batch:
                    centers = memory_bank.follow(centers, coordinates.describe(loaded(image), layer), settings.ema_rate)
        report.append(_epoch_report(epoch, sums, float(radius[0]), layer, start, time.perf_counter() - began))
        model = replace(model, weight=layer.weight, bias=layer.bias, centers=centers, radius=float(radius[0]))
        if after_epoch:
            after_epoch(epoch, model)
        progress("training", epoch, settings.epochs)

    bank_layer = layer if settings.bank_follows else start
    make_fold_bank = partial(make_bank, layer=bank_layer, n_centers=n_centers, settings=settings, seed=seed)
    fold_of = limits.folds(groups, np.random.default_rng([seed, _FOLDS]))
    scores, maps = _held_out(images, model, fold_of, make_fold_bank, size_px, area, n_threads)
    return PaperFit(model, scores, maps, report)


def _held_out(
    images: list[Kept],
    model: PaperModel,
    fold_of: np.ndarray,
    make_fold_bank: Callable[[list[Kept]], np.ndarray],
    size_px: tuple[int, int],
    area: InspectionMask | None,
    n_threads: int,
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Score of each image by a bank of the images outside its fold, and the maps of the highest."""
    scores = np.full(len(images), -np.inf)
    maps: dict[int, np.ndarray] = {}
    for fold in np.unique(fold_of):
        bank = make_fold_bank([p for p, f in zip(images, fold_of) if f != fold])
        of_fold = replace(model, centers=bank)

        def one(i: int, of_fold: PaperModel = of_fold) -> np.ndarray:
            return raw_map(loaded(images[i]), of_fold, size_px, area)

        held_out = np.flatnonzero(fold_of == fold).tolist()
        for i, raw in zip(held_out, threads.ordered_map(one, held_out, n_threads)):
            scores[i], maps[i] = raw.max(), raw
            if len(maps) > N_UNLIKE:
                del maps[min(maps, key=lambda k: scores[k])]
    return scores, maps


def make_bank(images: list[Kept], layer: CoordLinear, n_centers: int, settings: PaperSettings, seed: int) -> np.ndarray:
    """Memory bank (n_centers, d) of descriptors.

    "position_mean" (the authors' code): the mean of each position over all images, K-means of those where
    fewer centers are wanted. The descriptor is linear, so features are averaged and described once.
    "kmeans_ema" (the paper's Algorithm 1): K-means of the first image's descriptors, then each center
    follows its nearest descriptor of every next image.
    """
    rng = np.random.default_rng([seed, _CENTERS])
    if settings.bank == "position_mean":
        means = [memory_bank.position_mean(map(np.asarray, stages)) for stages in zip(*images)]
        return _reduced(coordinates.describe(means, layer), n_centers, rng)
    centers = _reduced(coordinates.describe(loaded(images[0]), layer), n_centers, rng)
    for image in images[1:]:
        centers = memory_bank.follow(centers, coordinates.describe(loaded(image), layer), settings.ema_rate)
    return centers


def _reduced(points: np.ndarray, n_centers: int, rng: np.random.Generator) -> np.ndarray:
    return (
        points if n_centers == len(points) else memory_bank.kmeans(points, n_centers, rng, max_iterations=100).centers
    )


def _step(
    batch: list[Kept],
    layer: CoordLinear,
    centers: np.ndarray,
    radius: np.ndarray,
    optimizer: hypersphere_loss.AdamW,
    settings: PaperSettings,
    n_threads: int,
) -> np.ndarray:
    """One AdamW step; gives attraction, repulsion, and the shares of their terms that are active."""
    n_patches = len(batch) * batch[0][0].shape[1] * batch[0][0].shape[2]

    def one(kept: Kept) -> tuple[hypersphere_loss.LossTerms, CoordLinear]:
        image = loaded(kept)
        descriptors = coordinates.describe(image, layer)
        nearest = neighbors.nearest_k(descriptors, centers, settings.n_neighbors + settings.n_hard_negatives)
        terms = hypersphere_loss.coupled_hypersphere(
            descriptors, centers, nearest, float(radius[0]), settings, n_patches
        )
        return terms, coordinates.gradient(image, terms.of_descriptors)

    # Images are added in their order, so the sum does not depend on the threads.
    results = list(threads.ordered_map(one, batch, n_threads))
    gradients = [
        np.sum([g.weight for _, g in results], axis=0),
        np.sum([g.bias for _, g in results], axis=0),
        np.array([sum(t.of_radius for t, _ in results)]),
    ]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is an error of its own
        optimizer.step(gradients)
    if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all() and np.isfinite(radius).all()):
        raise ValueError(f"learning_rate={settings.learning_rate}: training left the finite numbers; give a lower one")
    shares = [sum(t.active[i] for t, _ in results) / n_patches for i in (0, 1)]
    return np.array(
        [
            sum(t.attraction for t, _ in results),
            sum(t.repulsion for t, _ in results),
            shares[0] / settings.n_neighbors,
            shares[1] / max(settings.n_hard_negatives, 1),
        ]
    )


def _epoch_report(
    epoch: int, sums: np.ndarray, radius: float, layer: CoordLinear, start: CoordLinear, seconds: float
) -> dict[str, Any]:
    drift = np.linalg.norm(layer.weight - start.weight) / np.linalg.norm(start.weight)
    return {
        "epoch": epoch,
        "loss": float(sums[0] + sums[1]),
        "attraction": float(sums[0]),
        "repulsion": float(sums[1]),
        "active_attraction": float(sums[2]),
        "active_repulsion": float(sums[3]),
        "radius": radius,
        "drift": float(drift),
        "seconds": seconds,
    }
