"""Training as published: the memory bank, then AdamW steps on the coupled-hypersphere loss.

Where the paper and the authors' code differ, a setting selects one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .. import threads
from ..features.feature_cache import Features
from ..method import hypersphere_loss, kmeans, memory_bank, neighbors
from ..method.hypersphere_loss import LossTerms
from . import coordinates
from .adamw import AdamW
from .coordinates import CoordLinear
from .scorer import PublishedScorer, loaded
from .settings import PublishedSettings

Kept = Sequence[Features]  # pooled maps of a training image, one (c, h, w) per stage, the finest first

# Each purpose has its own random stream, so that a change to one does not move the others.
FOLDS, _LAYER, _CENTERS, _ORDER = range(10, 14)


@dataclass(frozen=True)
class Trained:
    """The trained scorer, the descriptor that the bank was made with, and a report with one row per epoch."""

    scorer: PublishedScorer
    bank_layer: CoordLinear
    report: list[dict[str, Any]]


def train(
    images: Sequence[Kept],
    start: PublishedScorer,
    settings: PublishedSettings,
    *,
    random_state: int,
    n_threads: int,
    progress: Callable[[str, int, int], None],
    after_epoch: Callable[[int, PublishedScorer], None] | None = None,
) -> Trained:
    """Train the descriptor of `start` for all epochs, and move its memory bank if `bank_follows` is set.

    Raises
    ------
    ValueError
        If training diverges.
    """
    layer = CoordLinear(start.weight.copy(), start.bias.copy())
    centers, scorer = start.centers, start
    radius = np.array([settings.radius])
    optimizer = AdamW([layer.weight, layer.bias, radius], settings.learning_rate, settings.weight_decay)
    order = np.random.default_rng([random_state, _ORDER])
    report: list[dict[str, Any]] = []
    for epoch in range(1, settings.epochs + 1):
        began = time.perf_counter()
        sums = np.zeros(4)
        shuffled = order.permutation(len(images))
        for first in range(0, len(shuffled), settings.batch_size):
            batch = [images[i] for i in shuffled[first : first + settings.batch_size]]
            of_batch = _gradients(batch, layer, centers, float(radius[0]), settings, n_threads)
            with np.errstate(over="ignore", invalid="ignore"):  # _check_finite raises an error
                optimizer.step([of_batch.weight, of_batch.bias, of_batch.radius])
            _check_finite(layer, radius, settings)
            sums += of_batch.sums * len(batch) / len(images)
            if settings.bank_follows:
                for image in batch:
                    centers = memory_bank.follow(centers, coordinates.describe(loaded(image), layer), settings.ema_rate)
        scorer = replace(scorer, weight=layer.weight, bias=layer.bias, centers=centers, radius=float(radius[0]))
        report.append(_epoch_report(epoch, sums, scorer, start, time.perf_counter() - began))
        if after_epoch:
            after_epoch(epoch, scorer)
        progress("training", epoch, settings.epochs)
    bank_layer = layer if settings.bank_follows else CoordLinear(start.weight, start.bias)
    return Trained(scorer, bank_layer, report)


def initial_layer(n_channels: int, settings: PublishedSettings, random_state: int) -> CoordLinear:
    """Return the random initial layer of the descriptor.

    Raises
    ------
    ValueError
        If gamma_d leaves no channel.
    """
    n_out = n_channels // settings.gamma_d
    if n_out < 1:
        raise ValueError(f"gamma_d={settings.gamma_d} leaves none of the {n_channels} channels. Use 1 to {n_channels}.")
    return coordinates.initial(n_channels, n_out, np.random.default_rng([random_state, _LAYER]))


def make_bank(images: Sequence[Kept], layer: CoordLinear, settings: PublishedSettings, random_state: int) -> np.ndarray:
    """Make the memory bank (n_centers, d) of descriptors.

    Raises
    ------
    ValueError
        If gamma_c leaves fewer centers than K + J.

    Notes
    -----
    "position_mean" (the authors' code): the mean of each position over all images, and K-means of those means if fewer
    centers are wanted. The descriptor is linear, so the features are averaged and described once. "kmeans_ema" (the
    paper's Algorithm 1): K-means of the first image's descriptors; each center then follows its nearest descriptor of
    every next image.
    """
    n_patches = images[0][0].shape[1] * images[0][0].shape[2]
    n_centers = n_patches // settings.gamma_c
    wanted = settings.n_neighbors + settings.n_hard_negatives
    if wanted > n_centers:
        raise ValueError(
            f"n_neighbors + n_hard_negatives = {wanted}, but gamma_c={settings.gamma_c} leaves {n_centers} centers of"
            f" {n_patches}. Use at most {n_centers} neighbors, or a lower gamma_c."
        )
    rng = np.random.default_rng([random_state, _CENTERS])
    if settings.bank == "position_mean":
        means = [memory_bank.position_mean(map(np.asarray, stages)) for stages in zip(*images)]
        return _reduced(coordinates.describe(means, layer), n_centers, rng)
    centers = _reduced(coordinates.describe(loaded(images[0]), layer), n_centers, rng)
    for image in images[1:]:
        centers = memory_bank.follow(centers, coordinates.describe(loaded(image), layer), settings.ema_rate)
    return centers


def _reduced(points: np.ndarray, n_centers: int, rng: np.random.Generator) -> np.ndarray:
    return points if n_centers == len(points) else kmeans.kmeans(points, n_centers, rng, max_iterations=100).centers


class BatchGradients(NamedTuple):
    """Gradients of a batch, and `sums` (4,): attraction, repulsion, the shares of their terms that are active."""

    weight: np.ndarray
    bias: np.ndarray
    radius: np.ndarray
    sums: np.ndarray


def _gradients(
    batch: list[Kept],
    layer: CoordLinear,
    centers: np.ndarray,
    radius: float,
    settings: PublishedSettings,
    n_threads: int,
) -> BatchGradients:
    n_patches = len(batch) * batch[0][0].shape[1] * batch[0][0].shape[2]

    def one(kept: Kept) -> tuple[LossTerms, CoordLinear]:
        image = loaded(kept)
        descriptors = coordinates.describe(image, layer)
        nearest = neighbors.nearest_k(descriptors, centers, settings.n_neighbors + settings.n_hard_negatives)
        terms = hypersphere_loss.coupled_hypersphere(descriptors, centers, nearest, radius, settings.loss, n_patches)
        return terms, coordinates.gradient(image, terms.of_descriptors)

    # The images are added in their order, so the sum does not depend on the number of threads.
    results = list(threads.ordered_map(one, batch, n_threads))
    shares = [sum(t.active[i] for t, _ in results) / n_patches for i in (0, 1)]
    sums = [
        sum(t.attraction for t, _ in results),
        sum(t.repulsion for t, _ in results),
        shares[0] / settings.n_neighbors,
        shares[1] / max(settings.n_hard_negatives, 1),
    ]
    return BatchGradients(
        weight=np.sum([g.weight for _, g in results], axis=0),
        bias=np.sum([g.bias for _, g in results], axis=0),
        radius=np.array([sum(t.of_radius for t, _ in results)]),
        sums=np.array(sums),
    )


def _check_finite(layer: CoordLinear, radius: np.ndarray, settings: PublishedSettings) -> None:
    if not all(np.isfinite(values).all() for values in (layer.weight, layer.bias, radius)):
        raise ValueError(f"learning_rate={settings.learning_rate}: training diverged. Use a lower learning rate.")


def _epoch_report(
    epoch: int, sums: np.ndarray, scorer: PublishedScorer, start: PublishedScorer, seconds: float
) -> dict[str, Any]:
    drift = np.linalg.norm(scorer.weight - start.weight) / np.linalg.norm(start.weight)
    return {
        "epoch": epoch,
        "loss": float(sums[0] + sums[1]),
        "attraction": float(sums[0]),
        "repulsion": float(sums[1]),
        "active_attraction": float(sums[2]),
        "active_repulsion": float(sums[3]),
        "radius": scorer.radius,
        "drift": float(drift),
        "seconds": seconds,
    }
