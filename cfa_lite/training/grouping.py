"""Grouping: which good images belong together, by content and by a pattern of file names, given or found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..features.feature_cache import Features
from ..parameters import NO_GROUPS
from . import name_patterns, near_duplicates

STRONG_P, STRONG_RISE = 0.001, 1.1  # evidence that groups images
WEAK_P, WEAK_RISE = 0.01, 1.05  # evidence that is told
NEARLY_BEST = 0.75  # share of the largest rise, in logarithms, that a finer pattern must reach


@dataclass(frozen=True)
class NamePattern:
    """A pattern of file names whose groups resemble each other.

    Attributes
    ----------
    pattern : str
        Regular expression. Images whose names match with the same text are a group.
    n_groups : int
    p_value : float
        Probability that so many nearest neighbors share a group by chance, times the number of patterns tried.
    rise : float
        Median factor by which the distance of an image to its nearest neighbor rises without its group.
    is_strong : bool
        Whether the images are grouped by it. Otherwise the pattern is only told.
    """

    pattern: str
    n_groups: int
    p_value: float
    rise: float
    is_strong: bool

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dictionary of JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Grouping:
    """Groups of images (n,), and the pattern that was found in their names, if any."""

    groups: np.ndarray
    found: NamePattern | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what the model file tells about the pattern, JSON types only."""
        return {"name_pattern": self.found and self.found.to_dict()}


def find(maps: Sequence[Features], names: Sequence[str], group_by: str | None) -> Grouping:
    """Group images by their content, and by their file names.

    Parameters
    ----------
    maps : sequence of Features of shape (c, h, w)
        The coarsest feature map of each image.
    names : sequence of str
    group_by : str or None
        A regular expression, "none", or None to look for a pattern in the names.

    Raises
    ------
    ValueError
        If the pattern is not a regular expression.
    """
    distances_sq = near_duplicates.distances_sq(maps)
    found = find_pattern(np.sqrt(distances_sq), names) if group_by is None else None
    pattern = found.pattern if found is not None and found.is_strong else group_by
    by_name = None if pattern in (None, NO_GROUPS) else near_duplicates.groups_by_name(names, str(pattern))
    return Grouping(near_duplicates.joined(distances_sq, by_name), found)


def pattern_of(group_by: str | None, training: dict[str, Any]) -> str | None:
    """Return the pattern for other images of a fitted model: the given one, or the one that grouped its images.

    Parameters
    ----------
    group_by : str or None
        As for `find`.
    training : dict
        Origin of the model.
    """
    found = training.get("name_pattern")
    if group_by is None and found and found["is_strong"]:
        return str(found["pattern"])
    return None if group_by == NO_GROUPS else group_by


def of_names(names: Sequence[str], group_by: str | None, training: dict[str, Any]) -> np.ndarray:
    """Group images (n,) by their file names alone, by the pattern that `pattern_of` returns."""
    pattern = pattern_of(group_by, training)
    return np.arange(len(names)) if pattern is None else near_duplicates.groups_by_name(names, pattern)


def find_pattern(distances: np.ndarray, names: Sequence[str]) -> NamePattern | None:
    """Find the pattern of file names whose groups explain which images resemble each other.

    Parameters
    ----------
    distances : ndarray of shape (n, n)
        Distances between the images; infinite where two cannot be compared.
    names : sequence of str

    Returns
    -------
    NamePattern or None
        None if there is no evidence for any pattern.

    Notes
    -----
    Two tests, both without labels. More pairs of nearest neighbors share a group than by chance: a pair that is
    mutual counts once, and the binomial p-value is multiplied by the number of patterns tried (Bonferroni). And the
    distance to the nearest neighbor rises when the image's group is held out: similarity within groups makes limits
    too low only if the other groups cannot replace them. Of the patterns that pass, the one with the most groups is
    taken whose rise is nearly the largest, because every group that is lost raises the rate that can be promised.
    """
    tried: dict[bytes, tuple[str, np.ndarray]] = {}
    for pattern in name_patterns.candidates(names):
        groups = near_duplicates.groups_by_name(names, pattern)
        n_groups = int(groups.max()) + 1
        if n_groups >= name_patterns.MIN_GROUPS and len(names) >= name_patterns.MIN_IMAGES * n_groups:
            tried.setdefault(groups.tobytes(), (pattern, groups))
    if not tried:
        return None
    distances = distances.copy()
    np.fill_diagonal(distances, np.inf)
    passed = []
    for pattern, groups in tried.values():
        p_value = min(1.0, len(tried) * p_shared(distances, groups))
        if p_value < WEAK_P:
            rise = held_out_rise(distances, groups)
            is_strong = p_value < STRONG_P and rise >= STRONG_RISE
            passed.append(NamePattern(pattern, int(groups.max()) + 1, p_value, rise, is_strong))
    strong = [one for one in passed if one.is_strong] or [one for one in passed if one.rise >= WEAK_RISE]
    if not strong:
        return None
    enough = NEARLY_BEST * max(math.log(one.rise) for one in strong)
    return max((one for one in strong if math.log(one.rise) >= enough), key=lambda one: one.n_groups)


def p_shared(distances: np.ndarray, groups: np.ndarray) -> float:
    """Compute the probability that at least as many pairs of nearest neighbors share a group by chance.

    Parameters
    ----------
    distances : ndarray of shape (n, n)
        With an infinite diagonal.
    groups : ndarray of shape (n,), int
    """
    from scipy.special import bdtrc

    same, comparable = groups[:, None] == groups, np.isfinite(distances)
    has = comparable.any(axis=1)
    pairs = np.stack([np.arange(len(groups)), distances.argmin(axis=1)], axis=1)[has]
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    if not len(pairs):
        return 1.0
    n_shared = int(same[pairs[:, 0], pairs[:, 1]].sum())
    return float(bdtrc(n_shared - 1, len(pairs), same[comparable].mean())) if n_shared else 1.0


def held_out_rise(distances: np.ndarray, groups: np.ndarray) -> float:
    """Compute the median factor by which the distance to the nearest neighbor rises without an image's group.

    Parameters
    ----------
    distances : ndarray of shape (n, n)
        With an infinite diagonal.
    groups : ndarray of shape (n,), int

    Returns
    -------
    float
        At least 1. Images that are alone in their group, or have no neighbor outside it, do not count.
    """
    same = groups[:, None] == groups
    nearest, outside = distances.min(axis=1), np.where(same, np.inf, distances).min(axis=1)
    counts = np.isfinite(np.where(same, distances, np.inf).min(axis=1)) & np.isfinite(outside)
    if not counts.any():
        return 1.0
    tiny = float(np.finfo(np.float32).tiny)  # equal images
    return float(np.median(np.maximum(outside, tiny)[counts] / np.maximum(nearest, tiny)[counts]))
