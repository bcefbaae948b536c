"""A published scorer from the contents of a ``.cfa`` file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..features.mask import InspectionMask
from ..storage.checks import positive
from .scorer import ARRAYS, PublishedScorer


def restore_published(
    meta: dict[str, Any], arrays: dict[str, np.ndarray], mask: InspectionMask | None
) -> PublishedScorer:
    """Restore a published scorer; its arrays are removed from `arrays`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a value is missing or out of its range.
    """
    entry = meta["published"]
    weight, bias, centers = (arrays.pop(name) for name in ARRAYS)
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or centers.ndim != 2 or centers.shape[1] != len(weight):
        raise ValueError(f"the descriptor has shapes {weight.shape}, {bias.shape}, {centers.shape}")
    n_neighbors, radius = int(entry["n_neighbors"]), float(entry["radius"])
    if not 1 <= n_neighbors <= len(centers):
        raise ValueError(f"n_neighbors is {n_neighbors} of {len(centers)} centers")
    if not np.isfinite(radius):
        raise ValueError(f"radius is {radius}")
    height, width = entry["working_px"]
    if not (isinstance(height, int) and isinstance(width, int) and 0 < height < 1 << 20 and 0 < width < 1 << 20):
        raise ValueError(f"working_px is {entry['working_px']!r}")
    scale = positive(meta["scale"], "scale")
    certainty = bool(entry["certainty"])
    return PublishedScorer(weight, bias, centers, radius, n_neighbors, certainty, (height, width), scale, mask)
