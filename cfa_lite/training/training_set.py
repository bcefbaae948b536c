"""The training set: normal images read at one scale, and what is kept of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from .. import threads
from ..errors import ImageError
from ..features import alignment, fingerprints, image_checks, images
from ..features.alignment import NO_SHIFT, Aligner, Shift
from ..features.image_checks import ImageStatistics, PixelStatistics
from ..features.images import ImageLike, ValueRange
from ..features.mask import InspectionMask
from ..features.reference import N_IMAGES, Appearance, Reference
from ..features.size_limit import MAX_MEGAPIXELS
from ..fitted import FittedProduct, SkippedImage
from . import aligning, odd_images, usable, value_range
from .framing import Framing
from .value_range import Coverage

Progress = Callable[[str, int, int], None]

N_UNUSUAL = 24  # number of normal images with the highest scores whose maps are kept for the report

T = TypeVar("T")  # what is kept of an image


@dataclass(frozen=True)
class TrainingSet(Generic[T]):
    """The normal images that could be used.

    Attributes
    ----------
    kept : list
        What is kept of each image.
    names : list of str
    sizes_px, working_sizes_px : list of (int, int)
        Height and width of each image, and at the working size.
    pixels : list of PixelStatistics
    fingerprints : list of str
        See `features.fingerprints`.
    appearances : list of Appearance or None
        None beyond the first `N_IMAGES` images.
    shifts : list of (int, int)
        How far each image was off before it was aligned.
    scale : float
        Working pixels per image pixel.
    skipped : tuple of SkippedImage
    mask : InspectionMask or None
    value_range : (float, float) or None
    """

    kept: list[T]
    names: list[str]
    sizes_px: list[tuple[int, int]]
    working_sizes_px: list[tuple[int, int]]
    pixels: list[PixelStatistics]
    fingerprints: list[str]
    appearances: list[Appearance | None]
    shifts: list[Shift]
    scale: float
    skipped: tuple[SkippedImage, ...]
    mask: InspectionMask | None = None
    value_range: ValueRange | None = None
    aligner: Aligner | None = None

    def only(self, which: np.ndarray) -> TrainingSet[T]:
        """Return the images for which `which`, an ndarray of shape (n,) of bool, is true."""
        return self.at(np.flatnonzero(which))

    def at(self, at: np.ndarray) -> TrainingSet[T]:
        """Return the images at positions `at`, an ndarray of shape (m,) of int, in this order."""
        return replace(
            self,
            kept=[self.kept[i] for i in at],
            names=[self.names[i] for i in at],
            sizes_px=[self.sizes_px[i] for i in at],
            working_sizes_px=[self.working_sizes_px[i] for i in at],
            pixels=[self.pixels[i] for i in at],
            fingerprints=[self.fingerprints[i] for i in at],
            appearances=[self.appearances[i] for i in at],
            shifts=[self.shifts[i] for i in at],
        )

    def without_odd_images(self) -> TrainingSet[T]:
        """Leave out images that an inspection would call INVALID, given all others."""
        odd = odd_images.find(self.sizes_px, self.pixels)
        if not odd:
            return self
        left_out = [SkippedImage(self.names[i], f"{self.names[i]}: {reason}") for i, reason in odd.items()]
        rest = self.only(np.array([i not in odd for i in range(len(self.names))]))
        return replace(rest, skipped=(*self.skipped, *left_out))

    def joined(self, other: TrainingSet[T]) -> TrainingSet[T]:
        """Return these images and those of another set, which were read in the same way."""
        return replace(
            self,
            kept=[*self.kept, *other.kept],
            names=[*self.names, *other.names],
            sizes_px=[*self.sizes_px, *other.sizes_px],
            working_sizes_px=[*self.working_sizes_px, *other.working_sizes_px],
            pixels=[*self.pixels, *other.pixels],
            fingerprints=[*self.fingerprints, *other.fingerprints],
            appearances=[*self.appearances, *other.appearances],
            shifts=[*self.shifts, *other.shifts],
        )

    def statistics(self) -> ImageStatistics:
        """Summarize sizes and pixels of the images."""
        return ImageStatistics.of(self.sizes_px, self.pixels)

    def reference(self) -> Reference | None:
        """Summarize how the images look as a whole; None if there are too few."""
        known = [(one, size) for one, size in zip(self.appearances, self.working_sizes_px) if one is not None]
        return Reference.of([one for one, _ in known], [size for _, size in known], self.pixels)


@dataclass(frozen=True)
class Source:
    """The images as the user gave them, and how to read them.

    Attributes
    ----------
    images : list of path, PIL image, ndarray or bytes
    mask : InspectionMask or None
    value_range : (float, float) or None
    checks : bool
        Whether images that an inspection would call INVALID are left out.
    max_megapixels : float
        A larger file is skipped.
    align : bool
        Whether an aligner is learned from the images.
    aligner : Aligner or None
        One that is known already.
    statistics : ImageStatistics or None
        Of a fitted model. The images that it would call INVALID are then left out, instead of those that are odd among
        the others.
    """

    images: Sequence[ImageLike]
    mask: InspectionMask | None = None
    value_range: ValueRange | None = None
    checks: bool = True
    max_megapixels: float = MAX_MEGAPIXELS
    align: bool = False
    aligner: Aligner | None = None
    statistics: ImageStatistics | None = None

    @classmethod
    def of_model(
        cls, images: Sequence[ImageLike], product: FittedProduct, max_megapixels: float, checks: bool
    ) -> Source:
        """Return images that are read as a fitted model reads them."""
        mask, known = product.scorer.mask, (product.aligner, product.statistics)
        return cls(images, mask, product.value_range, checks, max_megapixels, False, *known)

    @property
    def known_checks(self) -> ImageStatistics | None:
        """What each image is checked against when it is read; None if nothing is known before."""
        return self.statistics if self.checks else None

    @property
    def names(self) -> list[str]:
        """Name of each image in messages."""
        return [images.name_of(image, i) for i, image in enumerate(self.images)]


def read(
    source: Source,
    framing: Framing,
    extract: Callable[[int, np.ndarray], T],
    keep: Callable[[T], T],
    n_threads: int,
    progress: Progress,
) -> TrainingSet[T]:
    """Read all images at one scale, at which the median image has the area `framing.area_px`.

    Parameters
    ----------
    source : Source
    framing : Framing
    extract : callable (position, pixels) -> T
        Computes the values that are kept of an image, from its position in `source` and its pixels (3, h, w) of the
        working size.
    keep : callable (T) -> T
        Stores these values.
    n_threads : int
    progress : callable (phase, done, total)

    Raises
    ------
    ImageError
        If fewer than two images can be used, all have another size than the inspection mask, or the value range does
        not cover their values.
    """
    names = source.names
    sizes, skipped = _sizes(source, n_threads)
    usable.check_count(len(names), list(skipped.values()))
    scale = framing.scale(sizes.values())
    middle = images.middle_size(sizes.values())
    working = {
        i: images.working_size(middle if framing.one_size else size, scale, framing.unit_px)
        for i, size in sizes.items()
    }

    coverages: dict[str, Coverage] = {}

    aligner = aligning.learn(source, working, n_threads, progress) if source.align else source.aligner

    def extract_one(i: int) -> tuple[T, PixelStatistics, str, Appearance | None, Shift] | ImageError:
        try:
            loaded = images.read(source.images[i], names[i], source.value_range, source.max_megapixels)
        except ImageError as error:
            return error
        if source.value_range is not None:
            coverages[names[i]] = Coverage.of(loaded, source.value_range)
        pixels = images.to_pixels(loaded, working[i])
        appearance = Appearance.of(pixels) if i < N_IMAGES else None
        pixels, shift = alignment.placed(pixels, aligner, source.mask)
        measured = image_checks.measure(pixels)
        if source.known_checks is not None:
            reasons = image_checks.check_pixels(measured, source.known_checks)
            if reasons:
                return ImageError(f"{names[i]}: {reasons[0]}")
        fingerprint = fingerprints.of_pixels(pixels)
        return extract(i, pixels), measured, fingerprint, appearance, shift or NO_SHIFT

    kept: dict[int, T] = {}
    statistics: list[PixelStatistics] = []
    prints: list[str] = []
    appearances: list[Appearance | None] = []
    shifts: list[Shift] = []
    for done, (i, found) in enumerate(zip(sizes, threads.ordered_map(extract_one, sizes, n_threads)), 1):
        if isinstance(found, ImageError):
            skipped[i] = str(found)
        else:
            kept[i] = keep(found[0])
            statistics.append(found[1])
            prints.append(found[2])
            appearances.append(found[3])
            shifts.append(found[4])
        progress("reading images", done, len(sizes))
    usable.check_count(len(names), list(skipped.values()))
    if source.value_range is not None:
        value_range.check(coverages, source.value_range)
    found_set = TrainingSet(
        kept=list(kept.values()),
        names=[names[i] for i in kept],
        sizes_px=[sizes[i] for i in kept],
        working_sizes_px=[working[i] for i in kept],
        pixels=statistics,
        fingerprints=prints,
        appearances=appearances,
        shifts=shifts,
        scale=scale,
        skipped=tuple(SkippedImage(names[i], skipped[i]) for i in sorted(skipped)),
        mask=source.mask,
        value_range=source.value_range,
        aligner=aligner,
    )
    return found_set.without_odd_images() if source.checks and source.statistics is None else found_set


def _sizes(source: Source, n_threads: int) -> tuple[dict[int, tuple[int, int]], dict[int, str]]:
    """Return the size of each image that can be read, and a message for each other one."""
    names = source.names

    def size_of(i: int) -> tuple[int, int] | ImageError:
        try:
            size = images.size_of(source.images[i], names[i], source.max_megapixels)
            reasons = [] if source.known_checks is None else image_checks.check_size(size, source.known_checks)
            if reasons:
                return ImageError(f"{names[i]}: {reasons[0]}")
            if source.mask is not None:
                source.mask.check_size(size, names[i])
        except ImageError as error:
            return error
        return size

    found = list(threads.ordered_map(size_of, range(len(names)), n_threads))
    sizes = {i: size for i, size in enumerate(found) if not isinstance(size, ImageError)}
    return sizes, {i: str(error) for i, error in enumerate(found) if isinstance(error, ImageError)}
