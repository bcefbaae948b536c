"""Learning to align: where the good images lie, from a first look at all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .. import threads
from ..errors import ImageError
from ..features import images, registration
from ..features.alignment import Aligner
from ..features.reference import N_IMAGES

if TYPE_CHECKING:
    from .training_set import Source


def learn(
    source: Source,
    working_sizes_px: Mapping[int, tuple[int, int]],
    n_threads: int,
    progress: Callable[[str, int, int], None],
) -> Aligner:
    """Read the first `N_IMAGES` good images and learn where they lie.

    Parameters
    ----------
    source : Source
    working_sizes_px : mapping of int to (int, int)
        By position in `source`, of the images that can be read.
    n_threads : int
    progress : callable (phase, done, total)

    Raises
    ------
    ImageError
        If the images have different sizes or show no common position.
    """
    sizes = set(working_sizes_px.values())
    if len(sizes) > 1:
        raise ImageError(
            "Good images of different sizes cannot be aligned. Crop them to one size, or fit without --align (in Python"
            " align=False)."
        )
    names, at = source.names, list(working_sizes_px)[:N_IMAGES]

    def thumbnail(i: int) -> np.ndarray | None:
        try:
            loaded = images.read(source.images[i], names[i], source.value_range, source.max_megapixels)
        except ImageError:
            return None  # it is skipped and named when the images are read again
        return registration.thumbnail(images.to_pixels(loaded, working_sizes_px[i]))

    found = []
    for done, one in enumerate(threads.ordered_map(thumbnail, at, n_threads), 1):
        found += [] if one is None else [one]
        progress("aligning images", done, len(at))
    if len(found) < 2:
        raise ImageError(f"{len(found)} good images can be read; at least 2 are needed to align them.")
    return Aligner.of(found, sizes.pop())
