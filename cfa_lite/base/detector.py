"""The base of both estimators: how `fit` reads the images and keeps what was learned."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from .. import threads
from ..features import images as images_
from ..features import mask as mask_
from ..features.backbone import Backbone
from ..features.feature_cache import FeatureStore
from ..features.images import ImageLike, ValueRange
from ..features.manifest import find_spec
from ..fitted import Fit
from ..inference import inspection
from .image_lists import as_list
from .inspector import Inspector

if TYPE_CHECKING:
    from ..teaching.labelled import DefectsLike, LabelledImage, MasksLike
    from ..training.settings import Promise
    from ..training.training_set import Progress, Source

_Self = TypeVar("_Self", bound="Detector")


def _collected(defects: DefectsLike, masks: MasksLike | None, max_megapixels: float) -> list[LabelledImage]:
    from ..teaching import labelled

    found = labelled.collect(defects, masks)
    labelled.check_readable(found, max_megapixels)
    return found


class Detector(Inspector):
    """Base of `CFA` and `PublishedCFA`, each of which fits a product in `_fit`."""

    random_state: int
    max_memory: float
    align: bool

    @abstractmethod
    def _fit(
        self,
        params: dict[str, Any],
        source: Source,
        backbone: Backbone,
        store: FeatureStore,
        progress: Progress,
        labelled: list[LabelledImage],
    ) -> Fit:
        """Fit a product; `params` are resolved and checked. `labelled` are defective images."""

    def fit(
        self: _Self,
        X: ImageLike | Iterable[ImageLike],  # noqa: N803  (scikit-learn's name)
        y: Any = None,
        *,
        defects: DefectsLike | None = None,
        masks: MasksLike | None = None,
        progress: Progress | None = None,
    ) -> _Self:
        """Learn a product from images of good parts, and from known defects if there are any.

        Parameters
        ----------
        X : folder (searched recursively), or iterable of path, PIL image, ndarray, bytes or binary file object
            Good images. Arrays are in the order red, green, blue; frames of OpenCV are blue, green, red: pass
            ``frame[:, :, ::-1]``. See `cfa_lite.features.images.read` for dtypes and ranges.
        y : None
            Ignored; exists for scikit-learn.
        defects : folder, list of files and folders, list of images, or dict of such lists by kind, optional
            Defective images. In a folder, sub-folders name the kinds.
        masks : folder, list, or dict of lists, optional
            Masks of the defects. A folder has them at the same places as the images, with or without "_mask" at the
            end of their names. Without a mask, the most anomalous places of an image are taken.
        progress : callable (phase, done, total), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of its range, or an object is not an image.
        ImageError
            If fewer than two images can be used, or `value_range` does not cover their values. Single images that
            cannot be read, and images that an inspection would call INVALID, are skipped, logged and listed in
            `skipped_`. Also if a defective image or a mask cannot be read, or no defective image is left.
        BackboneError
            If the backbone cannot be used.
        """
        params = self._resolved_params()
        backbone = Backbone(find_spec(params["backbone"]))
        given = as_list(X)
        source = self._source(given)
        labelled = [] if defects is None else _collected(defects, masks, self.max_megapixels)
        with threads.serial_blas(), FeatureStore(self.max_memory) as store:
            found = self._fit(params, source, backbone, store, progress or (lambda phase, done, total: None), labelled)
        self._adopt(replace(found.product, params=self._json_params(params, found.product.backbone)), backbone)
        self._tell_skipped(found.skipped)
        self.left_out_ = given.left_out
        self.most_unusual_ = tuple(
            inspection.judge(one.raw_map, one.name, one.size_px, found.product, self._rules(), 0.0, shift=one.shift)
            for one in found.most_unusual
        )
        return self

    def _json_params(self, params: dict[str, Any], backbone: str) -> dict[str, Any]:
        """Return the parameters as JSON types, without those that belong to the machine."""
        params = {**params, "backbone": backbone}
        if isinstance(self.mask, os.PathLike):
            params["mask"] = os.fspath(self.mask)
        elif not isinstance(self.mask, (str, type(None))):
            params["mask"] = "passed as an object"
        if isinstance(self.value_range, (tuple, list)):
            params["value_range"] = [float(value) for value in self.value_range]
        return {p.name: params[p.name] for p in self.parameter_table if p.when != "machine"}

    def _source(self, given: Sequence[ImageLike]) -> Source:
        from ..training.training_set import Source

        value_range: ValueRange | None
        if isinstance(self.value_range, str):  # "auto"
            named = ((image, images_.name_of(image, i)) for i, image in enumerate(given))
            value_range = images_.value_range_of(named, self.max_megapixels)
        else:
            value_range = self.value_range and (float(self.value_range[0]), float(self.value_range[1]))
        mask = None if self.mask is None else mask_.read(self.mask, self.max_megapixels)
        return Source(given, mask, value_range, bool(self.checks), self.max_megapixels, bool(self.align))

    def _promise(self, params: dict[str, Any]) -> Promise:
        from ..training.settings import Promise

        return Promise(
            false_alarm_rate=params["false_alarm_rate"],
            unsure_rate=params["unsure_rate"],
            margin=params["limit_margin"],
            group_by=params["group_by"],
            count_outliers=params.get("outliers") == "count",
            cover_outliers=params.get("outliers") == "auto",
        )
