"""The estimator: what users hold. It checks, and hands on to recipes."""

from __future__ import annotations

import inspect
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from . import parameters, presets, threads
from .errors import ArchiveError, BackboneError, ImageError, NotFittedError
from .features import images
from .features.backbone import Backbone, find_spec, open_fitted
from .features.feature_cache import FeatureStore
from .features.images import ImageLike, ValueRange
from .features.mask import InspectionMask, MaskLike
from .fitted import Finish, Learnt, Level, PaperModel
from .inference import inspection
from .inference.inspection import Rules
from .method import limits
from .method.limits import Limits
from .results import Inspection, failed
from .storage import serialization
from .training import near_duplicates, recipes
from .training.training_set import Progress

_log = logging.getLogger(__name__)


class CFA:
    """Coupled-hypersphere-based feature adaptation, made lite: learns one product from good images.

    Follows scikit-learn's estimator contract: arguments are kept as given and checked in `fit`, what is
    learnt ends in ``_``, and `sklearn.base.clone` works.

    Parameters
    ----------
    recipe : str
        How the descriptor is made. "adapted": the shrunk whitening, trained a little where that helps.
        "none": the shrunk whitening alone. "paper": as published by Lee et al.; slower and less accurate,
        there to compare with.
    speed : str
        "exact", "balanced" or "fast": what `backbone`, `n_centers` and `size` are where they are None. "balanced" takes
        three quarters of the time and loses hardly anything, "fast" half of it (DESIGN.md, presets).
    backbone : str, path or None
        Name of a shipped backbone, or path of an .onnx file with its manifest entry beside it.
    n_centers : int of at least 1, or None
        Centers of each level's memory bank; fewer where a level has less than four patches a center.
    shrinkage : float, above 0
        Share of the mean eigenvalue added to each before whitening.
    background_share : float, 0 to 1
        Share of an image's own median distance that is taken off its map and score.
    atypical : str
        What recipe "adapted" does with images that are far out among the good ones. "count": they are not learnt
        from, but count for the limits, so that what is promised is promised of all. "drop": they are no good parts
        and count for nothing. "keep": they are learnt from. `training_["outliers"]` names those left out.
    false_alarm_rate, unsure_rate : float, above 0 and below 1
        Probability, at most, that a good image is above the limit (NG), and above the lower limit (UNSURE). Where
        there are too few good images for it, `limits_` holds what could be promised.
    limit_margin : float
        Share added to both limits.
    group_by : str or None
        Regular expression; images in whose names it finds the same text (its first group, if it has one) were
        taken together and count as one. Near-duplicates are found without it too.
    min_area : float
        Pixels of the image; smaller regions make no verdict NG.
    mm_per_pixel : float or None
        Gives regions their area in square millimetres.
    mask : path, PIL image, ndarray (h, w) or None
        White counts, black is ignored; of the size of all images.
    size : int of at least 64, "full" or None
        Images are worked in their own proportions, the median one at the area of a square with this side; "full": at
        their own size. Large ones are worked in tiles.
    smallest_defect : float or None
        Pixels of the image across; the size is raised until a defect of that size can be seen, to "full" at most.
    value_range : (float, float), "auto" or None
        Values that are black and white: see `cfa_lite.images.read`. "auto": the lowest and highest of the good images.
    checks : bool
        Whether images that cannot be of the product (one grey value, far darker, brighter or more blurred than any
        good image, another size) get the verdict INVALID.
    seed : int, at least 0
        Same seed, same images, same model.
    n_neighbors, n_hard_negatives : int
        Recipe "paper", as all up to `certainty`. K and J: nearest centers that attract, next ones that repel.
    radius, margin, nu : float
        r to start with (it is learnt), alpha and nu of the loss.
    learning_rate, weight_decay : float
        Of AdamW with amsgrad.
    epochs, batch_size : int
        All epochs are done; none is chosen.
    gamma_c, gamma_d : int
        Centers are grid positions / gamma_c, descriptor channels are feature channels / gamma_d.
    bank : str
        "position_mean" (the authors' code) or "kmeans_ema" (the paper's Algorithm 1).
    ema_rate : float, 0 to 1
        Share of the new in a center that follows, of "kmeans_ema".
    bank_follows : bool
        Whether "kmeans_ema" goes on while the descriptor trains.
    certainty : bool
        Whether the distance to the nearest center is weighted by softmin, as published.
    threads : int or None
        Threads for everything; None for every core this process may use, of four or more all but one. Results do not
        depend on it.
    max_memory : float
        Megabytes of features that `fit` holds in memory; more go to a temporary file. Results do not depend
        on it.

    Attributes
    ----------
    levels_ : list of Level
    limits_ : Limits
        Both limits of the raw score, and what is promised of them.
    good_scores_, good_groups_ : ndarray (n,)
        Raw scores of the good images that made the limits, by levels that had not seen them, and their groups.
    history_ : list of dict
        Earlier limits, the oldest first.
    scale_ : float
        Working pixels an image pixel. All images of a product are worked at one scale.
    training_ : dict
        Where the model comes from: counts, sizes, versions; JSON types only.
    skipped_ : list of (str, str)
        Name and message of each image that `fit` left out.
    unlike_ : list of Inspection
        Good images with the highest scores, held out, with their maps; those left out first. Empty after `load`.
    report_ : list of dict
        Recipe "paper", a row an epoch: loss, attraction, repulsion, the shares of their terms that are
        active, radius, drift (|W - W0| / |W0|), seconds. Empty after `load`; `info` has all but seconds.

    Notes
    -----
    Method: Lee, Lee, Song, "CFA", IEEE Access 2022, with a bank and a descriptor a level instead of one
    of the concatenation. DESIGN.md holds the measurements behind every default.
    """

    levels_: list[Level]
    limits_: Limits
    good_scores_: np.ndarray
    good_groups_: np.ndarray
    scale_: float
    backbone_sha256_: str
    training_: dict[str, Any]
    finish_: Finish | None
    paper_: PaperModel | None
    area_: InspectionMask | None
    value_range_: ValueRange | None
    history_: list[dict[str, Any]]
    skipped_: list[tuple[str, str]]
    unlike_: list[Inspection]
    report_: list[dict[str, float]]

    def __init__(
        self,
        recipe: str = "adapted",
        *,
        speed: str = "exact",
        backbone: str | os.PathLike | None = None,
        n_centers: int | None = None,
        shrinkage: float = 0.1,
        background_share: float = 0.25,
        outliers: str = "count",
        false_alarm_rate: float = 0.01,
        unsure_rate: float = 0.05,
        limit_margin: float = 0.0,
        group_by: str | None = None,
        min_area: float = 0.0,
        mm_per_pixel: float | None = None,
        mask: MaskLike | None = None,
        size: int | str | None = None,
        smallest_defect: float | None = None,
        value_range: ValueRange | str | None = None,
        checks: bool = True,
        seed: int = 0,
        n_neighbors: int = 3,
        n_hard_negatives: int = 3,
        radius: float = 1e-5,
        margin: float = 0.1,
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
        threads: int | None = None,
        max_memory: float = 500,
    ):
        self.recipe = recipe
        self.speed = speed
        self.backbone = backbone
        self.n_centers = n_centers
        self.shrinkage = shrinkage
        self.background_share = background_share
        self.outliers = outliers
        self.false_alarm_rate = false_alarm_rate
        self.unsure_rate = unsure_rate
        self.limit_margin = limit_margin
        self.group_by = group_by
        self.min_area = min_area
        self.mm_per_pixel = mm_per_pixel
        self.mask = mask
        self.size = size
        self.smallest_defect = smallest_defect
        self.value_range = value_range
        self.checks = checks
        self.seed = seed
        self.n_neighbors = n_neighbors
        self.n_hard_negatives = n_hard_negatives
        self.radius = radius
        self.margin = margin
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
        self.threads = threads
        self.max_memory = max_memory

    # scikit-learn's contract, without importing it: that would double the time to the first verdict.

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments of the constructor by name; `deep` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in inspect.signature(CFA).parameters}

    def set_params(self, **params: Any) -> CFA:
        """Set arguments by name and return the model.

        Raises
        ------
        ValueError
            If a name is not an argument.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"CFA has no argument {name!r}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(CFA).parameters
        changed = (f"{k}={v!r}" for k, v in self.get_params().items() if v != defaults[k].default)
        return f"CFA({', '.join(changed)})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_open_backbone"}

    def fit(self, images_: ImageLike | Iterable[ImageLike], y: None = None, *, progress: Progress | None = None) -> CFA:
        """Learn from images of good parts.

        Parameters
        ----------
        images_ : folder (searched recursively), or iterable of path, PIL image or ndarray
            See `cfa_lite.images.read` for what an image may be.
        y : None
            Ignored; there for scikit-learn.
        progress : callable (phase, done, total), optional

        Returns
        -------
        CFA
            Itself.

        Raises
        ------
        ValueError, TypeError
            If an argument is out of its range, or an object is not an image.
        ImageError
            If fewer than 2 images can be used. Single images that cannot be read are left out,
            logged and listed in `skipped_`.
        BackboneError
            If the backbone cannot be used.
        """
        params = presets.resolved(self.get_params())
        n_threads = parameters.check(params)
        tell = progress or (lambda phase, done, total: None)
        network = Backbone(find_spec(params["backbone"]))
        given = _as_list(images_)
        with threads.serial_blas(), FeatureStore(self.max_memory) as store:
            found = recipes.learn(params, given, network, store, n_threads, tell)
        for _, message in found.skipped:
            _log.warning("left out: %s", message)
        self._open_backbone = network
        self.skipped_ = found.skipped
        self.report_ = found.epochs
        self._adopt(found.learnt)
        self.unlike_ = [
            inspection.judge(one.raw_map, one.name, one.size_px, found.learnt, self._rules(), 0.0)
            for one in found.unlike
        ]
        return self

    def _adopt(self, learnt: Learnt) -> None:
        for field in fields(Learnt):
            setattr(self, f"{field.name}_", getattr(learnt, field.name))

    def _learnt(self) -> Learnt:
        return Learnt(**{field.name: getattr(self, f"{field.name}_") for field in fields(Learnt)})

    @property
    def threshold_(self) -> float:
        """The limit of the raw score: above it an image is NG."""
        return self.limits_.threshold

    def calibrate(
        self,
        good: ImageLike | Iterable[ImageLike],
        *,
        false_alarm_rate: float | None = None,
        unsure_rate: float | None = None,
        limit_margin: float | None = None,
        group_by: str | None = None,
    ) -> CFA:
        """Set both limits anew from good images that `fit` has not seen; what was learnt stays.

        Parameters
        ----------
        good : as for `score`
        false_alarm_rate, unsure_rate, limit_margin, group_by
            As for `CFA`; by default what the model has.

        Returns
        -------
        CFA
            Itself.

        Raises
        ------
        ValueError
            If a rate is out of its range.
        ImageError
            If an image cannot be used: a limit of good images must be of all of them.
        """
        self._check_fitted()
        given = {"false_alarm_rate": false_alarm_rate, "unsure_rate": unsure_rate, "limit_margin": limit_margin,
                 "group_by": group_by}  # fmt: skip
        params = self.get_params() | {name: value for name, value in given.items() if value is not None}
        parameters.check(params)
        results = self.score(good)
        for result in results:
            if result.status != "ok":
                raise ImageError(result.message)
        scores = np.array([result.raw_score for result in results], np.float32)
        groups = np.arange(len(scores))
        if params["group_by"] is not None:
            groups = near_duplicates.groups_by_name([result.path for result in results], params["group_by"])
        rates = params["false_alarm_rate"], params["unsure_rate"]
        new = limits.limits(scores, groups, *rates, params["limit_margin"], source="calibrate")
        self._set_limits(new, scores, groups)
        return self

    def adjust(self, *, sensitivity: float | None = None, threshold: float | None = None) -> CFA:
        """Move both limits by hand and return the model.

        Parameters
        ----------
        sensitivity : float, above 0
            Scores become so many times higher.
        threshold : float, above 0
            Limit of the raw score; the lower limit keeps its proportion.

        Raises
        ------
        ValueError
            If none or both are given, or one is not above 0.
        """
        self._check_fitted()
        given = [value for value in (sensitivity, threshold) if value is not None]
        if len(given) != 1 or not (math.isfinite(given[0]) and given[0] > 0):
            raise ValueError(f"sensitivity={sensitivity!r}, threshold={threshold!r}: give one, a number above 0")
        factor = 1 / sensitivity if sensitivity is not None else given[0] / self.threshold_
        new = limits.moved(self.limits_, factor, self.good_scores_, self.good_groups_)
        self._set_limits(new, self.good_scores_, self.good_groups_)
        return self

    def _set_limits(self, limits: Limits, scores: np.ndarray, groups: np.ndarray) -> None:
        self.history_ = [*self.history_, self.limits_.to_dict()]
        self.limits_, self.good_scores_, self.good_groups_ = limits, scores, groups

    def inspect(self, image: ImageLike) -> Inspection:
        """Score one image, on all threads.

        Raises
        ------
        ImageError
            If the image cannot be used.
        NotFittedError
            If the model is not fitted.
        """
        self._check_fitted()
        return self._score(image, images.name_of(image, 0), threads.resolve(self.threads))

    def score(self, images_: ImageLike | Iterable[ImageLike]) -> list[Inspection]:
        """Score images; results in order. One that cannot be used gets the verdict ERROR."""
        return list(self.inspect_many(images_))

    def inspect_many(self, images_: ImageLike | Iterable[ImageLike]) -> Iterator[Inspection]:
        """Like `score`, each result as soon as it and those before it are known.

        Several images are worked at once, each on one thread.
        """
        self._check_fitted()
        given = _as_list(images_)

        def one(i: int) -> Inspection:
            name, start = images.name_of(given[i], i), time.perf_counter()
            try:
                return self._score(given[i], name, 1)
            except ImageError as error:
                return failed(name, str(error), self.threshold_, time.perf_counter() - start)

        return threads.ordered_map(one, range(len(given)), threads.resolve(self.threads))

    def _score(self, image: ImageLike, name: str, n_threads: int) -> Inspection:
        network = self._backbone()
        with threads.serial_blas():
            return inspection.examine(image, name, self._learnt(), network, self._rules(), n_threads)

    def _rules(self) -> Rules:
        return Rules(self.background_share, self.min_area, self.mm_per_pixel, self.checks)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model to one ``.cfa`` file, whole or not at all.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ArchiveError
            If the file cannot be written.
        """
        self._check_fitted()
        serialization.save(path, self._product_params(), self._learnt())

    def info(self) -> dict[str, Any]:
        """Where the model comes from and what it does, JSON types only."""
        self._check_fitted()
        return {"params": self._product_params(), **self._learnt().to_dict()}

    def _product_params(self) -> dict[str, Any]:
        """Arguments as JSON types, without those that belong to the machine."""
        params = presets.resolved(self.get_params())
        params["backbone"] = os.fspath(params["backbone"])
        if isinstance(self.mask, os.PathLike):
            params["mask"] = os.fspath(self.mask)
        elif not isinstance(self.mask, (str, type(None))):
            params["mask"] = "given as an object"
        if isinstance(self.value_range, (tuple, list)):
            params["value_range"] = [float(value) for value in self.value_range]
        del params["threads"], params["max_memory"]
        return params

    def _backbone(self) -> Backbone:
        network = self.__dict__.get("_open_backbone")
        if network is None:  # after copy or pickle, which cannot take a session along
            network = self._open_backbone = open_fitted(
                presets.resolved(self.get_params())["backbone"], self.backbone_sha256_, Path()
            )
        return network

    def _check_fitted(self) -> None:
        if not hasattr(self, "levels_"):
            raise NotFittedError(
                "this CFA model is not fitted. Call fit with images of good parts, or load a .cfa file."
            )


