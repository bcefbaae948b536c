"""Good images that are near-duplicates, as the frames of a burst: they cannot vouch for one another."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from ..features.feature_cache import Features

ALIKE = 0.35  # of the median distance between two good images; DESIGN.md, near-duplicates


def groups(maps: Sequence[Features], by_name: np.ndarray | None = None) -> np.ndarray:
    """Group (n,) of each image: those whose coarse feature maps are far nearer than two images usually are.

    Parameters
    ----------
    maps : sequence of Features (c, h, w)
        The coarsest feature map of each image. Images of different grids are never alike.
    by_name : ndarray (n,) of int, optional
        Groups that are known already; what they join stays joined.
    """
    from scipy.sparse import csgraph

    n = len(maps)
    near = np.zeros((n, n), bool) if by_name is None else by_name[:, None] == by_name
    shapes = np.array([m.shape for m in maps])
    for shape in np.unique(shapes, axis=0):
        at = np.flatnonzero((shapes == shape).all(axis=1)).tolist()
        if len(at) < 3:  # of two nobody can say what is usual
            continue
        points = np.stack([np.asarray(maps[i], np.float32) for i in at])
        points -= points.mean(axis=0)
        points /= points.std(axis=(0, 2, 3), keepdims=True) + np.float32(1e-6)  # each channel counts alike
        points = points.reshape(len(at), -1)
        norms = np.einsum("ij,ij->i", points, points)
        distance_sq = np.maximum(norms[:, None] + norms - 2 * (points @ points.T), 0)
        usual_sq = np.median(distance_sq[np.triu_indices(len(at), 1)])
        near[np.ix_(at, at)] |= distance_sq < ALIKE**2 * usual_sq
    return csgraph.connected_components(near, directed=False)[1]


def groups_by_name(names: Sequence[str], pattern: str) -> np.ndarray:
    """Group (n,) of each image by what a regular expression finds in its file name.

    What its first group matched counts, or all of it where it has none. A name without a match is on its own.

    Raises
    ------
    ValueError
        If the pattern is not a regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group_by={pattern!r}: not a regular expression ({error})") from error
    keys = []
    for i, name in enumerate(names):
        match = compiled.search(os.path.basename(name))
        keys.append(("match", *(match.groups() or (match.group(),))) if match else ("alone", i))
    known: dict[tuple, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys])


def find(maps: Sequence[Features], names: Sequence[str], pattern: str | None) -> np.ndarray:
    """Group (n,) of each image, by its file name if there is a pattern, and by what it shows. Raises as above."""
    return groups(maps, None if pattern is None else groups_by_name(names, pattern))
