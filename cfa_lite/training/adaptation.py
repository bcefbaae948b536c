"""Adaptation of a level's descriptor by the coupled-hypersphere loss, and the check that it helps.

The start is the shrunk whitening with its K-means bank. The loss pulls descriptors to their centers and pushes the
next centers away. The determinant of the linear map is constant, because attraction alone would shrink the map to zero.
The map moves no farther than `DRIFT`, because a larger drift loses accuracy (docs/decisions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..inference.levels import Level
from ..method import cells, hypersphere_loss, memory_bank, neighbors, resampling, whitening
from ..method.hypersphere_loss import LossSettings

DRIFT = 0.1  # |A - I| / |I| of descriptors (patches - mean) @ weight @ A
N_STEPS = 24
BATCH_SIZE = 2048  # patches per step
EMA_RATE = 0.05
N_NEIGHBORS = N_HARD_NEGATIVES = 3
MARGIN = 0.1  # of the squared radius
_RADIUS_PATCHES = 4096
_DEFECT_SHARE = 0.5  # a patch is defective if this share of its cell is


@dataclass(frozen=True)
class Trained:
    """A trained level, the loss of the first and of the last batch, and how far the linear map moved."""

    level: Level
    first_loss: float
    last_loss: float
    drift: float


def train(start: Level, patches: np.ndarray, rng: np.random.Generator) -> Trained:
    """Train a level's descriptor by the coupled-hypersphere loss at a constant determinant.

    Parameters
    ----------
    start : Level
    patches : ndarray of shape (n, c), float32
        Patch features of normal images: those that the memory bank was computed from.
    rng : numpy.random.Generator

    Returns
    -------
    Trained
        The start itself if its bank has fewer centers than K + J.

    Notes
    -----
    Let x be the descriptors of the start. A is trained in x @ A, from A = I. The part of the gradient that would change
    log|det A| is removed. Each step has the length DRIFT / N_STEPS, whatever the unit of the loss. A is then scaled to
    |det A| = 1, which removes the remaining change of second order. The squared radius is the median squared distance
    to the K nearest centers, so both terms of the loss are active from the first step. The bank follows by EMA.
    """
    centers = start.centers
    if len(centers) < N_NEIGHBORS + N_HARD_NEGATIVES:
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
        if first + BATCH_SIZE > len(order):
            order, first = rng.permutation(len(points)), 0
        batch = points[order[first : first + BATCH_SIZE]]
        first += BATCH_SIZE
        described = batch @ change.astype(np.float32)
        nearest = _nearest(described, centers, start.cells)
        terms = hypersphere_loss.coupled_hypersphere(described, centers, nearest, radius_sq**0.5, settings, len(batch))
        losses.append(terms.attraction + terms.repulsion)
        gradient = (batch.T @ terms.of_descriptors).astype(np.float64)
        change = _moved(change, gradient, step)
        members = np.ascontiguousarray(nearest[0][:, 0])
        centers = memory_bank.follow_members(centers, batch @ change.astype(np.float32), members, EMA_RATE)
    found = cells.fit(centers, points @ change.astype(np.float32))
    level = replace(start, weight=start.weight @ change.astype(np.float32), centers=centers, cells=found)
    drift = float(np.linalg.norm(change - np.eye(n_channels)) / np.sqrt(n_channels))
    return Trained(level, losses[0], losses[-1], drift)


def _nearest(points: np.ndarray, centers: np.ndarray, in_cells: cells.Cells | None) -> tuple[np.ndarray, np.ndarray]:
    """Find the K + J nearest centers. Those of a large bank are searched in its cells, which hardly move."""
    k = N_NEIGHBORS + N_HARD_NEGATIVES
    if in_cells is None:
        return neighbors.nearest_k(points, centers, k)
    return cells.nearest_k(points, cells.prepare(centers, in_cells), k)


def _moved(change: np.ndarray, gradient: np.ndarray, length: float) -> np.ndarray:
    """Take a step of this length against the gradient, without changing the determinant."""
    of_volume = np.linalg.inv(change).T  # the gradient of log|det|
    along = gradient - of_volume * (np.sum(gradient * of_volume) / np.sum(of_volume**2))
    norm = np.linalg.norm(along)
    if not norm > 0:  # no term is active: nothing to learn
        return change
    moved = change - along * (length / norm)
    return np.asarray(moved / np.exp(np.linalg.slogdet(moved)[1] / len(moved)))


def defective_patches(mask: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Return a mask (h*w,) of the patches of a level's grid that a synthetic defect covers; at least one."""
    share = resampling.cell_means(mask, grid).ravel()
    return share >= min(_DEFECT_SHARE, float(share.max()))


def rareness(peaks: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Compute the rareness of defects: -log10 of the share of normal patches that are at least as far away.

    Parameters
    ----------
    peaks : ndarray of shape (n,)
        Distance of the farthest patch of each defect.
    good : ndarray of shape (m,)
        Distances of patches of held-out normal images, sorted.

    Returns
    -------
    ndarray of shape (n,)
    """
    above = len(good) - np.searchsorted(good, peaks.astype(good.dtype), "left")
    return -np.log10((above + 1) / (len(good) + 1))
