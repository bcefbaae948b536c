"""What follows the distances of held-out good images: position means, scores, peaks and maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import threads
from ..features import images
from ..fitted import Finish, HeldOut, Level
from ..inference import scorer
from ..method import anomaly_map, resampling
from .cross_fit import Distances
from .training_set import Progress, TrainingSet


@dataclass(frozen=True)
class Finishing:
    """What follows the distances of held-out images."""

    background: float
    map_smoothing: float
    with_position_mean: bool
    n_threads: int
    progress: Progress

    def scores(self, good: TrainingSet[Any], distances: Distances, levels: list[Level]) -> tuple[Finish, np.ndarray]:
        """Position means, and the score (n,) of each image, which uses those without its own part.

        Maps are made twice, since those of thousands of images would fill the memory.
        """
        plain = Finish(self.map_smoothing)
        sizes = good.working_sizes_px
        grid = anomaly_map.position_grid(images.middle_size(sizes))

        def score_map(i: int, finish: Finish = plain) -> np.ndarray:
            return scorer.score_map(distances[i], levels, finish, self.background, sizes[i], good.area)

        if not self.with_position_mean:
            return plain, self._each(lambda i: float(score_map(i).max()), len(sizes))
        cells = self._each(lambda i: resampling.cell_means(score_map(i), grid).astype(np.float64), len(sizes))
        total = np.sum(cells, axis=0)

        def score(i: int) -> float:
            others = anomaly_map.position_mean(total - cells[i], len(cells) - 1)
            return float(score_map(i, replace(plain, position_mean=others)).max())

        finish = replace(plain, position_mean=anomaly_map.position_mean(total, len(cells)))
        return finish, self._each(score, len(sizes))

    def peaks(self, good: TrainingSet[Any], distances: Distances, levels: list[Level], finish: Finish) -> np.ndarray:
        """Maximum (n,) of the map that is shown of each image, before it is brought to the score."""
        sizes = good.working_sizes_px

        def peak(i: int) -> float:
            shown = scorer.shown_map(distances[i], levels, finish, self.background, sizes[i], good.area)
            return float(shown.max() if good.area is None else shown[good.area.inside(sizes[i])].max())

        return self._each(peak, len(sizes))

    def held_out(
        self,
        good: TrainingSet[Any],
        distances: Distances,
        levels: list[Level],
        finish: Finish,
        score: float,
        i: int,
    ) -> HeldOut:
        """One image with its map."""
        size_px = good.working_sizes_px[i]
        raw = scorer.brought_map(distances[i], levels, finish, self.background, size_px, score, good.area)
        return HeldOut(good.names[i], good.sizes_px[i], raw)

    def _each(self, call: Callable[[int], Any], n: int) -> np.ndarray:
        found = []
        for one in threads.ordered_map(call, range(n), self.n_threads):
            found.append(one)
            self.progress("checking", len(found), n)
        return np.array(found)
