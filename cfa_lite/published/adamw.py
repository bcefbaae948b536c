"""AdamW with amsgrad."""

from __future__ import annotations

import numpy as np


class AdamW:
    """Optimizer AdamW with amsgrad, which changes its parameters in place.

    Parameters
    ----------
    parameters : list of ndarray
        `step` changes them.
    learning_rate, weight_decay : float, at least 0
        The published values are 1e-3 and 5e-4.

    Notes
    -----
    Loshchilov and Hutter 2019; Reddi et al. 2018 (amsgrad). Moments are float64.
    """

    def __init__(self, parameters: list[np.ndarray], learning_rate: float, weight_decay: float):
        self._parameters = parameters
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._mean, self._square, self._largest = (
            [np.zeros(p.shape, np.float64) for p in parameters] for _ in range(3)
        )
        self._n_steps = 0

    def step(self, gradients: list[np.ndarray], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        """Take one step: decay the parameters, then move them against their gradients."""
        self._n_steps += 1
        first, second = (1 - beta**self._n_steps for beta in betas)
        for p, g, mean, square, largest in zip(self._parameters, gradients, self._mean, self._square, self._largest):
            mean += (1 - betas[0]) * (g - mean)
            square += (1 - betas[1]) * (g.astype(np.float64) ** 2 - square)
            np.maximum(largest, square, out=largest)
            move = self._learning_rate / first * mean / (np.sqrt(largest) / np.sqrt(second) + eps)
            p[...] = p * (1 - self._learning_rate * self._weight_decay) - move
