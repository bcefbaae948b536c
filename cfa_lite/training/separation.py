"""Separation: how well image scores tell synthetic defects from held-out normal images, by which setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import threads
from ..features.feature_maps import FeatureMaps
from ..inference import levels
from ..inference.levels import DistanceMaps
from ..inference.scorer import Scorer
from .cross_fit import CrossFit, FittedLevels
from .extraction import NormalImage
from .held_out import HeldOutImages, PositionMeans, with_means_of_others

MIN_DEFECTS = 16  # fewer synthetic defects decide nothing


@dataclass(frozen=True)
class Decision:
    """Whether a setting is used, the gain in the area under the ROC curve that it brings, and its standard error."""

    kept: bool
    gain: float
    gain_error: float

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, JSON types only."""
        return asdict(self)


def compare(good: np.ndarray, defects: np.ndarray, new_good: np.ndarray, new_defects: np.ndarray) -> Decision:
    """Compare two settings by the area under the ROC curve, on the same normal images and the same defects.

    Parameters
    ----------
    good, new_good : ndarray of shape (n,)
        Scores of held-out normal images by the one setting and by the new one.
    defects, new_defects : ndarray of shape (m,)
        Scores of synthetic defects.

    Returns
    -------
    Decision
        For the new setting. It is kept if it gains more than one standard error.

    Notes
    -----
    The standard error is that of two correlated areas (DeLong, DeLong and Clarke-Pearson 1988).
    """
    change = _placements(new_good, new_defects) - _placements(good, defects)
    of_defects, of_good = change.mean(axis=1), change.mean(axis=0)
    variance = of_defects.var(ddof=1) / len(of_defects) + of_good.var(ddof=1) / len(of_good)
    gain = float(change.mean())
    error = float(np.sqrt(variance))
    return Decision(gain > error, gain, error)


def _placements(good: np.ndarray, defects: np.ndarray) -> np.ndarray:
    """Return for each defect and normal image (m, n) whether the defect scores higher; ties count one half."""
    return np.asarray((defects[:, None] > good) + 0.5 * (defects[:, None] == good))


@dataclass(frozen=True)
class DefectScores:
    """Synthetic defects on images, measured by levels that were fitted without these images.

    Attributes
    ----------
    image_of : list of int
        Position of the image that each defect is on.
    distances : list of DistanceMaps
        One per defect.
    held_out : HeldOutImages
    """

    image_of: list[int]
    distances: list[DistanceMaps]
    held_out: HeldOutImages

    @classmethod
    def measure(
        cls, images: Sequence[NormalImage], cross: CrossFit, fitted: FittedLevels, held_out: HeldOutImages
    ) -> DefectScores:
        """Measure the defects by the pooled levels, without those that were painted on a part of a large image."""
        defects = [
            (i, defect.maps)
            for i, image in enumerate(images)
            for defect in image.defects
            if all(defect.maps[key].shape == image.maps[key].shape for key in image.maps)
        ]
        keys = [key for key in cross.keys if key.pooled]

        def one(defect: tuple[int, FeatureMaps]) -> DistanceMaps:
            i, maps = defect
            fold = int(cross.fold_of[i])
            return {
                key: levels.distance_map(maps, fitted[key, fold], levels.inspected_patches(maps, key, cross.mask))
                for key in keys
            }

        distances = list(threads.ordered_map(one, defects, held_out.n_threads))
        return cls([i for i, _ in defects], distances, held_out)

    def scores(self, scorer: Scorer, means: PositionMeans | None = None) -> np.ndarray:
        """Return the raw score (m,) of each defect, by position means without its image, if there are any."""
        sizes = self.held_out.images.working_sizes_px

        def one(defect: tuple[int, DistanceMaps]) -> float:
            i, distances = defect
            return with_means_of_others(scorer, means, i).score(distances, sizes[i])

        pairs = list(zip(self.image_of, self.distances))
        return np.array(list(threads.ordered_map(one, pairs, self.held_out.n_threads)))

    def check_position_means(
        self, scorer: Scorer, means: PositionMeans, good: np.ndarray, new_good: np.ndarray
    ) -> Decision | None:
        """Decide whether position means help; None if there are too few defects to decide.

        `good` and `new_good`, of shape (n,), are the scores of the held-out images without and with them.

        Where good parts lie at any angle or place, a position's mean says nothing about a new part, and subtracting it
        hides defects where parts usually are.
        """
        if len(self.distances) < MIN_DEFECTS:
            return None
        return compare(good, self.scores(scorer), new_good, self.scores(scorer, means))
