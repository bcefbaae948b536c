"""Directions of all defects: those of a model, and those that are needed to leave each image out in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..features.feature_maps import LevelKey
from ..fitted import TaughtImage
from ..inference.levels import Level
from ..method import defect_directions, kmeans, neighbors
from ..method.defect_directions import Spread
from . import places

MAX_SINGLE = 24  # more images than this are grouped, so that the time of an inspection does not grow with them
MAX_CHECKED = 24  # images that are left out in turn


@dataclass(frozen=True)
class Directions:
    """The prototypes from which directions are computed.

    Attributes
    ----------
    prototypes : ndarray of shape (n_directions, d)
    kinds : tuple of str
        Names of the kinds.
    kind_of : ndarray of shape (n_directions,), int
    of_model : ndarray of int
        Directions of the model.
    without : dict of int to ndarray of int
        For each image that is left out, the directions that it has no part in.
    """

    prototypes: np.ndarray
    kinds: tuple[str, ...]
    kind_of: np.ndarray
    of_model: np.ndarray
    without: dict[int, np.ndarray]

    def weights(self, normal: Spread, scales: np.ndarray, levels: Sequence[Level]) -> dict[LevelKey, np.ndarray]:
        """Compute the weights (c, n_directions) of each pooled level, given the spread of scaled descriptors."""
        of_descriptors = self.of_descriptors(normal, scales)
        found, start = {}, 0
        for level in places.pooled(levels):
            stop = start + level.weight.shape[1]
            found[level.key] = level.weight @ of_descriptors[start:stop]
            start = stop
        return found

    def of_descriptors(self, normal: Spread, scales: np.ndarray) -> np.ndarray:
        """Compute the weights (d, n_directions) of descriptors."""
        found = defect_directions.directions(self.prototypes / scales, normal)
        return np.asarray(found / scales[:, None], np.float32)


def of_images(taught: Sequence[TaughtImage], random_state: int) -> Directions:
    """Return one direction for each image, and one for each kind with several images.

    More than `MAX_SINGLE` images are grouped by K-means within each kind.
    """
    prototypes = np.stack([image.prototype for image in taught])
    kinds = tuple(sorted({image.kind for image in taught}))
    kind_of_image = np.array([kinds.index(image.kind) for image in taught])
    groups: list[np.ndarray] = []
    for kind in range(len(kinds)):
        members = np.flatnonzero(kind_of_image == kind)
        groups += _parts(prototypes, members, len(taught), random_state)
        if len(members) > 1:
            groups.append(members)
    groups = [np.array(group) for group in dict.fromkeys(tuple(group.tolist()) for group in groups)]
    checked = np.unique(np.linspace(0, len(taught) - 1, min(len(taught), MAX_CHECKED)).round().astype(int))
    rows, of_kind = [], []
    without: dict[int, list[int]] = {int(j): [] for j in checked}
    for place, group in enumerate(groups):
        rows.append(prototypes[group].mean(axis=0))
        of_kind.append(kind_of_image[group[0]])
        for left_out, used in without.items():
            if left_out not in group:
                used.append(place)
    for group in groups:
        for left_out in (int(j) for j in group if j in without and len(group) > 1):
            without[left_out].append(len(rows))
            rows.append(prototypes[group[group != left_out]].mean(axis=0))
            of_kind.append(kind_of_image[group[0]])
    usable = {j: np.array(used) for j, used in without.items() if used}  # a single image leaves nothing
    return Directions(np.stack(rows), kinds, np.array(of_kind), np.arange(len(groups)), usable)


def _parts(prototypes: np.ndarray, members: np.ndarray, n_images: int, random_state: int) -> list[np.ndarray]:
    """Divide the images of a kind into parts, one image each if there are not too many."""
    if n_images <= MAX_SINGLE:
        return [members[[i]] for i in range(len(members))]
    n_parts = max(1, MAX_SINGLE * len(members) // n_images)
    points = np.ascontiguousarray(prototypes[members], np.float32)
    centers = kmeans.kmeans(points, n_parts, np.random.default_rng(random_state)).centers
    labels, _ = neighbors.nearest(points, centers)
    return [members[labels == part] for part in np.unique(labels)]
