"""Good images as teaching sees them: scored without known defects, held out, in folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import threads
from ..features.feature_maps import LevelKey
from ..inference import known_defects
from ..inference.levels import Level
from ..method import defect_directions
from ..method.defect_directions import Spread
from ..training.training_set import Progress, TrainingSet
from . import places

N_PATCHES = 20_000  # random patches over all good images
_STREAM = 40  # random stream


@dataclass(frozen=True)
class GoodImages:
    """Good images with what is known about each without known defects.

    Attributes
    ----------
    images : TrainingSet
        `kept` has feature maps as `maps`.
    fold_of : ndarray of shape (n,), int
    score_map : callable (int) -> ndarray of shape (h, w), float32
        Score map of an image by levels that were fitted without it.
    levels : sequence of Level
    random_state : int
    n_threads : int
    progress : callable (phase, done, total)
    """

    images: TrainingSet[Any]
    fold_of: np.ndarray
    score_map: Callable[[int], np.ndarray]
    levels: Sequence[Level]
    random_state: int
    n_threads: int
    progress: Progress

    def __len__(self) -> int:
        return len(self.fold_of)

    def grid(self, i: int) -> tuple[int, int]:
        """Return the grid (h, w) of the places of image `i`."""
        return places.grid_of(self.images.kept[i].maps, self.levels, self.images.working_sizes_px[i])

    def sample(self) -> Sample:
        """Draw descriptors of normal patches: random ones, and the most anomalous ones of each image.

        A direction must tell a defect from what the anomaly map already finds unusual in good images. Each half has
        the same weight.
        """
        share = max(1, -(-N_PATCHES // len(self)))

        def draw(i: int) -> tuple[np.ndarray, int]:
            rng = np.random.default_rng([self.random_state, _STREAM, i])
            grid = self.grid(i)
            inspected = np.arange(grid[0] * grid[1])
            if self.images.mask is not None:
                inspected = np.flatnonzero(self.images.mask.patches(grid))
            drawn = rng.choice(inspected, min(share, len(inspected)), replace=False)
            hard = places.most_anomalous(self.score_map(i), grid, self.images.mask, places.N_USED)
            at = np.concatenate([drawn, hard])
            return places.descriptors(self.images.kept[i].maps, self.levels, grid, at), len(drawn)

        rows = self.each("reading descriptors", draw)
        is_hard = np.concatenate([np.arange(len(d)) >= n_drawn for d, n_drawn in rows])
        owner = np.repeat(np.arange(len(self)), [len(d) for d, _ in rows])
        return Sample(np.concatenate([d for d, _ in rows]), owner, is_hard)

    def responses(self, weights_of_folds: Sequence[Mapping[LevelKey, np.ndarray]]) -> list[np.ndarray]:
        """Compute the responses (n_directions, h, w) of each image to directions that were fitted without its fold."""
        means = {level.key: level.mean for level in self.levels}

        def respond(i: int) -> np.ndarray:
            weights = weights_of_folds[int(self.fold_of[i])]
            found = known_defects.responses(self.images.kept[i].maps, weights, means)
            return known_defects.summed(found, self.grid(i))

        return self.each("comparing with defects", respond)

    def each(self, phase: str, function: Callable[[int], Any]) -> list[Any]:
        """Apply a function to the position of each image."""
        return threads.map_with_progress(phase, function, len(self), self.n_threads, self.progress)


@dataclass(frozen=True)
class Sample:
    """Descriptors (n, d) of normal patches, the image `owner` (n,) of each, and whether it `is_hard` (n,)."""

    descriptors: np.ndarray
    owner: np.ndarray
    is_hard: np.ndarray

    def spreads(self, fold_of: np.ndarray, scales: np.ndarray, n_threads: int) -> list[Spread]:
        """Compute the spread of the scaled descriptors: of all images, and without each fold."""
        scaled = self.descriptors / scales
        weights = np.where(self.is_hard, 1 / max(1, self.is_hard.sum()), 1 / max(1, (~self.is_hard).sum()))

        def without(fold: int | None) -> Spread:
            kept = np.ones(len(scaled), bool) if fold is None else fold_of[self.owner] != fold
            return defect_directions.spread(scaled[kept], weights[kept])

        return list(threads.ordered_map(without, [None, *range(int(fold_of.max()) + 1)], n_threads))
