"""Calibration: new limits from the results of good images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ImageError
from ..fitted import FittedProduct, SkippedImage
from ..method import limits
from ..results import Inspection
from ..training import grouping, usable

_Progress = Callable[[str, int, int], None]


def calibrated(
    product: FittedProduct, params: dict[str, Any], inspected: Iterable[Inspection], n: int, progress: _Progress | None
) -> tuple[FittedProduct, tuple[SkippedImage, ...]]:
    """Return a product with new limits from the results of `n` good images, and the images that do not count.

    Those are images that were not scored. No limit ever applies to such an image.

    Raises
    ------
    ImageError
        If there is no image, or fewer images were scored than not.
    """
    if not n:
        raise ImageError("There are no images to calibrate with. Pass at least one good image.")
    results: list[Inspection] = []
    skipped: list[SkippedImage] = []
    for result in inspected:
        if result.status == "ok":
            results.append(result)
        else:
            told = result.message.removeprefix(result.path).lstrip(" :")  # an error can begin with the path
            named = f"{result.path} {told}" if result.status == "error" else f"{result.path}: {told}"
            skipped.append(SkippedImage(result.path, named))
        if progress:
            progress("scoring good images", len(results) + len(skipped), n)
    usable.check_most(len(results), skipped)
    scores = np.array([result.raw_score for result in results], np.float32)
    groups = grouping.of_names([result.path for result in results], params["group_by"], product.training)
    rates = params["false_alarm_rate"], params["unsure_rate"]
    made = limits.make_limits(scores, groups, *rates, params["limit_margin"], source="calibrate")
    return product.with_limits(replace(made, n_left_out=len(skipped)), scores, groups), tuple(skipped)
