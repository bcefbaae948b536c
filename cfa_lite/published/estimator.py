"""`PublishedCFA`: the method as published, for comparison."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .. import parameters, threads
from ..base.detector import Detector
from ..features.backbone import Backbone
from ..features.feature_cache import FeatureStore
from ..features.images import ValueRange
from ..features.mask import MaskLike
from ..fitted import Fit
from . import fit as fitting
from .settings import PublishedSettings

if TYPE_CHECKING:
    from ..teaching.labelled import LabelledImage
    from ..training.training_set import Progress, Source

DEFAULT_BACKBONE = "lite0"


class PublishedCFA(Detector):
    """Coupled-hypersphere-based feature adaptation as published by Lee, Lee and Song (IEEE Access 2022).

    It is slower and less accurate than `CFA` and exists for comparison. Images are processed at an area of 224x224
    pixels. Where the paper and the authors' code differ, a parameter selects one of them.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    fitted_ : FittedProduct
        Everything that was learned.
    limits_ : Limits
        Both limits of the raw score, and their guarantee.
    threshold_, offset_ : float
        The limit of the raw score, and its negative.
    good_scores_ : ndarray of shape (n,)
        Raw scores of the calibration images, by banks that were made without them.
    report_ : list of dict
        One row per epoch: loss, attraction, repulsion, the shares of their terms that are active, radius, drift
        (|W - W0| / |W0|), seconds. Empty after `load`; `info` has all but the seconds.
    skipped_ : tuple of SkippedImage
        Images that `fit` could not use. Empty after `load`.
    left_out_ : tuple of LeftOut
        What `fit` left out of the folder that it was given. Empty after `load`.
    most_unusual_ : tuple of Inspection
        The good images with the highest scores, held out, with their maps. Empty after `load`.
    """

    parameter_table = parameters.PUBLISHED_PARAMETERS
    report_: list[dict[str, Any]]

    def __init__(
        self,
        *,
        backbone: str | os.PathLike[str] | None = None,
        n_neighbors: int = 3,
        n_hard_negatives: int = 3,
        radius: float = 1e-5,
        repulsion_margin: float = 0.1,
        nu: float = 1e-3,
        learning_rate: float = 1e-3,
        weight_decay: float = 5e-4,
        epochs: int = 30,
        batch_size: int = 4,
        gamma_c: int = 1,
        gamma_d: int = 1,
        bank: str = "position_mean",
        ema_rate: float = 0.05,
        bank_follows: bool = False,
        certainty: bool = True,
        false_alarm_rate: float = 0.01,
        unsure_rate: float | None = None,
        limit_margin: float = 0.0,
        group_by: str | None = None,
        min_area: float = 0.0,
        mm_per_pixel: float | None = None,
        mask: MaskLike | None = None,
        value_range: ValueRange | str | None = None,
        align: bool = False,
        checks: bool = True,
        max_megapixels: float = parameters.MAX_MEGAPIXELS,
        random_state: int = 0,
        threads: int | None = None,
        max_memory: float = 500,
    ) -> None:
        self.backbone = backbone
        self.n_neighbors = n_neighbors
        self.n_hard_negatives = n_hard_negatives
        self.radius = radius
        self.repulsion_margin = repulsion_margin
        self.nu = nu
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.gamma_c = gamma_c
        self.gamma_d = gamma_d
        self.bank = bank
        self.ema_rate = ema_rate
        self.bank_follows = bank_follows
        self.certainty = certainty
        self.false_alarm_rate = false_alarm_rate
        self.unsure_rate = unsure_rate
        self.limit_margin = limit_margin
        self.group_by = group_by
        self.min_area = min_area
        self.mm_per_pixel = mm_per_pixel
        self.mask = mask
        self.value_range = value_range
        self.align = align
        self.checks = checks
        self.max_megapixels = max_megapixels
        self.random_state = random_state
        self.threads = threads
        self.max_memory = max_memory

    def _resolved_params(self) -> dict[str, Any]:
        params = super()._resolved_params()
        return {**params, "backbone": DEFAULT_BACKBONE if params["backbone"] is None else params["backbone"]}

    def _fit(
        self,
        params: dict[str, Any],
        source: Source,
        backbone: Backbone,
        store: FeatureStore,
        progress: Progress,
        labelled: list[LabelledImage],
    ) -> Fit:
        if labelled:
            raise ValueError(
                "The published recipe cannot learn from known defects. Fit with recipe 'adapted', or leave them out."
            )
        n_threads = threads.resolve(self.threads)
        images = fitting.read(source, backbone, store, n_threads, progress)
        found = fitting.fit(
            images,
            backbone.spec,
            PublishedSettings.of(params),
            self._promise(params),
            random_state=params["random_state"],
            n_threads=n_threads,
            progress=progress,
        )
        self.report_ = found.report
        return found.fit

    def _adopt(self, *args: Any) -> None:
        super()._adopt(*args)
        self.report_ = self.__dict__.get("report_", [])


if PublishedCFA.__doc__:  # python -OO has no docstrings
    PublishedCFA.__doc__ = PublishedCFA.__doc__.replace(
        "{parameters}", parameters.documentation(PublishedCFA.parameter_table)
    )
