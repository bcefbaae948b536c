"""The inspection of one image: read, check, score, and compare with the limits."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from ..features import alignment, image_checks, image_files, images
from ..features.alignment import NO_SHIFT, Shift
from ..features.backbone import Backbone
from ..features.images import ImageLike
from ..features.size_limit import MAX_MEGAPIXELS
from ..fitted import Evidence, FittedProduct
from ..method import limits, regions
from ..method.regions import Tell
from ..results import Change, Inspection, not_scored

_WARM_UP_PX = 64  # side of an image that takes hardly any time


@dataclass(frozen=True)
class InspectionRules:
    """The parameters of an inspection, which can be changed after a fit.

    Attributes
    ----------
    min_area_px : float
        Smaller regions do not make an image NG.
    mm_per_pixel : float or None
    checks : bool
        Whether an image that cannot show the product is INVALID.
    max_megapixels : float
        A larger file is an error.
    """

    min_area_px: float = 0.0
    mm_per_pixel: float | None = None
    checks: bool = True
    max_megapixels: float = MAX_MEGAPIXELS


def inspect(
    image: ImageLike, name: str, product: FittedProduct, backbone: Backbone, rules: InspectionRules, n_threads: int
) -> Inspection:
    """Read, check and score one image.

    Raises
    ------
    ImageError
        If the image cannot be read or does not have the size of the inspection mask.
    """
    start = time.perf_counter()
    loaded = images.read(image, name, product.value_range, rules.max_megapixels)
    good, scorer = product.statistics, product.scorer
    reasons = image_checks.check_size(loaded.size_px, good) if rules.checks else []
    # An inspection mask fits one size only.
    if reasons and (scorer.mask is not None or image_checks.is_too_large(loaded.size_px, good)):
        seconds = time.perf_counter() - start
        return not_scored(name, "invalid", reasons[0], product.limits.threshold, seconds, image_files.time_of(image))
    if scorer.mask is not None:
        scorer.mask.check_size(loaded.size_px, name)
    size_px, n_pages, is_depth_cut = loaded.size_px, loaded.n_pages, loaded.is_depth_cut
    uncovered = images.to_pixels(loaded, scorer.working_size(size_px, backbone))
    del loaded  # an image may have hundreds of megapixels
    pixels, shift = alignment.placed(uncovered, product.aligner, scorer.mask)
    found = image_checks.measure(pixels)
    if rules.checks:
        reasons += image_checks.check_pixels(found, good)
    notes = image_checks.notes(found, good, n_pages, is_depth_cut)
    changes: tuple[Change, ...] = ()
    shift_px = None
    if product.reference is not None and not reasons:
        changes, shift_px = product.reference.compare(uncovered, found, scorer.scale)
    del uncovered
    raw_map, evidence = scorer.scored(pixels, backbone, n_threads)
    seconds = time.perf_counter() - start
    result = judge(raw_map, name, size_px, product, rules, seconds, evidence, shift or NO_SHIFT)
    right, down = shift_px or (math.nan, math.nan)
    result = replace(
        result, time=image_files.time_of(image), brightness=found.brightness, sharpness=found.sharpness,
        shift_right_px=right, shift_down_px=down,
    )  # fmt: skip
    told = alignment.note(shift, scorer.scale, size_px)
    message = " ".join(dict.fromkeys([*reasons, *notes, *map(str, changes), *([told] if told else [])]))
    if reasons:
        return replace(result, status="invalid", verdict="INVALID", message=message)
    return replace(result, message=message, changes=changes) if message else result


def warm_up(product: FittedProduct, backbone: Backbone) -> None:
    """Load what the first inspection would load, so that its time is that of reading and scoring one image."""
    if backbone.is_warm:
        return
    mask = product.scorer.mask
    blank = np.zeros((_WARM_UP_PX, _WARM_UP_PX) if mask is None else mask.white.shape, np.uint8)
    inspect(blank, "warm-up", replace(product, value_range=None), backbone, InspectionRules(checks=False), 1)
    backbone.is_warm = True


def judge(
    raw_map: np.ndarray,
    name: str,
    size_px: tuple[int, int],
    product: FittedProduct,
    rules: InspectionRules,
    seconds: float,
    evidence: Evidence | None = None,
    shift: Shift = NO_SHIFT,
) -> Inspection:
    """Compare the raw anomaly map of an image with the limits.

    Map and score are divided by the limit, so the map has a region above 1.0 if and only if the verdict is NG. Regions
    that are smaller than the minimum area are lowered to the limit. If none is left, the score is at most 1.0.

    Parameters
    ----------
    raw_map : ndarray of shape (h, w), float32
        Its maximum is the raw score.
    name : str
    size_px : (int, int)
        Height and width of the image.
    product : FittedProduct
    rules : InspectionRules
    seconds : float
        Time spent so far.
    evidence : Evidence or None
        Of known defects. The kinds of the regions are told from it.
    shift : (int, int)
        How far the image was off before it was aligned, in pixels of the map. The map is moved back.

    Returns
    -------
    Inspection
    """
    threshold, unsure_threshold = product.limits.threshold, product.limits.unsure_threshold
    known = product.scorer.known
    tell = None if known is None or evidence is None else known.kind_at(evidence, raw_map.shape)
    if tell is not None and shift != NO_SHIFT:
        tell = _where_it_was(tell, shift, raw_map.shape)
    raw_map = alignment.moved_back(raw_map, shift)
    raw_score = float(raw_map.max())
    shown, found = regions.find(raw_map / np.float32(threshold), size_px, rules.min_area_px, rules.mm_per_pixel, tell)
    score = float(shown.max())
    unsure_from = unsure_threshold / threshold
    return Inspection(
        path=name,
        status="ok",
        verdict=limits.verdict(score, unsure_from),
        score=score,
        raw_score=raw_score,
        raw_limit=threshold,
        seconds=seconds,
        percentile=limits.percentile(raw_score, product.good_scores),
        unsure_from=unsure_from,
        regions=found,
        map=shown,
        image_size_px=size_px,
        value_range=product.value_range,
    )


def _where_it_was(tell: Tell, shift: Shift, shape: tuple[int, ...]) -> Tell:
    """Return a function that tells the kind of a region of an image from the evidence of the aligned image."""

    def told(rows: np.ndarray, columns: np.ndarray) -> tuple[str, float | None]:
        rows, columns = (np.clip(at - by, 0, n - 1) for at, by, n in zip((rows, columns), shift, shape))
        return tell(rows, columns)

    return told
