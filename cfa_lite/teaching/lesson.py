"""A lesson: defective images are read, joined with those that the model knows, and learned from."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import threads
from ..errors import ImageError
from ..features import alignment, defect_masks, feature_maps, fingerprints, image_checks, images
from ..features.alignment import NO_SHIFT, Aligner, Shift
from ..features.backbone import Backbone
from ..features.image_checks import ImageStatistics
from ..features.images import ValueRange
from ..features.size_limit import MAX_MEGAPIXELS
from ..fitted import SkippedImage, TaughtImage
from ..inference.scorer import Scorer
from ..method import regions, resampling
from ..results import Inspection
from ..training import near_duplicates, usable
from ..training.held_out import HeldOutGood, Lesson
from ..training.training_set import Progress, TrainingSet
from . import learning, places
from .good_images import GoodImages
from .labelled import LabelledImage
from .learning import Learned


@dataclass(frozen=True)
class TaughtPlaces:
    """A defective image with the places that were taken from it.

    Attributes
    ----------
    image : TaughtImage
    path : str
    size_px : (int, int)
        Height and width of the image.
    score_map : ndarray of shape (h, w)
        At the working size, without known defects.
    used : ndarray of shape (h, w), bool
    coarsest : ndarray of shape (c, h, w), float32
        The coarsest feature map, by which near-duplicates are found.
    shift : (int, int)
        How far the image was off before it was aligned.
    """

    image: TaughtImage
    path: str
    size_px: tuple[int, int]
    score_map: np.ndarray
    used: np.ndarray
    coarsest: np.ndarray
    shift: Shift = NO_SHIFT

    def shown(self, threshold: float) -> Inspection:
        """Return the places as the regions of an inspection; `threshold` is the limit of the raw score."""
        score = self.image.raw_score / threshold
        faint = np.clip(self.score_map / max(self.image.raw_score, threshold), 0, 1).astype(np.float32)
        marked = alignment.moved_back(np.where(self.used, np.float32(_SHOWN), faint), self.shift)
        shown, found = regions.find(marked, self.size_px)
        return Inspection(
            path=self.path, status="ok", verdict="NG" if score > 1 else "OK", score=score,
            raw_score=self.image.raw_score, raw_limit=threshold, seconds=0.0,
            message="Places that teach the defect, from its mask." if self.image.has_mask else
            "Places that teach the defect: the most anomalous ones.",
            regions=found, map=shown, image_size_px=self.size_px,
        )  # fmt: skip


_SHOWN = 1.5  # value of a place that teaches a defect in the map of a report; 1.0 is the limit


@dataclass(frozen=True)
class Teacher:
    """Reads defective images and learns from them.

    Attributes
    ----------
    labelled : list of LabelledImage
        May be empty if images that were taught before are only forgotten.
    backbone : Backbone
    random_state : int
    n_threads : int
    progress : callable (phase, done, total)
    max_megapixels : float
        A larger file is refused.
    checks : bool
        Whether images that an inspection would call INVALID are left out.
    """

    labelled: Sequence[LabelledImage]
    backbone: Backbone
    random_state: int
    n_threads: int
    progress: Progress
    max_megapixels: float = MAX_MEGAPIXELS
    checks: bool = True

    def lesson(self, good: HeldOutGood) -> Lesson:
        """Learn from the defective images during a fit."""
        found, skipped = self.read(good.scorer, good.images.statistics(), good.images.value_range, good.images.aligner)
        refuse_near_duplicates(good.images, found)
        taught = joined((), [one.image for one in found])
        learned = self.learn(good, taught)
        decision = learned.decision.to_dict() | {"n_left_out": len(skipped)}
        return Lesson(learned.known, learned.scores, learned.raised, taught, decision, tuple(skipped))

    def learn(self, good: HeldOutGood, taught: Sequence[TaughtImage]) -> Learned:
        """Learn from images that have been read.

        Raises
        ------
        ImageError
            If a defective image is among the good ones.
        """
        _refuse_good_ones(good.images, taught)
        images_ = GoodImages(
            good.images, good.fold_of, good.score_map, good.scorer.levels, self.random_state, self.n_threads,
            self.progress,
        )  # fmt: skip
        return learning.learn(images_, taught)

    def read(
        self,
        scorer: Scorer,
        statistics: ImageStatistics,
        value_range: ValueRange | None,
        aligner: Aligner | None = None,
    ) -> tuple[list[TaughtPlaces], list[SkippedImage]]:
        """Read the defective images and choose the places that teach their defects.

        Images that an inspection would call INVALID are left out: it would never look for a defect in them.

        Raises
        ------
        ImageError
            If an image or a mask cannot be read, or all images are left out. The message names them.
        """
        today = datetime.date.today().isoformat()
        plain = replace(scorer, known=None)

        def read_one(one: LabelledImage) -> TaughtPlaces | SkippedImage:
            loaded = images.read(one.image, one.name, value_range, self.max_megapixels)
            reasons = image_checks.check_size(loaded.size_px, statistics) if self.checks else []
            if reasons:
                return SkippedImage(one.name, f"{one.name}: {reasons[0]}")
            if plain.mask is not None:
                plain.mask.check_size(loaded.size_px, one.name)
            size_px = plain.working_size(loaded.size_px, self.backbone)
            pixels = images.to_pixels(loaded, size_px)
            pixels, measured = alignment.placed(pixels, aligner, plain.mask)
            shift = measured or NO_SHIFT
            found = image_checks.measure(pixels)
            reasons = image_checks.check_pixels(found, statistics)
            if reasons and (self.checks or image_checks.shows_nothing(found)):
                return SkippedImage(one.name, f"{one.name}: {reasons[0]}")
            mask = None
            if one.given_mask is not None:
                given = defect_masks.read(one.given_mask, loaded.size_px, one.name, self.max_megapixels)
                mask = alignment.moved_back(_at_working_size(given, size_px), (-shift[0], -shift[1]))
                if not mask.any():
                    raise ImageError(f"The mask of {one.name} marks only what is moved out by --align. Leave it out.")
                if plain.mask is not None and not (mask & plain.mask.inside(size_px)).any():
                    raise ImageError(
                        f"The mask of {one.name} marks only what the inspection mask ignores. Draw it where the image"
                        " is inspected."
                    )
            maps = feature_maps.from_pixels(pixels, self.backbone, n_scales=plain.n_scales)
            score_map = plain.score_map(plain.distances(maps), size_px)
            ready = replace(one, mask=mask, fingerprint=fingerprints.of_pixels(pixels))
            image, used = places.taught_image(ready, maps, score_map, plain.levels, plain.mask, today)
            return TaughtPlaces(image, one.name, loaded.size_px, score_map, used, np.asarray(maps[max(maps)]), shift)

        found: list[TaughtPlaces] = []
        skipped: list[SkippedImage] = []
        for one in threads.ordered_map(read_one, self.labelled, self.n_threads):
            if isinstance(one, SkippedImage):
                skipped.append(one)
            else:
                found.append(one)
            self.progress("reading defects", len(found) + len(skipped), len(self.labelled))
        if skipped and not found:
            raise ImageError(
                "No defective image can be used: each would be INVALID when it is inspected. Replace them, or leave"
                f" them out.{usable.listed([one.message for one in skipped])}"
            )
        _refuse_equal_ones(found)
        return found, skipped


def _at_working_size(mask: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Resize a mask; the defect keeps at least one pixel."""
    share = resampling.cell_means(mask, size_px)
    return np.asarray(share >= min(0.5, float(share.max())))


