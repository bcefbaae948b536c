"""Good images of a product: read at one scale, kept as far as a recipe needs them, and where a model comes from."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import PIL

from .. import threads
from .._version import __version__
from ..errors import ImageError
from ..features import image_checks, images
from ..features.image_checks import Look
from ..features.images import ImageLike, ValueRange
from ..features.mask import InspectionMask
from ..features.runtime import onnxruntime
from ..report.text import VISIBLE_PX

Progress = Callable[[str, int, int], None]

N_UNLIKE = 24  # good images with the highest scores whose maps are kept to be looked at
N_NAMED = 5  # good images that are named as the most unlike the others

T = TypeVar("T")  # what is kept of an image


@dataclass(frozen=True)
class TrainingSet(Generic[T]):
    """Training images as far as they could be used.

    `kept`, `names`, `sizes_px` and `working_sizes_px` have one entry an image used; `scale` is working pixels a
    image pixel; `skipped` holds name and message of each image left out; `area` is what counts of each.
    """

    kept: list[T]
    names: list[str]
    sizes_px: list[tuple[int, int]]
    working_sizes_px: list[tuple[int, int]]
    scale: float
    skipped: list[tuple[str, str]]
    looks: list[Look]
    area: InspectionMask | None = None
    value_range: ValueRange | None = None

    def only(self, which: np.ndarray) -> TrainingSet[T]:
        """Those for which `which` (n,) bool is true."""
        at = np.flatnonzero(which)
        return replace(
            self,
            kept=[self.kept[i] for i in at],
            names=[self.names[i] for i in at],
            sizes_px=[self.sizes_px[i] for i in at],
            working_sizes_px=[self.working_sizes_px[i] for i in at],
            looks=[self.looks[i] for i in at],
        )


@dataclass(frozen=True)
class Framing:
    """How a recipe sees images.

    Attributes
    ----------
    area_px : int or None
        InspectionMask that the median image is brought to; None for full size.
    unit_px : int
        Sides are multiples of it.
    one_size : bool
        Whether all get one size (published) or one scale.
    smallest_defect_px : float, optional
        Pixels of the image across; the scale is raised, to 1 at most, until a defect of that size has `VISIBLE_PX`.
    """

    area_px: int | None
    unit_px: int
    one_size: bool
    smallest_defect_px: float | None = None

    def scale(self, sizes_px: Iterable[tuple[int, int]]) -> float:
        """Working pixels an image pixel, for images of these sizes."""
        if self.area_px is None:
            return 1.0
        scale = float(np.sqrt(self.area_px / np.median([h * w for h, w in sizes_px])))
        if self.smallest_defect_px is not None:
            scale = max(scale, min(1.0, VISIBLE_PX / self.smallest_defect_px))
        return scale


def read(
    given: list[ImageLike],
    framing: Framing,
    extract: Callable[[int, np.ndarray], T],
    keep: Callable[[T], T],
    area: InspectionMask | None,
    value_range: ValueRange | None,
    n_threads: int,
    progress: Progress,
) -> TrainingSet[T]:
    """Read all images at the one scale that brings their median area to `framing.area_px`.

    `extract` makes of an image's place in `given` and its pixels (3, h, w) of the working size what is kept of it;
    `keep` puts that where there is room.

    Raises
    ------
    ImageError
        If fewer than 2 images can be used, or all are of another size than the mask.
    """
    names = [images.name_of(image, i) for i, image in enumerate(given)]
    skipped: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}

    def size_of(i: int) -> tuple[int, int] | ImageError:
        try:
            size = images.size_of(given[i], names[i])
            if area is not None:
                area.check_size(size, names[i])
        except ImageError as error:
            return error
        return size

    for i, size in enumerate(threads.ordered_map(size_of, range(len(given)), n_threads)):
        if isinstance(size, ImageError):
            skipped[i] = str(size)
        else:
            sizes[i] = size
    _check_count(len(given), skipped)
    scale = framing.scale(sizes.values())
    middle = images.middle_size(sizes.values())
    working = {
        i: images.working_size(middle if framing.one_size else size, scale, framing.unit_px)
        for i, size in sizes.items()
    }

    def extract_one(i: int) -> tuple[T, Look] | ImageError:
        try:
            bands = images.read(given[i], names[i], value_range)
        except ImageError as error:
            return error
        pixels = images.to_pixels(bands, working[i], area)
        return extract(i, pixels), image_checks.of(pixels)

    kept: dict[int, T] = {}
    seen: list[Look] = []
    for done, (i, found) in enumerate(zip(sizes, threads.ordered_map(extract_one, sizes, n_threads)), 1):
        if isinstance(found, ImageError):
            skipped[i] = str(found)
        else:
            kept[i] = keep(found[0])
            seen.append(found[1])
        progress("reading", done, len(sizes))
    _check_count(len(given), skipped)
    return TrainingSet(
        kept=list(kept.values()),
        names=[names[i] for i in kept],
        sizes_px=[sizes[i] for i in kept],
        working_sizes_px=[working[i] for i in kept],
        scale=scale,
        skipped=[(names[i], skipped[i]) for i in sorted(skipped)],
        looks=seen,
        area=area,
        value_range=value_range,
    )


def _check_count(n_given: int, skipped: dict[int, str]) -> None:
    n_usable = n_given - len(skipped)
    if n_usable < 2:
        reasons = "".join(f"\n  {message}" for message in list(skipped.values())[:3])
        raise ImageError(
            f"{n_usable} of {n_given} images can be used; at least 2 good ones are needed, 20 or more are"
            f" better.{reasons}"
        )


def provenance(good: TrainingSet, scores: np.ndarray) -> dict[str, Any]:
    """What a model tells of its training images; JSON types only."""
    highest = np.argsort(-scores, kind="stable")[:N_NAMED]
    by_area = sorted(zip(good.sizes_px, good.working_sizes_px), key=lambda sizes: sizes[0][0] * sizes[0][1])
    return {
        "n_images": len(by_area),
        "n_skipped": len(good.skipped),
        "smallest_px": list(by_area[0][0]),
        "largest_px": list(by_area[-1][0]),
        "height_px": [min(h for h, _ in good.sizes_px), max(h for h, _ in good.sizes_px)],
        "width_px": [min(w for _, w in good.sizes_px), max(w for _, w in good.sizes_px)],
        "looks": image_checks.summarised(good.looks),
        "working_px": list(by_area[len(by_area) // 2][1]),
        "held_out_scores": {
            "lowest": float(scores.min()),
            "median": float(np.median(scores)),
            "highest": float(scores.max()),
        },
        "most_unlike": [{"name": os.path.basename(good.names[i]), "raw_score": float(scores[i])} for i in highest],
        "versions": {
            "cfa_lite": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "pillow": PIL.__version__,
        },
    }
