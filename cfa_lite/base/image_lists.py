"""Images as a user passes them: a folder, or any iterable."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

import numpy as np
from PIL import Image

from ..features import images as images_
from ..features.image_files import Found, summary
from ..features.images import ImageLike

_log = logging.getLogger(__name__)


def as_list(given: ImageLike | Iterable[ImageLike]) -> Found[ImageLike]:
    """Return images as a list; a folder is searched, and what is left out of it is logged."""
    if isinstance(given, (str, os.PathLike)):
        found = images_.find_images([given])
        if found.left_out:
            _log.info("%s: %s", given, summary(found.left_out))
        return Found((image.path for image in found), found.left_out)
    if isinstance(given, np.ndarray) and given.dtype.kind in "OSU":  # of paths, as scikit-learn's splitters index them
        given = given.ravel().tolist()
    is_array = isinstance(given, np.ndarray) and given.ndim < 4
    if is_array or isinstance(given, (bytes, Image.Image)) or hasattr(given, "read"):
        raise TypeError("One image was passed where a list of images is expected. Pass [image], or use inspect(image).")
    return Found(images_.buffered(image, images_.name_of(image, i)) for i, image in enumerate(given))
