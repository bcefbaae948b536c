"""Stage 9: a raw map and a model's limits -> the answer for a picture."""

from __future__ import annotations

import numpy as np

from . import decision, regions
from .level import Learnt
from .results import ScoreResult


def judge(
    raw_map: np.ndarray,
    name: str,
    size_px: tuple[int, int],
    learnt: Learnt,
    *,
    min_area_px: float,
    mm_per_pixel: float | None,
    seconds: float,
) -> ScoreResult:
    """The answer for a picture of `size_px` (h, w) from its raw map, whose maximum is the raw score.

    Map and score are divided by the limit, so the map has a region above 1.0 where and only where the verdict is NG.
    Regions of less than `min_area_px` of the picture's pixels are brought down to the limit: if none is left, the
    score is 1.0 at most, which is not NG.
    """
    limits = learnt.limits
    shown = raw_map / np.float32(limits.threshold)
    raw_score, score = float(raw_map.max()), float(shown.max())
    if min_area_px > 0 and score > 1:
        pixels_each = size_px[0] * size_px[1] / shown.size
        shown = regions.without_small(shown, min_area_px / pixels_each)
        score = float(shown.max())
    unsure_from = limits.unsure_threshold / limits.threshold
    return ScoreResult(
        path=name,
        status="ok",
        verdict=decision.verdict(score, unsure_from),
        score=score,
        raw_score=raw_score,
        threshold=limits.threshold,
        seconds=seconds,
        percentile=decision.percentile(raw_score, learnt.good_scores),
        unsure_from=unsure_from,
        regions=regions.find(shown, size_px, mm_per_pixel),
        map=shown,
        picture_size_px=size_px,
        value_range=learnt.value_range,
    )
