"""The published scorer: pooled maps of all stages, one linear descriptor, one bank, certainty-weighted distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ArchiveError
from ..features import patches
from ..features.backbone import Backbone
from ..features.feature_cache import Features
from ..features.mask import InspectionMask
from ..fitted import Scored
from ..method import anomaly_map, neighbors
from . import certainty, coordinates
from .coordinates import CoordLinear

Pooled = list[np.ndarray]  # one map (c, h, w) per stage, the finest first
ARRAYS = ("weight", "bias", "centers")


@dataclass(frozen=True)
class PublishedScorer:
    """Scorer of the published recipe: computes the raw anomaly map from an image's pixels.

    Attributes
    ----------
    weight : ndarray of shape (d, c + 2), float32
        Columns: the channels of all stages, the finest stage first, and the two coordinates.
    bias : ndarray of shape (d,), float32
    centers : ndarray of shape (n_centers, d), float32
    radius : float
        Trained radius. Scoring does not use it.
    n_neighbors : int
    certainty : bool
        Whether distances are weighted by certainty.
    working_px : (int, int)
        Height and width at which every image is processed.
    scale : float
        Working pixels per pixel of the median image.
    mask : InspectionMask or None
    """

    kind: ClassVar[str] = "published"

    weight: np.ndarray
    bias: np.ndarray
    centers: np.ndarray
    radius: float
    n_neighbors: int
    certainty: bool
    working_px: tuple[int, int]
    scale: float
    mask: InspectionMask | None = None
    known: ClassVar[None] = None

    def working_size(self, size_px: tuple[int, int], backbone: Backbone) -> tuple[int, int]:
        """Return `working_px`: as published, every image is resized to one size."""
        return self.working_px

    def raw_map(self, pixels: np.ndarray, backbone: Backbone, n_threads: int) -> np.ndarray:
        """Compute the raw anomaly map of an image. Its maximum is the raw score; it is 0 where nothing is inspected.

        Parameters
        ----------
        pixels : ndarray of shape (3, h, w), float32
            Pixels of the working size, from 0 to 255.
        backbone : Backbone
        n_threads : int
            Threads of the backbone.

        Returns
        -------
        ndarray of shape (h, w), float32
        """
        return self.map_of(pooled_maps(pixels, backbone, n_threads))

    def scored(self, pixels: np.ndarray, backbone: Backbone, n_threads: int) -> Scored:
        """Compute the raw anomaly map. This kind of model knows no defects."""
        return Scored(self.raw_map(pixels, backbone, n_threads))

    def map_of(self, pooled: Pooled) -> np.ndarray:
        """Compute the raw anomaly map of shape (h, w) from the pooled maps of an image."""
        raw_map = map_of_distances(self.distances_sq(pooled), pooled[0].shape[1:], self.certainty, self.working_px)
        return raw_map if self.mask is None else np.where(self.mask.inside(self.working_px), raw_map, np.float32(0))

    def distances_sq(self, pooled: Pooled) -> np.ndarray:
        """Return the squared distances (n_patches, K) of the patches to their nearest centers."""
        descriptors = coordinates.describe(pooled, CoordLinear(self.weight, self.bias))
        return neighbors.nearest_k(descriptors, self.centers, self.n_neighbors)[1]

    def check_channels(self, channels: list[int]) -> None:
        """Check that the descriptor fits a backbone whose outputs have these numbers of channels.

        Raises
        ------
        ArchiveError
            If the descriptor does not fit.
        """
        if self.weight.shape[1] != sum(channels) + 2:
            raise ArchiveError(f"The descriptor does not fit the backbone's outputs ({channels} channels). Fit again.")

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, JSON types only."""
        return {
            "scale": self.scale,
            "published": {
                "channels": self.weight.shape[1] - 2,
                "n_centers": len(self.centers),
                "radius": self.radius,
                "n_neighbors": self.n_neighbors,
                "certainty": self.certainty,
                "working_px": list(self.working_px),
            },
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, for an archive."""
        return {name: getattr(self, name) for name in ARRAYS}


def pooled_maps(pixels: np.ndarray, backbone: Backbone, n_threads: int = 1) -> Pooled:
    """Compute the pooled feature maps of an image's pixels (3, h, w), the finest grid first."""
    maps = backbone.maps(pixels, n_threads)
    order = np.argsort(backbone.spec.strides, kind="stable")
    return [patches.pool(maps[i]) for i in order]


def loaded(kept: Sequence[Features]) -> Pooled:
    """Load the pooled maps of a training image from memory or from the feature cache."""
    return [np.asarray(stage) for stage in kept]


def map_of_distances(
    distances_sq: np.ndarray, grid: tuple[int, ...], with_certainty: bool, size_px: tuple[int, int]
) -> np.ndarray:
    """Turn squared distances (n_patches, K) into patch scores, and those into a smoothed map of `size_px`."""
    scores = certainty.certainty_score(distances_sq) if with_certainty else np.sqrt(distances_sq[:, 0])
    return certainty.smooth_map(scores.reshape(grid), size_px, anomaly_map.SMOOTHING_SHARE * min(size_px))