def load(path: str | os.PathLike, *, backbone: str | os.PathLike | None = None, threads: int | None = None) -> CFA:
    """Read a fitted model from a ``.cfa`` file.

    Parameters
    ----------
    path : path
    backbone : path, optional
        Where the user's own ONNX backbone is now. By default it is looked for under the name it had at
        `fit`, then beside the ``.cfa`` file.
    threads : int or None
        As for `CFA`.

    Raises
    ------
    ArchiveError
        If the file is missing, damaged or foreign.
    BackboneError
        If the backbone is missing or is not the one that the model was fitted with.
    """
    params, learnt = serialization.load(path)
    try:
        model = CFA(**params, threads=threads)
        parameters.check(model.get_params())
    except (TypeError, ValueError, OverflowError) as error:
        raise ArchiveError(f"{path} is damaged ({error}). Copy it again, or fit again.") from error
    if backbone is not None:
        model.backbone = backbone
    model._adopt(learnt)
    model.skipped_, model.unlike_, model.report_ = [], [], []
    given = presets.resolved(model.get_params())["backbone"]
    model._open_backbone = network = open_fitted(given, learnt.backbone_sha256, Path(path).parent)
    if learnt.training.get("network") != network.spec.seen():
        raise BackboneError(
            f"{network.spec.path} is the file that {path} was fitted with, but its manifest entry now says otherwise (mean,"
            " std or outputs). Put the entry back, or fit again."
        )
    serialization.check_channels(learnt, [channels for _, channels, _ in network.spec.outputs], path)
    return model


def _as_list(given: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    if isinstance(given, (str, os.PathLike)):
        return [picture.path for picture in images.find_images([given])]
    if isinstance(given, PIL.Image.Image):
        raise TypeError("give a list of images, not one; inspect takes one")
    return list(given)
