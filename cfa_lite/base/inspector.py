"""What a fitted model does: inspect, calibrate, save. Both estimators share it."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from .. import parameters, threads
from ..errors import ArchiveError, BackboneError, ImageError, NotFittedError, one_line
from ..features import image_files, size_limit
from ..features import images as images_
from ..features.backbone import Backbone, open_fitted
from ..features.image_files import LeftOut
from ..features.images import ImageLike
from ..fitted import FittedProduct, SkippedImage
from ..inference import inspection
from ..inference.inspection import InspectionRules
from ..method import limits
from ..parameter_types import Parameter
from ..results import Inspection, not_scored
from ..storage import serialization
from .image_lists import as_list
from .sklearn_contract import OutlierDetectorContract

_log = logging.getLogger(__name__)
_Self = TypeVar("_Self", bound="Inspector")


class Inspector(OutlierDetectorContract):
    """Base of `detector.Detector`: inspect, calibrate, adjust and save a fitted model."""

    parameter_table: ClassVar[tuple[Parameter, ...]]

    # Parameters that are read here; the constructors of the estimators set them.
    mask: Any
    value_range: Any
    threads: int | None
    min_area: float
    mm_per_pixel: float | None
    checks: bool
    max_megapixels: float

    fitted_: FittedProduct
    skipped_: tuple[SkippedImage, ...]
    left_out_: tuple[LeftOut, ...]
    most_unusual_: tuple[Inspection, ...]

    def _resolved_params(self) -> dict[str, Any]:
        """Return the checked parameters of the table; a subclass may have a constructor with other parameters."""
        params = self._table_params()
        parameters.check(self.parameter_table, params)
        return params

    def _table_params(self) -> dict[str, Any]:
        return {p.name: getattr(self, p.name) for p in self.parameter_table}

    def _adopt(self, product: FittedProduct, backbone: Backbone) -> None:
        self.fitted_ = product
        self.skipped_, self.left_out_, self.most_unusual_ = (), (), ()
        self._backbone = backbone

    @property
    def limits_(self) -> limits.Limits:
        """Both limits of the raw score, and their guarantee."""
        return self._product().limits

    @property
    def threshold_(self) -> float:
        """The limit of the raw score. An image with a higher raw score is NG."""
        return self._product().limits.threshold

    @property
    def good_scores_(self) -> np.ndarray:
        """Raw scores (n,) of the calibration images, by models that were fitted without them."""
        return self._product().good_scores

    @property
    def scale_(self) -> float:
        """Working pixels per image pixel."""
        return self._product().scorer.scale

    def inspect(self, image: ImageLike) -> Inspection:
        """Inspect one image, on all threads.

        Parameters
        ----------
        image : path, PIL image, ndarray, bytes or binary file object
            Arrays are in the order red, green, blue. Frames of OpenCV are blue, green, red: pass ``frame[:, :, ::-1]``.
            See `cfa_lite.features.images.read` for dtypes and ranges.

        Returns
        -------
        Inspection

        Raises
        ------
        ImageError
            If the image cannot be read.
        NotFittedError
            If the model is not fitted.
        """
        return self._inspect(image, images_.name_of(image, 0), threads.resolve(self.threads))

    def inspect_many(self, images: ImageLike | Iterable[ImageLike]) -> Iterator[Inspection]:
        """Inspect images, several at once, each on one thread.

        Parameters
        ----------
        images : folder (searched recursively), or iterable of images as for `inspect`
            Arrays are in the order red, green, blue.

        Returns
        -------
        iterator of Inspection
            In the order of the images. An image that cannot be read has the status "error".

        Raises
        ------
        NotFittedError
        TypeError
            If `images` is one image instead of a list.
        """
        product, given = self._product(), as_list(images)
        with threads.serial_blas():
            inspection.warm_up(product, self.open_backbone())

        def one(i: int) -> Inspection:
            name, start = images_.name_of(given[i], i), time.perf_counter()
            try:
                return self._inspect(given[i], name, 1)
            except MemoryError:
                message = size_limit.too_little_memory(name)
            except (ImageError, TypeError, ValueError) as error:  # also an array of a dtype or shape that is no image
                message = str(error)
            seconds, taken = time.perf_counter() - start, image_files.time_of(given[i])
            return not_scored(name, "error", message, product.limits.threshold, seconds, taken)

        return threads.ordered_map(one, range(len(given)), threads.resolve(self.threads))

    def _inspect(self, image: ImageLike, name: str, n_threads: int) -> Inspection:
        product, backbone = self._product(), self.open_backbone()
        with threads.serial_blas():
            return inspection.inspect(image, name, product, backbone, self._rules(), n_threads)

    def _rules(self) -> InspectionRules:
        return InspectionRules(self.min_area, self.mm_per_pixel, self.checks, self.max_megapixels)

    def calibrate(
        self: _Self,
        good: ImageLike | Iterable[ImageLike],
        *,
        false_alarm_rate: float | None = None,
        unsure_rate: float | None = None,
        limit_margin: float | None = None,
        group_by: str | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> _Self:
        """Compute new limits from good images that `fit` has not seen. Descriptors and memory banks are unchanged.

        Parameters
        ----------
        good : folder, or iterable of images as for `inspect_many`
            Unreadable ones, and those that the model would call INVALID, are left out, logged and listed in `skipped_`.
            `limits_.n_left_out` counts them.
        false_alarm_rate, unsure_rate, limit_margin, group_by : optional
            See the constructor; by default the values of the model. A pattern that `fit` found in the file names is
            used again.
        progress : callable (phase, done, total), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a rate is out of its range.
        ImageError
            If there is no image, or fewer are used than left out. The message names them.
        """
        from .calibration import calibrated

        product = self._product()
        params = self._limit_params(
            false_alarm_rate=false_alarm_rate, unsure_rate=unsure_rate, limit_margin=limit_margin, group_by=group_by
        )
        listed = as_list(good)
        self.fitted_, skipped = calibrated(product, params, self.inspect_many(listed), len(listed), progress)
        self._tell_skipped(skipped)
        return self

    def _tell_skipped(self, skipped: tuple[SkippedImage, ...]) -> None:
        """Keep which images were left out, and log them."""
        for one in skipped:
            _log.warning("skipped: %s", one_line(one.message))
        self.skipped_ = skipped

    def _limit_params(self, **given: Any) -> dict[str, Any]:
        """Return the checked parameters of the model with other limits, where they are given."""
        return parameters.with_other_limits(self.parameter_table, self._table_params(), given)

    def adjust(self: _Self, *, sensitivity: float | None = None, threshold: float | None = None) -> _Self:
        """Move both limits by hand.

        Parameters
        ----------
        sensitivity : float, above 0
            Multiplies all scores.
        threshold : float, above 0
            New limit of the raw score. The lower limit keeps its proportion.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If none or both are given, or one is not above 0.
        """
        product = self._product()
        both = {"sensitivity": sensitivity, "threshold": threshold}
        given = {name: value for name, value in both.items() if value is not None}
        if len(given) != 1:
            raise ValueError("Give either a sensitivity or a threshold.")
        ((name, value),) = given.items()
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value!r} is not allowed. Use a number above 0.")
        factor = 1 / value if name == "sensitivity" else value / self.threshold_
        made = limits.scaled(product.limits, factor, product.good_scores, product.good_groups)
        self.fitted_ = product.with_limits(made, product.good_scores, product.good_groups)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a ``.cfa`` file. If writing fails, an earlier file of this name is unchanged.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ArchiveError
            If the file cannot be written.
        """
        serialization.save(path, self._params_of_model(), self._product())

    def info(self) -> dict[str, Any]:
        """Return the parameters, the limits and the origin of the model, JSON types only."""
        return {"params": self._params_of_model(), **self._product().to_dict()}

    def _params_of_model(self) -> dict[str, Any]:
        """Return the parameters of the fit, and the present values of those that may change after it."""
        changeable = {p.name: getattr(self, p.name) for p in self.parameter_table if p.when == "inspection"}
        return {**self._product().params, **changeable}

    def open_backbone(self) -> Backbone:
        """Return the backbone of a fitted model; after copying or unpickling it is opened again.

        Raises
        ------
        BackboneError
            If it is missing or is not the one that the model was fitted with.
        """
        product = self._product()
        backbone: Backbone | None = self.__dict__.get("_backbone")
        if backbone is None:
            backbone = self._backbone = open_fitted(product.backbone, product.backbone_sha256, Path())
        return backbone

    def _restore(self, product: FittedProduct, given: str | os.PathLike[str], path: Path) -> None:
        """Adopt a product that was read from the file `path`, with the backbone `given`."""
        backbone = open_fitted(given, product.backbone_sha256, path.parent)
        if product.backbone_entry != backbone.spec.seen():
            raise BackboneError(
                f"The manifest entry of {backbone.spec.path} (mean, std or outputs) has changed since the model was"
                " fitted. Restore the entry, or fit again."
            )
        try:
            product.scorer.check_channels([output.channels for output in backbone.spec.outputs])
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error}") from error
        self._adopt(product, backbone)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open backbone, which cannot be pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_backbone"}

    def _product(self) -> FittedProduct:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"This {type(self).__name__} model is not fitted. Call fit with images of good parts, or load a .cfa"
                " file."
            )
        return self.fitted_