def joined(before: Sequence[TaughtImage], new: Sequence[TaughtImage]) -> tuple[TaughtImage, ...]:
    """Add images to those that were taught before. An image that is taught again replaces its earlier one."""
    again = {image.fingerprint for image in new}
    return (*(image for image in before if image.fingerprint not in again), *new)


def _refuse_equal_ones(found: Sequence[TaughtPlaces]) -> None:
    known: dict[str, str] = {}
    for one in found:
        first = known.setdefault(one.image.fingerprint, one.path)
        if first != one.path:
            raise ImageError(
                f"{first} and {one.path} are the same image. A defect must be shown by different images: leave one of"
                " them out."
            )


def refuse_near_duplicates(good: TrainingSet[Any], found: Sequence[TaughtPlaces]) -> None:
    """Refuse a defective image that is nearly the same as a good one.

    Raises
    ------
    ImageError
        If there is one. The message names both.
    """
    coarsest = max(good.kept[0].maps)
    maps = [*(image.maps[coarsest] for image in good.kept), *(one.coarsest for one in found)]
    distances_sq = near_duplicates.distances_sq(maps)[len(good.kept) :, : len(good.kept)]
    for one, distances in zip(found, distances_sq):
        nearest = int(distances.argmin())
        if distances[nearest] < near_duplicates.MAX_DISTANCE**2:
            raise ImageError(
                f"{one.path} is among the defective images (kind {one.image.kind!r}), and {good.names[nearest]}"
                " among the good ones is nearly the same image. Remove it from one of them."
            )


def _refuse_good_ones(good: TrainingSet[object], taught: Sequence[TaughtImage]) -> None:
    names = dict(zip(good.fingerprints, good.names))
    for image in taught:
        if image.fingerprint in names:
            raise ImageError(
                f"{image.name} is among the defective images (kind {image.kind!r}), and {names[image.fingerprint]}"
                " among the good ones is the same image. Remove it from one of them."
            )
