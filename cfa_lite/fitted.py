"""What is learnt: levels (one image scale, one backbone output, pooled or not) and a product's limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .features.images import ValueRange
from .features.mask import InspectionMask
from .method import neighbors
from .method.limits import Limits


@dataclass(frozen=True, order=True)
class LevelKey:
    """Which features a level sees.

    Attributes
    ----------
    divisor : int
        The image is worked at its working size divided by this, 1 or 2.
    output : int
        Index of the backbone's output.
    pooled : bool
        Whether each patch is averaged with its eight neighbours. Pooled levels alone make the
        image's score, all levels make the map.
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
        Mean distance of held-out good patches to banks that have not seen them; the unit of this
        level's distances.
    score_weight : float
        Weight of this level in the image's score; those of all pooled levels add up to 1.
    """

    key: LevelKey
    mean: np.ndarray
    weight: np.ndarray
    centers: np.ndarray
    distance_mean: float
    score_weight: float = 0.0

    @cached_property
    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Descriptor and bank as what `neighbors.distances` multiplies with, made when first asked for."""
        return neighbors.folded(self.weight, self.centers)


@dataclass(frozen=True)
class Finish:
    """What is done with an image's distances besides weighing them.

    Attributes
    ----------
    map_smoothing : float
        Gaussian sigma of the map that is shown, as a share of the working size's short side.
    position_mean : ndarray (h, w) float32 or None
        How much higher than elsewhere good images score at each place, on a coarse grid over the
        image; taken off the map that makes the score.
    map_unit : float
        Value of the map that is shown that is as high as a score of 1: the ratio of their means over good images.
    """

    map_smoothing: float
    position_mean: np.ndarray | None = None
    map_unit: float = 1.0


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
    """All that `fit` learns of a product; the attributes of `CFA` ending in ``_`` have the same names.

    `good_scores` and `good_groups` are of the good images that made `limits`; `history` holds earlier limits, the
    oldest first.
    """

    levels: list[Level]
    limits: Limits
    good_scores: np.ndarray
    good_groups: np.ndarray
    scale: float
    backbone_sha256: str
    training: dict[str, Any]
    finish: Finish | None = None
    paper: PaperModel | None = None  # recipe `paper` has this in place of levels and finish
    area: InspectionMask | None = None
    value_range: ValueRange | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

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
            "limits": self.limits.to_dict(),
            "history": self.history,
            "scale": self.scale,
            "training": self.training,
            "levels": levels,
            "map_smoothing": self.finish and self.finish.map_smoothing,
            "map_unit": self.finish and self.finish.map_unit,
            "paper": paper,
            "value_range": self.value_range and list(self.value_range),
            "area_share": self.area and self.area.share,
        }


@dataclass(frozen=True)
class HeldOut:
    """A good image as seen by what had not seen it: its raw map (h, w), whose maximum is its raw score."""

    name: str
    size_px: tuple[int, int]
    raw_map: np.ndarray


@dataclass(frozen=True)
class Fit:
    """What `fit` gives: what was learnt, and what is only told of it.

    `unlike` are the good images with the highest scores, those left out first; `skipped` are names and messages of
    images that could not be used; `epochs` is the training report of recipe `paper`.
    """

    learnt: Learnt
    unlike: list[HeldOut]
    skipped: list[tuple[str, str]]
    epochs: list[dict[str, float]] = field(default_factory=list)
