"""Coupled-hypersphere loss and its gradient.

The functions compute in the float dtype of their arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _kernels


@dataclass(frozen=True)
class LossSettings:
    """Constants of the coupled-hypersphere loss, with their published values.

    Attributes
    ----------
    n_neighbors : int, at least 1
        K, the number of nearest centers that attract a descriptor.
    n_hard_negatives : int, at least 0
        J, the number of next centers that repel it.
    margin : float, at least 0
        alpha, of the repulsion.
    nu : float, above 0
        Both terms are divided by it.
    """

    n_neighbors: int = 3
    n_hard_negatives: int = 3
    margin: float = 0.1
    nu: float = 1e-3


@dataclass(frozen=True)
class LossTerms:
    """Loss of some descriptors of a batch, and its gradient.

    Attributes
    ----------
    attraction, repulsion : float
        They add up to the loss.
    active : (float, float)
        Numbers of attraction and repulsion terms above 0. A term of exactly 0 counts as one half.
    of_descriptors : ndarray (n, d)
        Gradient with respect to the descriptors.
    of_radius : float
        Derivative with respect to the radius.
    """

    attraction: float
    repulsion: float
    active: tuple[float, float]
    of_descriptors: np.ndarray
    of_radius: float


def coupled_hypersphere(
    descriptors: np.ndarray,
    centers: np.ndarray,
    nearest: tuple[np.ndarray, np.ndarray],
    radius: float,
    settings: LossSettings,
    n_patches: int,
) -> LossTerms:
    """Compute the coupled-hypersphere loss and its gradient.

    Parameters
    ----------
    descriptors : ndarray (n, d) float32 or float64
    centers : ndarray (n_centers, d) of the same dtype
    nearest : (ndarray (n, K + J) int32, ndarray (n, K + J))
        Indices of the K + J nearest centers and squared distances to them, ascending: the result of
        `neighbors.nearest_k`.
    radius : float
        Radius of the hyperspheres.
    settings : LossSettings
    n_patches : int
        T, the number of descriptors of the whole batch.

    Returns
    -------
    LossTerms

    Notes
    -----
    L_att = 1/(nu T K) sum_t sum_{k<=K} max(0, d2_k - r^2) and L_rep = 1/(nu T J) sum_t sum_{j>K} max(0, r^2 - d2_j -
    alpha), with squared distances d2 to the K + J nearest centers, ascending. dL/dphi_t is the sum of 2 (phi_t - c)
    over active attraction terms and -2 (phi_t - c) over active repulsion terms. dL/dr is -2 r and 2 r. The published
    code begins the repulsion terms at J instead of K; the two are equal for the published values.
    """
    k, j = settings.n_neighbors, settings.n_hard_negatives
    index, distance_sq = nearest
    gains = 1 / (settings.nu * n_patches * np.array([k, max(j, 1)], np.float64))
    gradient, sums = np.empty_like(descriptors), np.empty(4)
    loss = np.array([radius**2, settings.margin, *gains])
    _kernels.hypersphere_gradient(descriptors, centers, index, distance_sq, k, loss, gradient, sums)
    return LossTerms(
        attraction=sums[0] * gains[0],
        repulsion=sums[1] * gains[1],
        active=(sums[2], sums[3]),
        of_descriptors=gradient,
        of_radius=2 * radius * (sums[3] * gains[1] - sums[2] * gains[0]),
    )
