"""Groups of dependent images: near-duplicates, such as the frames of a burst, and images grouped by file name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..features.feature_cache import Features

MAX_DISTANCE = 0.35  # largest distance of near-duplicates, as a share of the median distance between two normal images


def distances_sq(maps: Sequence[Features]) -> np.ndarray:
    """Compute squared distances between coarse feature maps, each channel with the same weight.

    Parameters
    ----------
    maps : sequence of Features of shape (c, h, w)
        The coarsest feature map of each image.

    Returns
    -------
    ndarray of shape (n, n), float32
        In units of the median of all pairs with the same grid. Infinite between images with different grids, and
        where no distance is typical.
    """
    n = len(maps)
    found = np.full((n, n), np.inf, np.float32)
    shapes = np.array([m.shape for m in maps])
    for shape in np.unique(shapes, axis=0):
        at = np.flatnonzero((shapes == shape).all(axis=1)).tolist()
        if len(at) < 3:  # two images do not show which distance is typical
            continue
        points = np.stack([np.asarray(maps[i], np.float32) for i in at])
        points -= points.mean(axis=0)
        points /= points.std(axis=(0, 2, 3), keepdims=True) + np.float32(1e-6)  # every channel has the same weight
        points = points.reshape(len(at), -1)
        norms = np.einsum("ij,ij->i", points, points)
        of_shape = np.maximum(norms[:, None] + norms - 2 * (points @ points.T), 0)
        typical_sq = np.median(of_shape[np.triu_indices(len(at), 1)])
        if typical_sq > 0:
            found[np.ix_(at, at)] = of_shape / typical_sq
    return found


def groups(maps: Sequence[Features], by_name: np.ndarray | None = None) -> np.ndarray:
    """Group images whose coarse feature maps are far closer to each other than those of typical pairs of images.

    Parameters
    ----------
    maps : sequence of Features of shape (c, h, w)
        The coarsest feature map of each image. Images with different grids are never near-duplicates.
    by_name : ndarray of shape (n,), int, optional
        Groups that are already known. They are kept together.

    Returns
    -------
    ndarray of shape (n,), int
    """
    return joined(distances_sq(maps), by_name)


def joined(distances_sq: np.ndarray, by_name: np.ndarray | None) -> np.ndarray:
    """Group images (n,) by the distances between them, and keep known groups together: see `groups`."""
    from scipy.sparse import csgraph

    near = distances_sq < MAX_DISTANCE**2
    if by_name is not None:
        near |= by_name[:, None] == by_name
    return np.asarray(csgraph.connected_components(near, directed=False)[1])


def groups_by_name(names: Sequence[str], pattern: str) -> np.ndarray:
    """Group images whose file names match a regular expression with the same text.

    The texts of all groups of the expression are compared, or the whole match if it has no group. An image without a
    match is a group of its own.

    Returns
    -------
    ndarray of shape (n,), int

    Raises
    ------
    ValueError
        If the pattern is not a regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group_by={pattern!r} is not a regular expression ({error}).") from error
    keys: list[tuple[object, ...]] = []
    for i, name in enumerate(names):
        match = compiled.search(Path(name).name)
        keys.append(("match", *(match.groups() or (match.group(),))) if match else ("alone", i))
    known: dict[tuple[object, ...], int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys])
