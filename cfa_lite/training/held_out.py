"""Scores and maps of held-out normal images, and the position means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .. import threads
from ..features import images
from ..fitted import HeldOut, SkippedImage, TaughtImage
from ..inference.known_defects import KnownDefects
from ..inference.levels import DistanceMaps
from ..inference.scorer import Scorer
from ..method import anomaly_map, resampling
from .training_set import Progress, TrainingSet


@dataclass(frozen=True)
class PositionMeans:
    """Cell means of the score maps of images, and their sum.

    Attributes
    ----------
    cells : ndarray of shape (n, h, w), float64
    total : ndarray of shape (h, w), float64
    """

    cells: np.ndarray
    total: np.ndarray

    def of_all(self) -> np.ndarray:
        """Return the position means (h, w) of all images."""
        return anomaly_map.position_mean(self.total, len(self.cells))

    def of_others(self, i: int) -> np.ndarray:
        """Return the position means (h, w) of all images but image `i`."""
        return anomaly_map.position_mean(self.total - self.cells[i], len(self.cells) - 1)


def with_means_of_others(scorer: Scorer, means: PositionMeans | None, i: int) -> Scorer:
    """Return the scorer for held-out image `i`: with position means that do not contain it, if there are any."""
    return scorer if means is None else replace(scorer, position_mean=means.of_others(i))


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

    def position_means(self, scorer: Scorer) -> PositionMeans:
        """Average the score map of each image in the cells of a coarse grid.

        Each map is computed here and again in `scores`, because the maps of thousands of images would fill the memory.
        """
        sizes = self.images.working_sizes_px
        grid = anomaly_map.position_grid(images.middle_size(sizes))

        def cells_of(i: int) -> np.ndarray:
            score_map = scorer.score_map(self.distances[i], sizes[i])
            return resampling.cell_means(score_map, grid).astype(np.float64)

        cells = self._each(cells_of)
        return PositionMeans(cells, np.sum(cells, axis=0))

    def scores(self, scorer: Scorer, means: PositionMeans | None = None) -> np.ndarray:
        """Return the raw score (n,) of each image, by position means that do not contain it, if there are any."""

        def score(i: int) -> float:
            return with_means_of_others(scorer, means, i).score(self.distances[i], self.images.working_sizes_px[i])

        return self._each(score)

    def score_maps(self, scorer: Scorer, means: PositionMeans | None) -> Callable[[int], np.ndarray]:
        """Return a function that computes the score map of an image, by position means that do not contain it."""

        def score_map(i: int) -> np.ndarray:
            held_out = with_means_of_others(scorer, means, i)
            return held_out.score_map(self.distances[i], self.images.working_sizes_px[i])

        return score_map

    def map_peaks(self, scorer: Scorer) -> np.ndarray:
        """Return the maximum (n,) of the anomaly map of each image, before it is scaled to the score."""
        return self._each(lambda i: scorer.map_peak(self.distances[i], self.images.working_sizes_px[i]))

    def held_out(self, scorer: Scorer, i: int, score: float, raised: np.ndarray | None = None) -> HeldOut:
        """Return image `i` with its raw anomaly map, scaled to its raw score; `raised` is what known defects add."""
        raw_map = scorer.map_with_peak(self.distances[i], self.images.working_sizes_px[i], score, raised)
        return HeldOut(self.images.names[i], self.images.sizes_px[i], raw_map, self.images.shifts[i])

    def _each(self, function: Callable[[int], Any]) -> np.ndarray:
        n = len(self.distances)
        return np.array(
            threads.map_with_progress("scoring held-out images", function, n, self.n_threads, self.progress)
        )


@dataclass(frozen=True)
class HeldOutGood:
    """What a lesson on known defects needs: good images scored without known defects, by levels without them."""

    images: TrainingSet[Any]
    fold_of: np.ndarray
    score_map: Callable[[int], np.ndarray]
    scorer: Scorer


class Lesson(NamedTuple):
    """What was learned from known defects; see `teaching.learning.Learned`."""

    known: KnownDefects | None
    scores: np.ndarray
    raised: Sequence[np.ndarray]
    taught: tuple[TaughtImage, ...]
    decision: dict[str, Any]
    skipped: tuple[SkippedImage, ...] = ()


Teach = Callable[[HeldOutGood], Lesson]
