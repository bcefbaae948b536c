"""Stage 9: an image, what was learnt and its limits -> the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from ..features import image_checks, images
from ..features.backbone import Backbone
from ..features.images import ImageLike
from ..fitted import Learnt
from ..method import limits, regions
from ..results import Inspection, unfit
from ..training import recipes

MAX_AREA_RATIO = 4  # an image so many times larger than all good ones is not scored at all


@dataclass(frozen=True)
class Rules:
    """Arguments of `CFA` that a verdict depends on."""

    background_share: float
    min_area_px: float
    mm_per_pixel: float | None
    checks: bool


def examine(image: ImageLike, name: str, learnt: Learnt, network: Backbone, rules: Rules, n_threads: int) -> Inspection:
    """Read, check and score one image.

    Raises
    ------
    ImageError
        If it cannot be read, or is not of the mask's size.
    """
    start = time.perf_counter()
    bands = images.read(image, name, learnt.value_range)
    w, h = bands[0].size
    made = learnt.training
    doubts = image_checks.size_doubts((h, w), made["height_px"], made["width_px"]) if rules.checks else []
    too_large = h * w > MAX_AREA_RATIO * made["largest_px"][0] * made["largest_px"][1]
    if doubts and (too_large or learnt.area is not None):  # no mask is known for another size
        return unfit(name, doubts[0], learnt.limits.threshold, time.perf_counter() - start)
    if learnt.area is not None:
        learnt.area.check_size((h, w), name)
    pixels = recipes.pixels_of(learnt, bands, network)
    look = image_checks.of(pixels)
    doubts += image_checks.doubts(look, made["looks"]) if rules.checks else []
    told = bands[0].info
    notes = image_checks.notes(look, made["looks"], told.get(images.PAGES, 1), told.get(images.CUT, False))
    raw = recipes.raw_map(learnt, rules.background_share, pixels, network, n_threads)
    result = judge(raw, name, (h, w), learnt, rules, time.perf_counter() - start)
    message = "; ".join(doubts + notes)
    if doubts:
        return replace(result, status="invalid", verdict="INVALID", message=message)
    return replace(result, message=message) if message else result


def judge(
    raw_map: np.ndarray, name: str, size_px: tuple[int, int], learnt: Learnt, rules: Rules, seconds: float
) -> Inspection:
    """The answer for an image of `size_px` (h, w) from its raw map, whose maximum is the raw score.

    Map and score are divided by the limit, so the map has a region above 1.0 where and only where the verdict is NG.
    Regions of less than the smallest area are brought down to the limit: if none is left, the score is 1.0 at most,
    which is not NG.
    """
    bounds = learnt.limits
    shown = raw_map / np.float32(bounds.threshold)
    raw_score, score = float(raw_map.max()), float(shown.max())
    if rules.min_area_px > 0 and score > 1:
        pixels_each = size_px[0] * size_px[1] / shown.size
        shown = regions.without_small(shown, rules.min_area_px / pixels_each)
        score = float(shown.max())
    unsure_from = bounds.unsure_threshold / bounds.threshold
    return Inspection(
        path=name,
        status="ok",
        verdict=limits.verdict(score, unsure_from),
        score=score,
        raw_score=raw_score,
        threshold=bounds.threshold,
        seconds=seconds,
        percentile=limits.percentile(raw_score, learnt.good_scores),
        unsure_from=unsure_from,
        regions=regions.find(shown, size_px, rules.mm_per_pixel),
        map=shown,
        image_size_px=size_px,
        value_range=learnt.value_range,
    )
