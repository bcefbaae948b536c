"""The settings of the published recipe, with their published values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..method.hypersphere_loss import LossSettings


@dataclass(frozen=True)
class PublishedSettings:
    """Parameters of `PublishedCFA` that the fit depends on. `PublishedCFA` describes them."""

    n_neighbors: int = 3
    n_hard_negatives: int = 3
    radius: float = 1e-5
    repulsion_margin: float = 0.1
    nu: float = 1e-3
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    epochs: int = 30
    batch_size: int = 4
    gamma_c: int = 1
    gamma_d: int = 1
    bank: str = "position_mean"
    ema_rate: float = 0.05
    bank_follows: bool = False
    certainty: bool = True

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> PublishedSettings:
        """Select the settings from all parameters of `PublishedCFA`."""
        return cls(**{field.name: params[field.name] for field in fields(cls)})

    @property
    def loss(self) -> LossSettings:
        """Settings of the coupled-hypersphere loss."""
        return LossSettings(self.n_neighbors, self.n_hard_negatives, self.repulsion_margin, self.nu)
