"""Framing: the scale at which the images of a product are processed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..parameters import DEFAULT_SIZE_PX

VISIBLE_PX = 4  # a patch of the finest level at the working size; a smaller defect may not be seen


@dataclass(frozen=True)
class Framing:
    """How images are resized to their working size.

    Attributes
    ----------
    area_px : int or None
        Area that the median image gets; None for the images' own size.
    unit_px : int
        Both sides of a working size are multiples of this.
    one_size : bool
        Whether all images get one size, as published, or one scale.
    smallest_defect_px : float, optional
        Diameter in image pixels. The scale grows, up to 1, until such a defect has a diameter of `VISIBLE_PX`.
    enlarges : bool, default: True
        Whether `area_px` may enlarge the median image beyond its own area and the default working area.
    n_scales : int, default: 2
        Number of scales at which each image is seen.
    known_scale : float, optional
        The scale of a model that is already fitted.
    """

    area_px: int | None
    unit_px: int
    one_size: bool
    smallest_defect_px: float | None = None
    enlarges: bool = True
    n_scales: int = 2
    known_scale: float | None = None

    def scale(self, sizes_px: Iterable[tuple[int, int]]) -> float:
        """Return the working pixels per image pixel for images of these sizes."""
        if self.known_scale is not None:
            return self.known_scale
        if self.area_px is None:
            return 1.0
        median_px = float(np.median([h * w for h, w in sizes_px]))
        area_px = self.area_px if self.enlarges else min(self.area_px, max(median_px, DEFAULT_SIZE_PX**2))
        scale = float(np.sqrt(area_px / median_px))
        if self.smallest_defect_px is not None:
            scale = max(scale, min(1.0, VISIBLE_PX / self.smallest_defect_px))
        return scale
