"""Between bank and scoring: the coupled-hypersphere loss, its gradient by hand, and AdamW.

Every function works in the float type that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..parameters import LossSettings
from . import _kernels


@dataclass(frozen=True)
class LossTerms:
    """Loss of some descriptors, a share of a batch.

    `attraction` and `repulsion` add up to the loss; `active` holds the number of their terms above 0, one
    at exactly 0 counting half; `of_descriptors` (n, d) and `of_radius` are gradients.
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
    """The coupled-hypersphere loss and its gradient.

    Parameters
    ----------
    descriptors : ndarray (n, d)
    centers : ndarray (m, d)
    nearest : (ndarray (n, K + J) int32, ndarray (n, K + J))
        Index of, and squared distance to, the K + J nearest centers, ascending: neighbors.nearest_k.
    radius : float
    settings : LossSettings
    n_patches : int
        T, of the whole batch that these descriptors are part of.

    Notes
    -----
    L_att = 1/(nu T K) sum_t sum_{k<=K} max(0, d2_k - r^2), L_rep = 1/(nu T J) sum_t sum_{j>K} max(0, r^2 - d2_j - alpha)
    over the K + J nearest centers, squared distances ascending. d L / d phi_t sums 2 (phi_t - c) over active
    attraction terms and -2 (phi_t - c) over active repulsion terms, d L / d r is -2 r and +2 r. The published code
    takes the repulsion slice from J on where K is meant; the two are equal at its values.
    """
    k, j = settings.n_neighbors, settings.n_hard_negatives
    index, distance_sq = nearest
    gains = 1 / (settings.nu * n_patches * np.array([k, max(j, 1)], np.float64))
    gradient, sums = np.empty_like(descriptors), np.empty(4)
    _kernels.hypersphere_gradient(
        descriptors, centers, index, distance_sq, k, radius**2, settings.margin, gains, gradient, sums
    )
    return LossTerms(
        attraction=sums[0] * gains[0],
        repulsion=sums[1] * gains[1],
        active=(sums[2], sums[3]),
        of_descriptors=gradient,
        of_radius=2 * radius * (sums[3] * gains[1] - sums[2] * gains[0]),
    )


class AdamW:
    """AdamW with amsgrad (Loshchilov and Hutter 2019; Reddi et al. 2018), in place.

    Parameters
    ----------
    parameters : list of ndarray
        Changed by `step`.
    learning_rate, weight_decay : float
        Published values 1e-3 and 5e-4.
    """

    def __init__(self, parameters: list[np.ndarray], learning_rate: float, weight_decay: float):
        self._parameters = parameters
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._mean, self._square, self._largest = (
            [np.zeros(p.shape, np.float64) for p in parameters] for _ in range(3)
        )
        self._n_steps = 0

    def step(self, gradients: list[np.ndarray], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        """One step: decay the parameters, then move them against their gradients."""
        self._n_steps += 1
        first, second = (1 - beta**self._n_steps for beta in betas)
        for p, g, mean, square, largest in zip(self._parameters, gradients, self._mean, self._square, self._largest):
            mean += (1 - betas[0]) * (g - mean)
            square += (1 - betas[1]) * (g.astype(np.float64) ** 2 - square)
            np.maximum(largest, square, out=largest)
            move = self._learning_rate / first * mean / (np.sqrt(largest) / np.sqrt(second) + eps)
            p[...] = p * (1 - self._learning_rate * self._weight_decay) - move
