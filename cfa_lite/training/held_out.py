"""Scores and maps of held-out normal images, and the position means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import threads
from ..features import images
from ..fitted import HeldOut
from ..inference.levels import DistanceMaps
from ..inference.scorer import Scorer
from ..method import anomaly_map, resampling
from .training_set import Progress, TrainingSet


@dataclass(frozen=True)
class HeldOutImages:
    """Normal images and their distance maps by levels that were fitted without them.

    Attributes
    ----------
    images : TrainingSet
    distances : sequence of DistanceMaps
        One per image.
    n_threads : int
    progress : callable (phase, done, total)
    """

    images: TrainingSet[Any]
    distances: Sequence[DistanceMaps]
    n_threads: int
    progress: Progress

    def scores(self, scorer: Scorer, with_position_mean: bool) -> tuple[Scorer, np.ndarray]:
        """Score the images.

        Returns
        -------
        scorer : Scorer
            With position means, if `with_position_mean`.
        scores : ndarray of shape (n,)
            Raw scores. Each image is scored with position means that do not contain it.

        Notes
        -----
        Each map is computed twice, because the maps of thousands of images would fill the memory.
        """
        sizes = self.images.working_sizes_px
        if not with_position_mean:
            return scorer, self._each(lambda i: scorer.score(self.distances[i], sizes[i]))
        grid = anomaly_map.position_grid(images.middle_size(sizes))

        def cells_of(i: int) -> np.ndarray:
            score_map = scorer.score_map(self.distances[i], sizes[i])
            return resampling.cell_means(score_map, grid).astype(np.float64)

        cells = self._each(cells_of)
        total = np.sum(cells, axis=0)

        def score(i: int) -> float:
            others = anomaly_map.position_mean(total - cells[i], len(cells) - 1)
            return replace(scorer, position_mean=others).score(self.distances[i], sizes[i])

        complete = replace(scorer, position_mean=anomaly_map.position_mean(total, len(cells)))
        return complete, self._each(score)

    def map_peaks(self, scorer: Scorer) -> np.ndarray:
        """Return the maximum (n,) of the anomaly map of each image, before it is scaled to the score."""
        return self._each(lambda i: scorer.map_peak(self.distances[i], self.images.working_sizes_px[i]))

    def held_out(self, scorer: Scorer, i: int, score: float) -> HeldOut:
        """Return image `i` with its raw anomaly map, scaled to its raw score."""
        raw_map = scorer.map_with_peak(self.distances[i], self.images.working_sizes_px[i], score)
        return HeldOut(self.images.names[i], self.images.sizes_px[i], raw_map)

    def _each(self, function: Callable[[int], Any]) -> np.ndarray:
        n, found = len(self.distances), []
        for one in threads.ordered_map(function, range(n), self.n_threads):
            found.append(one)
            self.progress("scoring held-out images", len(found), n)
        return np.array(found)
