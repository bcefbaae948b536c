"""Between bank and scoring, recipe `adapted`: a level's descriptor trained a little, and the check that it helps.

The start is the shrunk whitening with its K-means bank. The coupled-hypersphere loss pulls descriptors to their
centers and pushes the next centers away; the map's determinant is held, since attraction alone would shrink it
to nothing, and it moves no farther than `DRIFT`, since farther it loses (DESIGN.md, recipe `adapted`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..fitted import Level
from ..method import hypersphere_loss, memory_bank, neighbors, resampling, whitening
from ..parameters import LossSettings

DRIFT = 0.1  # |A - 1| / |1|, of descriptors (patches - mean) @ weight @ A
N_STEPS = 24
BATCH = 2048  # patches a step
EMA_RATE = 0.05
N_NEIGHBORS = N_HARD_NEGATIVES = 3
MARGIN = 0.1  # of the squared radius
_RADIUS_PATCHES = 4096
_DEFECT_SHARE = 0.5  # a patch is defective if so much of its cell is, or the most of any


@dataclass(frozen=True)
class Trained:
    """A trained level; loss of the first and of the last batch; how far the map moved."""

    level: Level
    first_loss: float
    last_loss: float
    drift: float


def train(start: Level, patches: np.ndarray, rng: np.random.Generator) -> Trained:
    """Train a level's descriptor by the coupled-hypersphere loss at a fixed volume.

    Parameters
    ----------
    start : Level
    patches : ndarray (n, c) float32
        Patch features of good images, those that the bank was made of.
    rng : numpy.random.Generator

    Notes
    -----
    With x the start's descriptors, A is trained in x @ A from A = 1. Of the gradient of the loss what would
    change log|det A| is taken away, the step has the length DRIFT / N_STEPS whatever the loss's unit, and
    A is scaled back to |det A| = 1, which removes the rest of second order. The squared radius is the median
    squared distance to the K nearest centers, so both terms live from the first step. The bank follows by EMA.
    """
    centers = start.centers
    if N_NEIGHBORS + N_HARD_NEGATIVES > len(centers):
        return Trained(start, 0.0, 0.0, 0.0)
    points = whitening.describe(patches, start.mean, start.weight)
    n_channels = points.shape[1]
    order = rng.permutation(len(points))
    _, distance_sq = neighbors.nearest_k(points[order[:_RADIUS_PATCHES]], centers, N_NEIGHBORS)
    radius_sq = float(np.median(distance_sq))
    settings = LossSettings(N_NEIGHBORS, N_HARD_NEGATIVES, MARGIN * radius_sq, nu=1.0)
    change = np.eye(n_channels)
    step = DRIFT / N_STEPS * np.sqrt(n_channels)
    losses = []
    first = 0
    for _ in range(N_STEPS):
        if first + BATCH > len(order):
            order, first = rng.permutation(len(points)), 0
        batch = points[order[first : first + BATCH]]
        first += BATCH
        described = batch @ change.astype(np.float32)
        nearest = neighbors.nearest_k(described, centers, N_NEIGHBORS + N_HARD_NEGATIVES)
        terms = hypersphere_loss.coupled_hypersphere(described, centers, nearest, radius_sq**0.5, settings, len(batch))
        losses.append(terms.attraction + terms.repulsion)
        gradient = (batch.T @ terms.of_descriptors).astype(np.float64)
        change = _moved(change, gradient, step)
        members = np.ascontiguousarray(nearest[0][:, 0])
        centers = memory_bank.follow_members(centers, batch @ change.astype(np.float32), members, EMA_RATE)
    level = replace(start, weight=start.weight @ change.astype(np.float32), centers=centers)
    drift = float(np.linalg.norm(change - np.eye(n_channels)) / np.sqrt(n_channels))
    return Trained(level, losses[0], losses[-1], drift)


def _moved(change: np.ndarray, gradient: np.ndarray, length: float) -> np.ndarray:
    """A step of this length against the gradient, along maps of the same determinant."""
    of_volume = np.linalg.inv(change).T  # the gradient of log|det|
    along = gradient - of_volume * (np.sum(gradient * of_volume) / np.sum(of_volume**2))
    norm = np.linalg.norm(along)
    if not norm > 0:  # no term is active: nothing to learn
        return change
    moved = change - along * (length / norm)
    return moved / np.exp(np.linalg.slogdet(moved)[1] / len(moved))


def defective_patches(mask: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Which patches (h*w,) of a level's grid a synthetic defect's mask covers; at least one."""
    share = resampling.cell_means(mask, grid).ravel()
    return share >= min(_DEFECT_SHARE, float(share.max()))


def rareness(peaks: np.ndarray, good: np.ndarray) -> np.ndarray:
    """How rare a good patch as far away as each defect's farthest patch is, in powers of ten.

    Parameters
    ----------
    peaks : ndarray (n,)
        Distances.
    good : ndarray
        Distances of patches of held-out good images, sorted.
    """
    above = len(good) - np.searchsorted(good, peaks.astype(good.dtype), "left")
    return -np.log10((above + 1) / (len(good) + 1))
