"""Known defects: directions in descriptor space that raise the anomaly map where an image resembles a taught defect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..features import feature_maps
from ..features.feature_maps import FeatureMaps, LevelKey
from ..fitted import Evidence
from ..method import anomaly_map, resampling
from ..method.regions import Tell

_SHARPNESS = 5
MIN_CELL_PX = 8  # of the grid on which defects are known: the finest grid with cells of at least this size

Responses = dict[LevelKey, np.ndarray]  # each (n_directions, h, w) float32, on the level's own grid


@dataclass(frozen=True)
class KnownDefects:
    """What a model was taught about defects.

    Attributes
    ----------
    weights : dict of LevelKey to ndarray of shape (c, n_directions), float32
        One entry for each pooled level. The response of a patch is (patch - mean of the level) @ weight.
    offset : ndarray of shape (n_directions,), float32
        Added to the sum of the responses of all levels.
    gain : float
        Raw score per unit of response above 0.
    kinds : tuple of str
        Names of the kinds.
    kind_of : ndarray of shape (n_directions,), int
        Index of the kind of each direction.
    told_from : tuple of float
        A region is said to be of a kind if its response is at least this; infinite for a kind that is never told.
    certainty : tuple of float
        For each kind, how often it was right to tell it for images that were left out.
    """

    weights: Mapping[LevelKey, np.ndarray]
    offset: np.ndarray
    gain: float
    kinds: tuple[str, ...]
    kind_of: np.ndarray
    told_from: tuple[float, ...]
    certainty: tuple[float, ...]

    def evidence(self, responses: Responses, size_px: tuple[int, int]) -> Evidence:
        """Combine the responses of all levels of an image of the working size `size_px` (h, w)."""
        total = summed(responses, grid_of({key: r.shape[1:] for key, r in responses.items()}, size_px))
        total += self.offset[:, None, None]
        of_kinds = np.stack([total[self.kind_of == kind].max(axis=0) for kind in range(len(self.kinds))])
        return Evidence(of_kinds, raised(of_kinds.max(axis=0), self.gain))

    def kind_at(self, evidence: Evidence, size_px: tuple[int, ...]) -> Tell:
        """Return a function that tells the kind of a region, and how often such an answer was right.

        The function takes the rows and columns (n,) of the region's pixels in a map of `size_px` (h, w). Its answer is
        "unknown" and None if no kind can be told.
        """
        h, w = evidence.raised.shape

        def tell(rows: np.ndarray, columns: np.ndarray) -> tuple[str, float | None]:
            of_kinds = evidence.of_kinds[:, rows * h // size_px[0], columns * w // size_px[1]].max(axis=1)
            kind = int(of_kinds.argmax())
            if of_kinds[kind] < self.told_from[kind]:
                return UNKNOWN, None
            return self.kinds[kind], self.certainty[kind]

        return tell

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, JSON types only."""
        return {
            "gain": self.gain,
            "kinds": list(self.kinds),
            "kind_of": self.kind_of.tolist(),
            "told_from": [None if np.isinf(value) else value for value in self.told_from],
            "certainty": list(self.certainty),
        }


UNKNOWN = "unknown"


def raised(response: np.ndarray, gain: float) -> np.ndarray:
    """Return what responses (h, w) add to the anomaly map: nothing up to 0."""
    return np.asarray(np.maximum(response, np.float32(0)) * np.float32(gain))


def sharpened(added: np.ndarray) -> np.ndarray:
    """Narrow what is added to the anomaly map (h, w) around its peak, which keeps its height.

    Directions see a wide surrounding of each place, so what they add is wider than the defect.
    """
    peak = added.max()
    return np.asarray(added * (added / peak) ** _SHARPNESS) if peak > 0 else added


def add_raised(score_map: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Add a map on the grid of the known defects, resized bilinearly, to a map of the working size."""
    if not added.any():
        return score_map
    total = score_map.copy()
    anomaly_map.add_resized(added, 0.0, total)
    return total


def grid_of(grids: Mapping[LevelKey, tuple[int, ...]], size_px: tuple[int, int]) -> tuple[int, int]:
    """Return the grid (h, w) on which defects are known, given the grids of all levels."""
    fits = [grid for grid in grids.values() if size_px[0] >= grid[0] * MIN_CELL_PX]
    h, w = max(fits) if fits else min(grids.values())
    return h, w


def responses(
    maps: FeatureMaps, weights: Mapping[LevelKey, np.ndarray], means: Mapping[LevelKey, np.ndarray]
) -> Responses:
    """Compute the responses of all patches of an image or of a tile."""
    found = {}
    for key, weight in weights.items():
        grid = maps[key.map_key].shape[1:]
        found[key] = (weight.T @ (feature_maps.level_patches(maps, key) - means[key]).T).reshape(-1, *grid)
    return found


def summed(maps: Mapping[LevelKey, np.ndarray], grid: tuple[int, int]) -> np.ndarray:
    """Resize maps of all levels to one grid and sum them up: ndarray of shape (n, h, w), float32."""
    resized: Sequence[np.ndarray] = [resampling.to_grid(one, grid) for one in maps.values()]
    return np.asarray(np.sum(resized, axis=0))
