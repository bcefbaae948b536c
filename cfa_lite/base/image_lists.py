"""Images as a user passes them: a folder, or any iterable."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from PIL import Image

from ..features import images as images_
from ..features.images import ImageLike


def as_list(given: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """Return images as a list; a folder is searched."""
    if isinstance(given, (str, os.PathLike)):
        return [image.path for image in images_.find_images([given])]
    if isinstance(given, np.ndarray) and given.dtype.kind in "OSU":  # of paths, as scikit-learn's splitters index them
        given = given.ravel().tolist()
    is_array = isinstance(given, np.ndarray) and given.ndim < 4
    if is_array or isinstance(given, (bytes, Image.Image)) or hasattr(given, "read"):
        raise TypeError("One image was passed where a list of images is expected. Pass [image], or use inspect(image).")
    return [images_.buffered(image, images_.name_of(image, i)) for i, image in enumerate(given)]
