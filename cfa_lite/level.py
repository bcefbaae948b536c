"""What is learnt: levels (one image scale, one backbone output, pooled or not) and a product's limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, order=True)
class LevelKey:
    """Which features a level sees.

    Attributes
    ----------
    divisor : int
        The picture is worked at its working size divided by this, 1 or 2.
    output : int
        Index of the backbone's output.
    pooled : bool
        Whether each patch is averaged with its eight neighbours. Pooled levels alone make the
        picture's score, all levels make the map.
    """

    divisor: int
    output: int
    pooled: bool


@dataclass(frozen=True)
class Level:
    """A fitted level.

    Attributes
    ----------
    key : LevelKey
    mean : ndarray (c,) float32
    weight : ndarray (c, d) float32
        Descriptors are (patches - mean) @ weight.
    centers : ndarray (n_centers, d) float32
    distance_mean : float
        Mean distance of held-back good patches to banks that have not seen them; the unit of this
        level's distances.
    score_weight : float
        Weight of this level in the picture's score; those of all pooled levels add up to 1.
    """

    key: LevelKey
    mean: np.ndarray
    weight: np.ndarray
    centers: np.ndarray
    distance_mean: float
    score_weight: float = 0.0


@dataclass(frozen=True)
class Finish:
    """What is done with a picture's distances besides weighing them.

    Attributes
    ----------
    map_smoothing : float
        Gaussian sigma of the map that is shown, as a share of the working size's short side.
    position_mean : ndarray (h, w) float32 or None
        How much higher than elsewhere good pictures score at each place, on a coarse grid over the
        picture; taken off the map that makes the score.
    """

    map_smoothing: float
    position_mean: np.ndarray | None = None


@dataclass(frozen=True)
class PaperModel:
    """A fitted descriptor and bank of recipe `paper`.

    Attributes
    ----------
    weight : ndarray (d, c + 2) float32
        Of all stages' channels, finest first, and the two coordinates.
    bias : ndarray (d,) float32
    centers : ndarray (n_centers, d) float32
    radius : float
        As trained; scoring does not use it.
    n_neighbors : int
    certainty : bool
        Whether distances are weighted by certainty.
    """

    weight: np.ndarray
    bias: np.ndarray
    centers: np.ndarray
    radius: float
    n_neighbors: int
    certainty: bool


@dataclass(frozen=True)
class Learnt:
    """All that `fit` learns of a product; the attributes of `CFA` ending in ``_`` have the same names."""

    levels: list[Level]
    threshold: float
    map_threshold: float
    scale: float
    backbone_sha256: str
    training: dict[str, Any]
    finish: Finish | None = None
    paper: PaperModel | None = None  # recipe `paper` has this in place of levels and finish

    def to_dict(self) -> dict[str, Any]:
        """All but the arrays, JSON types only."""
        levels = [
            {
                "divisor": level.key.divisor,
                "output": level.key.output,
                "pooled": level.key.pooled,
                "channels": len(level.mean),
                "n_centers": len(level.centers),
                "distance_mean": level.distance_mean,
                "score_weight": level.score_weight,
            }
            for level in self.levels
        ]
        paper = self.paper and {
            "channels": self.paper.weight.shape[1] - 2,
            "n_centers": len(self.paper.centers),
            "radius": self.paper.radius,
            "n_neighbors": self.paper.n_neighbors,
            "certainty": self.paper.certainty,
        }
        return {
            "backbone_sha256": self.backbone_sha256,
            "threshold": self.threshold,
            "map_threshold": self.map_threshold,
            "scale": self.scale,
            "training": self.training,
            "levels": levels,
            "map_smoothing": self.finish and self.finish.map_smoothing,
            "paper": paper,
        }
