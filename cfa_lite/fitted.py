"""What a fitted model holds: a scorer of one of two kinds, the limits, and what verdicts depend on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from .features.alignment import NO_SHIFT, Aligner, Shift
from .features.backbone import Backbone
from .features.image_checks import ImageStatistics
from .features.images import ValueRange
from .features.mask import InspectionMask
from .features.reference import Reference
from .method.limits import Limits
from .method.regions import Tell


class Evidence(NamedTuple):
    """How much each cell of an image resembles each kind of known defect.

    Attributes
    ----------
    of_kinds : ndarray of shape (n_kinds, h, w), float32
        Highest response of the kind's directions. 0 is where responses begin to count.
    raised : ndarray of shape (h, w), float32
        What is added to the anomaly map, in units of the raw score; at least 0.
    """

    of_kinds: np.ndarray
    raised: np.ndarray


class Scored(NamedTuple):
    """The raw anomaly map (h, w) of an image, and the evidence of known defects, if the model was taught any."""

    raw_map: np.ndarray
    evidence: Evidence | None = None


class KindTeller(Protocol):
    """What an inspection needs of `inference.known_defects.KnownDefects`."""

    def kind_at(self, evidence: Evidence, size_px: tuple[int, ...]) -> Tell:
        """Return a function that tells the kind of a region from the rows and columns (n,) of its pixels."""


class AnomalyScorer(Protocol):
    """Interface of both kinds of scorer: `inference.scorer.Scorer` and `published.scorer.PublishedScorer`."""

    @property
    def kind(self) -> str:
        """Name of the kind in an archive: "levels" or "published"."""

    @property
    def scale(self) -> float:
        """Working pixels per image pixel."""

    @property
    def mask(self) -> InspectionMask | None:
        """The inspection mask, or None if the whole image is inspected."""

    @property
    def known(self) -> KindTeller | None:
        """What the model was taught about defects, or None."""

    def working_size(self, size_px: tuple[int, int], backbone: Backbone) -> tuple[int, int]:
        """Return the size (h, w) at which an image of `size_px` is processed."""

    def scored(self, pixels: np.ndarray, backbone: Backbone, n_threads: int) -> Scored:
        """Compute the raw anomaly map of pixels (3, h, w) of the working size. Its maximum is the raw score."""

    def check_channels(self, channels: list[int]) -> None:
        """Raise ArchiveError if the scorer does not fit a backbone with these numbers of channels."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, JSON types only."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, for an archive."""


@dataclass(frozen=True)
class LearnedImages:
    """The good images that the levels learned from.

    Attributes
    ----------
    fingerprints : ndarray of shape (n, 8), uint8
        See `features.fingerprints`.
    scores : ndarray of shape (n,), float32
        Raw scores by levels that were fitted without the image, and without known defects.
    """

    fingerprints: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class TaughtImage:
    """What a model keeps of a defective image that it was taught: the places of the defect, not the image.

    Attributes
    ----------
    name : str
        File name.
    kind : str
    date : str
        Day on which it was taught, as in ISO 8601.
    fingerprint : str
        Hexadecimal. See `features.fingerprints`.
    n_used : int
        The first places teach the defect; the others show what else is anomalous in the image.
    has_mask : bool
        Whether a mask named the places.
    raw_score : float
        Without known defects.
    descriptors : ndarray of shape (n_places, d), float32
        Descriptors of all pooled levels side by side.
    anomaly : ndarray of shape (n_places,), float32
        Highest value of the score map at each place.
    """

    name: str
    kind: str
    date: str
    fingerprint: str
    n_used: int
    has_mask: bool
    raw_score: float
    descriptors: np.ndarray
    anomaly: np.ndarray

    @property
    def prototype(self) -> np.ndarray:
        """Mean descriptor (d,) of the places that teach the defect."""
        mean: np.ndarray = self.descriptors[: self.n_used].mean(axis=0)
        return mean

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, JSON types only."""
        return {
            "name": self.name, "kind": self.kind, "date": self.date, "fingerprint": self.fingerprint,
            "n_used": self.n_used, "n_places": len(self.descriptors), "has_mask": self.has_mask,
            "raw_score": self.raw_score,
        }  # fmt: skip


