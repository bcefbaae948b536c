"""Cross-fitting: levels fitted on all images and without each fold, so that every image is scored as an unseen one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional, TypeVar

import numpy as np

from .. import threads
from ..features import feature_maps
from ..features.feature_maps import FeatureMaps, LevelKey
from ..features.mask import InspectionMask
from ..features.patches import sample_positions
from ..inference import levels
from ..inference.levels import DistanceMaps, Level
from ..method import cells, kmeans, limits, whitening
from . import adaptation
from .training_set import Progress

N_PATCHES = 65536  # training patches of each level
MIN_PATCHES_PER_CENTER = 4
MAX_PART_BYTES = 1 << 28  # of the patches of several levels; drawing them again is cheap, and keeping them is not
FOLD_STEP = 2  # without a fold, a level learns from every second patch: held-out scores hardly change

# Each purpose has its own random stream, so that a change to one does not move the others.
_POSITIONS, _FOLDS, _CENTERS, _TRAINING = range(4)

Task = tuple[LevelKey, Optional[int]]  # a level, and the fold that it is fitted without; None for no fold
FittedLevels = dict[Task, Level]
T = TypeVar("T")


class Sample(NamedTuple):
    """Patch features `rows` (n, c) that a level learns from, and the image `owner` (n,) that each comes from."""

    rows: np.ndarray
    owner: np.ndarray


Samples = dict[LevelKey, Sample]


@dataclass(frozen=True)
class CrossFit:
    """Feature maps of normal images in folds.

    Attributes
    ----------
    maps : list of FeatureMaps
        One per image.
    fold_of : ndarray of shape (n,), int
        The fold of each image. Images of one group share a fold.
    mask : InspectionMask or None
    random_state : int
    n_threads : int
    progress : callable (phase, done, total)
    """

    maps: list[FeatureMaps]
    fold_of: np.ndarray
    mask: InspectionMask | None
    random_state: int
    n_threads: int
    progress: Progress

    @classmethod
    def of(
        cls,
        maps: list[FeatureMaps],
        groups: np.ndarray,
        mask: InspectionMask | None,
        random_state: int,
        n_threads: int,
        progress: Progress,
    ) -> CrossFit:
        """Divide images in groups (n,) into folds."""
        fold_of = limits.folds(groups, np.random.default_rng([random_state, _FOLDS]))
        return cls(maps, fold_of, mask, random_state, n_threads, progress)

    @property
    def keys(self) -> list[LevelKey]:
        """All levels of the backbone, at every scale."""
        n_scales = max(key.divisor for key in self.maps[0]).bit_length()
        return feature_maps.level_keys(len(self.maps[0]) // n_scales, n_scales)

    def start(self, keys: Sequence[LevelKey], n_centers: int, shrinkage: float) -> FittedLevels:
        """Fit the shrunk whitening and the K-means bank of these levels, on all images and without each fold."""
        n_all = len(keys) * (int(self.fold_of.max()) + 2)
        fitted: FittedLevels = {}
        for part in self.parts(keys):
            self._start(part, n_centers, shrinkage, fitted, n_all)
        return fitted

    def _start(
        self, keys: Sequence[LevelKey], n_centers: int, shrinkage: float, fitted: FittedLevels, n_all: int
    ) -> None:
        samples = self._sample(keys)

        def fit(task: Task) -> Level:
            rows, rng = self._rows(samples, task), self._rng(_CENTERS, task)
            mean, weight = whitening.shrunk_whitening(rows, shrinkage)
            points = whitening.describe(rows, mean, weight)
            most = max(1, len(points) // MIN_PATCHES_PER_CENTER)
            centers = kmeans.kmeans(points, min(n_centers, most), rng).centers
            return Level(task[0], mean, weight, centers, distance_mean=1.0, cells=cells.fit(centers, points))

        folds = [None, *range(int(self.fold_of.max()) + 1)]
        self._each("fitting levels", [(key, fold) for key in samples for fold in folds], fit, fitted, n_all)

    def train(self, fitted: FittedLevels) -> dict[Task, adaptation.Trained]:
        """Train each of these levels on the patches that its memory bank was computed from."""
        trained: dict[Task, adaptation.Trained] = {}
        for part in self.parts(list(dict.fromkeys(key for key, _ in fitted))):
            self._train(part, fitted, trained)
        return trained

    def _train(self, keys: Sequence[LevelKey], fitted: FittedLevels, trained: dict[Task, adaptation.Trained]) -> None:
        samples = self._sample(keys)

        def train(task: Task) -> adaptation.Trained:
            return adaptation.train(fitted[task], self._rows(samples, task), self._rng(_TRAINING, task))

        self._each("training", [task for task in fitted if task[0] in samples], train, trained, len(fitted))

    def parts(self, keys: Sequence[LevelKey]) -> list[list[LevelKey]]:
        """Divide levels into parts whose patches are in memory at once; a level of many channels is its own part."""
        parts: list[list[LevelKey]] = []
        left = 0
        for key in keys:
            n_bytes = min(N_PATCHES, self._n_positions(key)) * self.maps[0][key.map_key].shape[0] * 4
            if n_bytes > left:
                parts.append([])
                left = MAX_PART_BYTES
            parts[-1].append(key)
            left -= n_bytes
        return parts

    def _n_positions(self, key: LevelKey) -> int:
        return sum(maps[key.map_key].shape[1] * maps[key.map_key].shape[2] for maps in self.maps)

    def _sample(self, keys: Sequence[LevelKey]) -> Samples:
        return draw_samples(self.maps, keys, self.mask, self.random_state, self.n_threads)

    def held_out(self, keys: Sequence[LevelKey], fitted: FittedLevels) -> list[DistanceMaps]:
        """Measure the distance maps of each image by levels that were fitted without it."""

        def measure(i: int) -> DistanceMaps:
            maps, fold = self.maps[i], int(self.fold_of[i])
            return {
                key: levels.distance_map(maps, fitted[key, fold], levels.inspected_patches(maps, key, self.mask))
                for key in keys
            }

        return list(threads.ordered_map(measure, range(len(self.maps)), self.n_threads))

    def values(self, distances: Sequence[DistanceMaps], key: LevelKey) -> np.ndarray:
        """Return the distances of all inspected patches of a level as one ndarray of shape (n,)."""
        if self.mask is None:
            return np.concatenate([d[key].ravel() for d in distances])
        inspected = (levels.inspected_patches(maps, key, self.mask) for maps in self.maps)
        return np.concatenate([d[key].ravel()[which] for d, which in zip(distances, inspected)])

    def _rows(self, samples: Samples, task: Task) -> np.ndarray:
        key, fold = task
        rows, owner = samples[key]
        return rows if fold is None else rows[self.fold_of[owner] != fold][::FOLD_STEP]

    def _rng(self, purpose: int, task: Task) -> np.random.Generator:
        key, fold = task
        stream = 0 if fold is None else fold + 1
        return np.random.default_rng([self.random_state, purpose, self.keys.index(key), stream])

    def _each(
        self, phase: str, tasks: list[Task], function: Callable[[Task], T], found: dict[Task, T], n_all: int
    ) -> None:
        """Put the result of each task into `found`, in order, and report the progress towards `n_all` results."""
        for task, result in zip(tasks, threads.ordered_map(function, tasks, self.n_threads)):
            found[task] = result
            self.progress(phase, len(found), n_all)


def draw_samples(
    maps: list[FeatureMaps], keys: Sequence[LevelKey], mask: InspectionMask | None, random_state: int, n_threads: int
) -> Samples:
    """Draw the patch features that each level learns from.

    A pooled and an unpooled level of one feature map see the same positions.
    """

    def draw(key: LevelKey) -> Sample:
        rng = np.random.default_rng([random_state, _POSITIONS, key.divisor, key.output])
        n_positions = [int(np.prod(m[key.map_key].shape[1:])) for m in maps]
        inspected = [levels.inspected_patches(m, key, mask) for m in maps]
        candidates = [np.arange(n) if i is None else np.flatnonzero(i) for n, i in zip(n_positions, inspected)]
        positions = sample_positions(candidates, N_PATCHES, rng)
        rows = [feature_maps.level_patches(m, key)[p] for m, p in zip(maps, positions)]
        owner = np.repeat(np.arange(len(maps)), [len(p) for p in positions])
        return Sample(np.concatenate(rows), owner)

    return dict(zip(keys, threads.ordered_map(draw, keys, n_threads)))
