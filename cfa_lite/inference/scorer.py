"""The scorer: pixels of one image to distances, to the score and the anomaly map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ArchiveError
from ..features import feature_maps, images, tiling
from ..features.backbone import Backbone
from ..features.feature_maps import FeatureMaps, LevelKey, Tile
from ..features.mask import InspectionMask
from ..fitted import Evidence, Scored
from ..method import anomaly_map
from . import known_defects
from . import levels as levels_
from .known_defects import KnownDefects
from .levels import DistanceMaps, Level


@dataclass(frozen=True)
class Scorer:
    """Scorer of recipes "adapted" and "whitened": computes the raw anomaly map from an image's pixels.

    Attributes
    ----------
    levels : tuple of Level
    scale : float
        Working pixels per image pixel. All images of a product are processed at one scale.
    background_share : float, 0 to 1
        Share of an image's own median distance that is subtracted from its map and score.
    map_smoothing : float
        Gaussian sigma of the anomaly map as a share of the short side.
    position_mean : ndarray of shape (h, w), float32, or None
        Mean excess score of normal images at each position, on a coarse grid. It is subtracted from the score map.
    map_unit : float
        Value of the unscaled anomaly map that corresponds to a raw score of 1.0: the mean map peak of held-out normal
        images divided by their mean score.
    mask : InspectionMask or None
    known : KnownDefects or None
    offsets_px : tuple of (float, float)
        For each output of the backbone, how far down and right of its true place its feature map shows everything, in
        pixels of the network's input. The anomaly map is moved back by it; the score map is not. Empty for no offset.

    Notes
    -----
    The image score comes from the pooled levels, the anomaly map from all levels. Known defects raise both where they
    are. The map is then stretched so that its peak equals the score.
    """

    kind: ClassVar[str] = "levels"

    levels: tuple[Level, ...]
    scale: float
    background_share: float
    map_smoothing: float
    position_mean: np.ndarray | None = None
    map_unit: float = 1.0
    mask: InspectionMask | None = None
    known: KnownDefects | None = None
    offsets_px: tuple[tuple[float, float], ...] = ()

    @property
    def n_scales(self) -> int:
        """Number of scales: the working size, half of it, a quarter of it."""
        return max(level.key.divisor for level in self.levels).bit_length()

    def working_size(self, size_px: tuple[int, int], backbone: Backbone) -> tuple[int, int]:
        """Return the size (h, w) at which an image of `size_px` is processed."""
        return images.working_size(size_px, self.scale, feature_maps.unit_px(backbone, self.n_scales))

    def raw_map(self, pixels: np.ndarray, backbone: Backbone, n_threads: int) -> np.ndarray:
        """Compute the raw anomaly map of an image. Its maximum is the raw score. See `scored`."""
        return self.scored(pixels, backbone, n_threads).raw_map

    def scored(self, pixels: np.ndarray, backbone: Backbone, n_threads: int) -> Scored:
        """Compute the raw anomaly map of an image, and how far it resembles known defects.

        The distances of large images are measured tile by tile. Background, smoothing and position means belong to the
        whole image.

        Parameters
        ----------
        pixels : ndarray of shape (3, h, w), float32
            Pixels of the working size, from 0 to 255.
        backbone : Backbone
        n_threads : int
            Threads of the backbone.

        Returns
        -------
        Scored
        """
        size_px = (pixels.shape[1], pixels.shape[2])

        def measure(tile: tuple[slice, slice]) -> dict[tuple[str, LevelKey], np.ndarray]:
            maps = feature_maps.of_tile(pixels, tile, backbone, n_threads, self.n_scales)
            weights = {} if self.known is None else self.known.weights
            return levels_.tile_measures(maps, self.levels, weights, self.mask, Tile(*tile, size_px))

        unit_px, halo_px = feature_maps.unit_px(backbone, self.n_scales), feature_maps.halo_px(self.n_scales)
        stitched = tiling.stitched(size_px, unit_px, measure, halo_px)
        distances = {key: levels_.filled(d) for (what, key), d in stitched.items() if what == "distance"}
        evidence = self._evidence({key: r for (what, key), r in stitched.items() if what == "response"}, size_px)
        return self._scored(distances, size_px, evidence)

    def of_maps(self, maps: FeatureMaps, size_px: tuple[int, int]) -> Scored:
        """Do the same from the feature maps of a whole image."""
        return self._scored(self.distances(maps), size_px, self._evidence(self._responses(maps), size_px))

    def _scored(self, distances: DistanceMaps, size_px: tuple[int, int], evidence: Evidence | None) -> Scored:
        return Scored(self.combined(distances, size_px, None if evidence is None else evidence.raised), evidence)

    def _responses(self, maps: FeatureMaps) -> known_defects.Responses:
        if self.known is None:
            return {}
        return known_defects.responses(maps, self.known.weights, {level.key: level.mean for level in self.levels})

    def _evidence(self, responses: known_defects.Responses, size_px: tuple[int, int]) -> Evidence | None:
        return None if self.known is None else self.known.evidence(responses, size_px)

    def distances(self, maps: FeatureMaps) -> DistanceMaps:
        """Measure the distance maps of all levels from the feature maps of a whole image."""
        return {
            level.key: levels_.distance_map(maps, level, levels_.inspected_patches(maps, level.key, self.mask))
            for level in self.levels
        }

    def combined(
        self, distances: DistanceMaps, size_px: tuple[int, int], raised: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute the raw anomaly map from the distance maps of all levels, and what known defects add to it."""
        score = float(self._raised(self.score_map(distances, size_px), raised).max())
        return self.map_with_peak(distances, size_px, score, raised)

    def score(self, distances: DistanceMaps, size_px: tuple[int, int]) -> float:
        """Return the raw score without known defects: the maximum of the score map."""
        return float(self.score_map(distances, size_px).max())

    def _raised(self, score_map: np.ndarray, raised: np.ndarray | None) -> np.ndarray:
        """Add what known defects add to a map, except where nothing is inspected."""
        if raised is None:
            return score_map
        found = known_defects.add_raised(score_map, raised)
        inside = self._inside((score_map.shape[0], score_map.shape[1]))
        return found if inside is None else np.where(inside, found, score_map)

    def score_map(self, distances: DistanceMaps, size_px: tuple[int, int]) -> np.ndarray:
        """Compute the map of shape (h, w) whose maximum is the raw score, from the pooled levels.

        Pixels that are not inspected get its lowest value, so they cannot be the maximum.
        """
        pooled = [level for level in self.levels if level.key.pooled]
        score_map = self._weighted(
            distances,
            pooled,
            [lv.score_weight / lv.distance_mean for lv in pooled],
            size_px,
            anomaly_map.SMOOTHING_SHARE,
        )
        if self.position_mean is not None:
            score_map = anomaly_map.remove_position_mean(score_map, self.position_mean)
        inside = self._inside(size_px)
        return score_map if inside is None else np.where(inside, score_map, score_map[inside].min())

    def map_peak(self, distances: DistanceMaps, size_px: tuple[int, int]) -> float:
        """Return the maximum of the anomaly map before it is scaled to the score."""
        shown, inside = self._plain_map(distances, size_px), self._inside(size_px)
        return float(shown.max() if inside is None else shown[inside].max())

    def map_with_peak(
        self, distances: DistanceMaps, size_px: tuple[int, int], score: float, raised: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute the anomaly map of shape (h, w) and scale it to a known raw score; see `Evidence.raised`."""
        plain = self._plain_map(distances, size_px) / np.float32(self.map_unit)
        inside = self._inside(size_px)
        if raised is not None and raised.any():
            as_before = anomaly_map.to_score(plain, self.score(distances, size_px), inside)
            plain = self._raised(as_before, known_defects.sharpened(raised))
        return anomaly_map.to_score(plain, score, inside)

    def _plain_map(self, distances: DistanceMaps, size_px: tuple[int, int]) -> np.ndarray:
        weights = [1 / (level.distance_mean * len(self.levels)) for level in self.levels]
        offsets_px = [self._offset_px(level.key) for level in self.levels] if self.offsets_px else None
        return self._weighted(distances, self.levels, weights, size_px, self.map_smoothing, offsets_px)

    def _offset_px(self, key: LevelKey) -> tuple[float, float]:
        """Return how far down and right of its true place a level shows everything, in pixels of the working size."""
        down, right = self.offsets_px[key.output]
        return down * key.divisor, right * key.divisor

    def _weighted(
        self,
        distances: DistanceMaps,
        levels: tuple[Level, ...] | list[Level],
        weights: list[float],
        size_px: tuple[int, int],
        smoothing: float,
        offsets_px: list[tuple[float, float]] | None = None,
    ) -> np.ndarray:
        of_levels = (distances[level.key] for level in levels)
        weighted = anomaly_map.weighted_map(of_levels, weights, size_px, smoothing, offsets_px)
        return anomaly_map.remove_background(weighted, self.background_share, self._inside(size_px))

    def _inside(self, size_px: tuple[int, int]) -> np.ndarray | None:
        return None if self.mask is None else self.mask.inside(size_px)

    def check_channels(self, channels: list[int]) -> None:
        """Check that the levels fit a backbone whose outputs have these numbers of channels.

        Raises
        ------
        ArchiveError
            If a level does not fit.
        """
        for level in self.levels:
            if level.key.output >= len(channels) or len(level.mean) != channels[level.key.output]:
                raise ArchiveError(f"The levels do not fit the backbone's outputs ({channels} channels). Fit again.")

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, JSON types only."""
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
        return {
            "scale": self.scale,
            "background_share": self.background_share,
            "map_smoothing": self.map_smoothing,
            "map_unit": self.map_unit,
            "offsets_px": [list(offset) for offset in self.offsets_px],
            "levels": levels,
            "known_defects": None if self.known is None else self.known.to_dict(),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, for an archive."""
        arrays: dict[str, np.ndarray] = {}
        for i, level in enumerate(self.levels):
            arrays |= {f"{i}_mean": level.mean, f"{i}_weight": level.weight, f"{i}_centers": level.centers}
            if level.cells is not None:
                arrays |= {f"{i}_middles": level.cells.middles, f"{i}_listed": level.cells.listed.astype(np.float32)}
        if self.position_mean is not None:
            arrays["position_mean"] = self.position_mean
        if self.known is not None:
            arrays["known_offset"] = self.known.offset
            for i, level in enumerate(self.levels):
                if level.key in self.known.weights:
                    arrays[f"{i}_known"] = self.known.weights[level.key]
        return arrays