@dataclass(frozen=True)
class FittedProduct:
    """Everything that `fit` learns about a product. Nothing in it depends on the estimator's parameters any more.

    Attributes
    ----------
    scorer : AnomalyScorer
    backbone : str
        Name of the shipped backbone or path of the ONNX file that the model was fitted with.
    backbone_sha256 : str
    backbone_entry : dict
        What the features depend on besides the file: mean, std and outputs of the manifest entry.
    limits : Limits
    good_scores, good_groups : ndarray of shape (n,)
        Raw scores of the calibration images, by models that were fitted without them, and the groups of these images.
    statistics : ImageStatistics
        Sizes, brightness and sharpness of the good images.
    value_range : (float, float) or None
        Values of an image that are black and white.
    training : dict
        Origin of the model: counts, versions, decisions. JSON types only. No verdict depends on it.
    history : tuple of dict
        Earlier limits, the oldest first.
    params : dict
        Parameters of the estimator when it was fitted, JSON types only, without those that belong to the machine.
    learned : LearnedImages or None
    reference : Reference or None
        How the good images look as a whole, to tell what has changed. No verdict depends on it.
    aligner : Aligner or None
        Moves images to where the good images lie. None if images are inspected where they are.
    taught : tuple of TaughtImage
    """

    scorer: AnomalyScorer
    backbone: str
    backbone_sha256: str
    backbone_entry: dict[str, Any]
    limits: Limits
    good_scores: np.ndarray
    good_groups: np.ndarray
    statistics: ImageStatistics
    value_range: ValueRange | None
    training: dict[str, Any]
    history: tuple[dict[str, Any], ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    learned: LearnedImages | None = None
    taught: tuple[TaughtImage, ...] = ()
    reference: Reference | None = None
    aligner: Aligner | None = None

    def with_limits(self, limits: Limits, scores: np.ndarray, groups: np.ndarray) -> FittedProduct:
        """Return the product with new limits and the scores that made them. The old limits join the history."""
        history = (*self.history, self.limits.to_dict())
        return replace(self, limits=limits, good_scores=scores, good_groups=groups, history=history)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, JSON types only."""
        return {
            "kind": self.scorer.kind,
            "backbone": self.backbone,
            "backbone_sha256": self.backbone_sha256,
            "backbone_entry": self.backbone_entry,
            "limits": self.limits.to_dict(),
            "history": list(self.history),
            "statistics": self.statistics.to_dict(),
            "value_range": None if self.value_range is None else list(self.value_range),
            "mask_share": None if self.scorer.mask is None else self.scorer.mask.share,
            "reference": None if self.reference is None else self.reference.to_dict(),
            "aligner": None if self.aligner is None else self.aligner.to_dict(),
            "training": self.training,
            "taught": [image.to_dict() for image in self.taught],
            **self.scorer.to_dict(),
        }


@dataclass(frozen=True)
class HeldOut:
    """The anomaly map of a normal image, by a model that was fitted without this image.

    Attributes
    ----------
    name : str
    size_px : (int, int)
        Height and width of the image.
    raw_map : ndarray of shape (h, w), float32
        Raw anomaly map. Its maximum is the raw score.
    shift : (int, int)
        How far the image was off before it was aligned.
    """

    name: str
    size_px: tuple[int, int]
    raw_map: np.ndarray
    shift: Shift = NO_SHIFT


@dataclass(frozen=True)
class SkippedImage:
    """An image that `fit`, `calibrate` or `teach` left out, and why."""

    name: str
    message: str


@dataclass(frozen=True)
class Fit:
    """The result of fitting a product.

    Attributes
    ----------
    product : FittedProduct
    most_unusual : tuple of HeldOut
        The normal images with the highest scores; outliers come first.
    skipped : tuple of SkippedImage
    """

    product: FittedProduct
    most_unusual: tuple[HeldOut, ...]
    skipped: tuple[SkippedImage, ...]
