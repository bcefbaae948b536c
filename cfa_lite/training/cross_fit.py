"""Levels fitted on all good images and on all but each fold, so that every image is scored by what has not seen it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import threads
from ..features.mask import InspectionMask
from ..features.patches import sample_positions
from ..fitted import Level, LevelKey
from ..inference import scorer
from ..inference.scorer import FeatureMaps
from ..method import limits, memory_bank, whitening
from . import adaptation
from .training_set import Progress

N_PATCHES = 65536  # learnt from at each level
MIN_PATCHES_PER_CENTER = 4
FOLD_STEP = 2  # without a fold every other patch is learnt from: held-out scores hardly feel it (DESIGN.md)

# One stream of chance for each purpose, so that a change to one does not move the others.
_POSITIONS, _FOLDS, _CENTERS, _TRAINING = range(4)

Fitted = dict[tuple[LevelKey, int], Level]  # by level and the fold left out, -1 for none
Distances = list[dict[LevelKey, np.ndarray]]  # of each held-out image


class CrossFit:
    """Good images' maps in folds.

    Parameters
    ----------
    maps : list of FeatureMaps, one an image
    groups : ndarray (n,) of int
        Images of one group are held out together.
    area : InspectionMask or None
        What counts.
    seed, n_threads : int
    progress : callable (phase, done, total)
    """

    def __init__(
        self,
        maps: list[FeatureMaps],
        groups: np.ndarray,
        area: InspectionMask | None,
        seed: int,
        n_threads: int,
        progress: Progress,
    ):
        self.maps = maps
        self.keys = scorer.level_keys(len(maps[0]) // len(scorer.DIVISORS))
        self.fold_of = limits.folds(groups, np.random.default_rng([seed, _FOLDS]))
        self._area = area
        self._seed, self._n_threads, self._progress = seed, n_threads, progress
        self._samples: dict[LevelKey, tuple[np.ndarray, np.ndarray]] = {}

    def start(self, keys: Sequence[LevelKey], n_centers: int, shrinkage: float) -> Fitted:
        """Each level's shrunk whitening with its K-means bank, for all folds."""
        self._samples |= sample(self.maps, keys, self._area, self._seed, self._n_threads)

        def one(task: tuple[LevelKey, int]) -> Level:
            key, fold = task
            rows, rng = self._rows(key, fold), self._chance(_CENTERS, key, fold)
            mean, weight = whitening.shrunk_whitening(rows, shrinkage)
            points = whitening.describe(rows, mean, weight)
            k_means = memory_bank.kmeans(points, min(n_centers, max(1, len(points) // MIN_PATCHES_PER_CENTER)), rng)
            return Level(key, mean, weight, k_means.centers, distance_mean=1.0)

        tasks = [(key, fold) for key in keys for fold in range(-1, int(self.fold_of.max()) + 1)]
        return dict(self._told("learning", tasks, one))

    def train(self, fitted: Fitted) -> dict[tuple[LevelKey, int], adaptation.Trained]:
        """Each of these levels trained on the patches that its bank was made of."""

        def one(task: tuple[LevelKey, int]) -> adaptation.Trained:
            return adaptation.train(fitted[task], self._rows(*task), self._chance(_TRAINING, *task))

        return dict(self._told("training", list(fitted), one))

    def held_out(self, keys: Sequence[LevelKey], fitted: Fitted) -> Distances:
        """Distance maps of each image by levels that have not seen it."""

        def one(i: int) -> dict[LevelKey, np.ndarray]:
            maps, fold = self.maps[i], self.fold_of[i]
            measured = {
                key: scorer.distance_map(maps, fitted[key, fold], scorer.counts_of(maps, key, self._area))
                for key in keys
            }
            return {key: scorer.neutral(distance) for key, distance in measured.items()}

        return list(threads.ordered_map(one, range(len(self.maps)), self._n_threads))

    def values(self, distances: Distances, key: LevelKey) -> np.ndarray:
        """All distances of a level's patches that count."""
        if self._area is None:
            return np.concatenate([d[key].ravel() for d in distances])
        counts = (scorer.counts_of(maps, key, self._area) for maps in self.maps)
        return np.concatenate([d[key].ravel()[c] for d, c in zip(distances, counts)])

    def _rows(self, key: LevelKey, fold: int) -> np.ndarray:
        rows, owner = self._samples[key]
        return rows[self.fold_of[owner] != fold][::FOLD_STEP] if fold >= 0 else rows

    def _chance(self, purpose: int, key: LevelKey, fold: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose, self.keys.index(key), fold + 1])

    def _told(self, phase: str, tasks: list[Any], call: Callable[[Any], Any]) -> Iterable[tuple[Any, Any]]:
        """Tasks with their results, in order, telling of progress."""
        for done, (task, result) in enumerate(zip(tasks, threads.ordered_map(call, tasks, self._n_threads)), 1):
            self._progress(phase, done, len(tasks))
            yield task, result


def sample(
    maps: list[FeatureMaps], keys: Sequence[LevelKey], area: InspectionMask | None, seed: int, n_threads: int
) -> dict[LevelKey, tuple[np.ndarray, np.ndarray]]:
    """Patch features (n, c) to learn from at each level, and the image (n,) that each is of.

    A level with and one without pooling see the same positions.
    """

    def sample_one(key: LevelKey) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, _POSITIONS, key.divisor, key.output])
        n_positions = [int(np.prod(m[key.divisor, key.output].shape[1:])) for m in maps]
        counts = [scorer.counts_of(m, key, area) for m in maps]
        candidates = [np.arange(n) if c is None else np.flatnonzero(c) for n, c in zip(n_positions, counts)]
        positions = sample_positions(candidates, N_PATCHES, rng)
        rows = [scorer.level_patches(m, key)[p] for m, p in zip(maps, positions)]
        owner = np.repeat(np.arange(len(maps)), [len(p) for p in positions])
        return np.concatenate(rows), owner

    return dict(zip(keys, threads.ordered_map(sample_one, keys, n_threads)))
