"""The estimator `CFA`, and `load`, which reads a fitted model of either kind."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import parameters
from .base.detector import Detector
from .errors import ArchiveError
from .features.backbone import Backbone
from .features.feature_cache import FeatureStore
from .features.images import ImageLike, ValueRange
from .features.mask import MaskLike
from .fitted import Fit
from .inference.levels import Level
from .inference.scorer import Scorer
from .storage import serialization

if TYPE_CHECKING:
    from .teaching.labelled import DefectsLike, LabelledImage, MasksLike
    from .teaching.teach import Taught
    from .training.training_set import Progress, Source


class CFA(Detector):
    """Detect anomalies in images of one product by coupled-hypersphere-based feature adaptation (CFA).

    The estimator is an outlier detector in the sense of scikit-learn. It keeps its parameters as they are given and
    checks them in `fit`. Changing a parameter after `fit` has no effect on a fitted model, except for
    `min_area`, `mm_per_pixel`, `checks`, `max_megapixels` and `threads`.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    fitted_ : FittedProduct
        Everything that was learned.
    levels_ : tuple of Level
        Descriptor and memory bank of each scale and backbone output.
    limits_ : Limits
        Both limits of the raw score, and their guarantee.
    threshold_, offset_ : float
        The limit of the raw score, and its negative.
    good_scores_ : ndarray of shape (n,)
        Raw scores of the calibration images, by models that were fitted without them.
    scale_ : float
        Working pixels per image pixel. All images of a product are processed at one scale.
    skipped_ : tuple of SkippedImage
        Images that the last `fit`, `calibrate` or `teach` left out, with `name` and `message`. Empty after `load`.
    left_out_ : tuple of LeftOut
        What `fit` left out of the folder that it was given: files of other endings, linked, unreadable and hidden
        folders, each with `path` and `reason`. Empty after `load`.
    most_unusual_ : tuple of Inspection
        The good images with the highest scores, held out, with their maps; outliers first. Empty after `load`.

    Notes
    -----
    Arrays are in the order red, green, blue. Frames of OpenCV are blue, green, red: pass ``frame[:, :, ::-1]``.
    uint8, uint16 of either byte order and bool are taken as they are; int32 and floating point need `value_range`.

    Method: Lee, Lee and Song, "CFA: Coupled-Hypersphere-Based Feature Adaptation for Target-Oriented Anomaly
    Localization", IEEE Access 2022. Here each level has its own descriptor and memory bank. `PublishedCFA` is the
    method as published.

    Examples
    --------
    >>> from cfa_lite import CFA
    >>> model = CFA(random_state=0).fit("good/")  # doctest: +SKIP
    >>> model.inspect("line/017.png").verdict  # doctest: +SKIP
    'NG'
    """

    parameter_table = parameters.CFA_PARAMETERS

    def __init__(
        self,
        recipe: str = "adapted",
        *,
        preset: str = "accurate",
        backbone: str | os.PathLike[str] | None = None,
        n_centers: int | None = None,
        shrinkage: float = 0.1,
        background_share: float = 0.25,
        outliers: str = "auto",
        size: int | str | None = None,
        n_scales: int | None = None,
        smallest_defect: float | None = None,
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
        self.recipe = recipe
        self.preset = preset
        self.backbone = backbone
        self.n_centers = n_centers
        self.shrinkage = shrinkage
        self.background_share = background_share
        self.outliers = outliers
        self.size = size
        self.n_scales = n_scales
        self.smallest_defect = smallest_defect
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

    @property
    def levels_(self) -> tuple[Level, ...]:
        """Descriptor and memory bank of each scale and backbone output."""
        scorer = self._product().scorer
        assert isinstance(scorer, Scorer)
        return scorer.levels

    def _resolved_params(self) -> dict[str, Any]:
        return parameters.resolved(super()._resolved_params())

    def _fit(
        self,
        params: dict[str, Any],
        source: Source,
        backbone: Backbone,
        store: FeatureStore,
        progress: Progress,
        labelled: list[LabelledImage],
    ) -> Fit:
        from . import threads
        from .features import feature_maps
        from .training import extraction
        from .training import fit as fitting
        from .training.framing import Framing
        from .training.settings import WHITENED, Ingredients, Settings

        adapted = Ingredients(without_outliers=params["outliers"] != "keep")
        ingredients = adapted if params["recipe"] == "adapted" else WHITENED
        settings = Settings(
            n_centers=params["n_centers"],
            shrinkage=params["shrinkage"],
            background_share=params["background_share"],
            ingredients=ingredients,
            promise=self._promise(params),
            random_state=params["random_state"],
            n_threads=threads.resolve(self.threads),
            progress=progress,
        )
        area_px = None if params["size"] == "full" else params["size"] ** 2
        unit_px = feature_maps.unit_px(backbone, params["n_scales"])
        # A preset does not enlarge images beyond their own size, or the default working size if that is larger. A model
        # that was loaded has the preset's size as a value.
        enlarges = params["size"] != parameters.PRESETS[params["preset"]].size
        framing = Framing(area_px, unit_px, False, params["smallest_defect"], enlarges, params["n_scales"])
        images = extraction.read(
            source, framing, backbone, store, n_defects=extraction.N_DEFECTS if ingredients.trained else 0,
            random_state=settings.random_state, n_threads=settings.n_threads, progress=progress,
        )  # fmt: skip
        if not labelled:
            return fitting.fit(images, backbone.spec, settings)
        from .teaching.lesson import Teacher

        shared = settings.random_state, settings.n_threads, progress, self.max_megapixels, bool(self.checks)
        return fitting.fit(images, backbone.spec, settings, Teacher(labelled, backbone, *shared).lesson)

    def teach(
        self,
        good: ImageLike | Iterable[ImageLike],
        defects: DefectsLike | None = None,
        *,
        masks: MasksLike | None = None,
        forget: Iterable[str] = (),
        good_only: bool = False,
        progress: Progress | None = None,
        **rates: Any,
    ) -> Taught:
        """Teach known defects to a fitted model, in addition to those that it knows. The levels are unchanged.

        Parameters
        ----------
        good : folder, or iterable of images as for `inspect_many`
            Good images. Normal patches and the limits come from them. They may be those of `fit`; confirmed false
            alarms belong to them. Unreadable ones are left out, and images that the model would call INVALID, also
            defective ones: they are logged and listed in `skipped_`. `limits_.n_left_out` counts the good ones.
        defects : folder, list of files and folders, list of images, or dict of such lists by kind, optional
            Defective images; one is enough. In a folder, sub-folders name the kinds.
        masks : folder, list, or dict of lists, optional
            Masks of the defects, as for `fit`. They may be rough.
        forget : iterable of str
            Kinds that the model no longer knows.
        good_only : bool, default: False
            Allow no defects: only the limits are new, for example because of confirmed false alarms.
        progress : callable (phase, done, total), optional
        **rates
            `false_alarm_rate`, `unsure_rate`, `limit_margin` and `group_by` as for the constructor; by default the
            values of the model. The guarantee is for known and other defects together.

        Returns
        -------
        Taught
            What changes for each image, and the places that were taken from each defective image.

        Raises
        ------
        ValueError
            If a rate is out of its range, or there is nothing to teach and nothing to forget.
        ImageError
            If a defective image or a mask cannot be read, or too few images are left. The model is then unchanged.
        """
        from . import threads as threads_
        from .base.image_lists import as_list
        from .teaching import labelled, lesson, teach
        from .training.training_set import Source

        product, backbone = self._product(), self.open_backbone()
        forgotten = (forget,) if isinstance(forget, str) else tuple(forget)
        promise = replace(self._promise(self._limit_params(**rates)), count_outliers=True)
        if defects is None and not forgotten and not good_only:
            raise ValueError("There is nothing to teach. Pass defects, or kinds to forget.")
        given = [] if defects is None else labelled.collect(defects, masks)
        rules = self.max_megapixels, bool(self.checks)
        source = Source.of_model(as_list(good), product, *rules)
        shared = threads_.resolve(self.threads), progress or (lambda phase, done, total: None)
        teacher = lesson.Teacher(given, backbone, self.random_state, *shared, *rules)
        with threads_.serial_blas(), FeatureStore(self.max_memory) as store:
            taught = teach.teach(product, source, teacher, promise, forgotten, store)
        self.fitted_ = taught.product
        self._tell_skipped(taught.skipped)
        return taught


if CFA.__doc__:  # python -OO has no docstrings
    CFA.__doc__ = CFA.__doc__.replace("{parameters}", parameters.documentation(CFA.parameter_table))


def load(
    path: str | os.PathLike[str], *, backbone: str | os.PathLike[str] | None = None, threads: int | None = None
) -> Detector:
    """Read a fitted model from a ``.cfa`` file.

    Parameters
    ----------
    path : path-like
    backbone : path-like, optional
        Path of the user's own ONNX backbone, if it has moved. The default is the path at `fit`, and then a file of the
        same name beside the ``.cfa`` file.
    threads : int or None, default: None
        Number of threads, as for `CFA`.

    Returns
    -------
    CFA or PublishedCFA

    Raises
    ------
    ArchiveError
        If the file is missing, damaged or foreign.
    BackboneError
        If the backbone is missing or is not the one that the model was fitted with.
    """
    stored = serialization.load(path)
    if stored.kind == "published":
        from .published.estimator import PublishedCFA
        from .published.restore import restore_published

        cls: type[Any] = PublishedCFA
        product = stored.restore(restore_published)
    elif stored.kind == "levels":
        cls, product = CFA, stored.restore(serialization.restore_levels)
    else:
        raise ArchiveError(f"{path} holds a model of kind {stored.kind!r}, which this version does not know.")
    with serialization.damaged(os.fspath(path)):
        params = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.params.items()}  # value_range
        model: Detector = cls(**params, threads=threads)
        model._resolved_params()
    model._restore(product, product.backbone if backbone is None else backbone, Path(path))
    return model
