"""Masks of defects: finding the mask that belongs to an image, and reading it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import ImageError
from . import images
from .size_limit import MAX_MEGAPIXELS


def find(relative: Path, masks: Path) -> Path | None:
    """Find the mask of an image.

    Parameters
    ----------
    relative : Path
        Path of the image below its folder.
    masks : Path
        Folder of masks. A mask is at the same place below it, and has the name of the image with or without "_mask" at
        the end.

    Returns
    -------
    Path or None
    """
    folder = masks / relative.parent
    return next((folder / name for name in _names(relative.stem) if (folder / name).is_file()), None)


def _names(stem: str) -> Iterator[str]:
    for name in (f"{stem}_mask", stem):
        for suffix in sorted(images.SUFFIXES):
            yield name + suffix
            yield name + suffix.upper()


def check_size(size_px: tuple[int, int], mask: str, image_size_px: tuple[int, int], image: str) -> None:
    """Check that the size (h, w) of a mask is that of its image; both have names.

    Raises
    ------
    ImageError
        If it is another one.
    """
    (h, w), (image_h, image_w) = size_px, image_size_px
    if (h, w) != (image_h, image_w):
        raise ImageError(
            f"The ground-truth mask {mask} is {w}x{h} px but its image {image} is {image_w}x{image_h} px. Draw the mask"
            " at the size of the image."
        )


def read(
    mask: str | os.PathLike[str] | Image.Image | np.ndarray,
    size_px: tuple[int, int],
    image: str,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> np.ndarray:
    """Read the mask of a defect.

    A pixel is defective if its value is above half of the largest value in the mask. Masks whose white is 1, 255 or
    65535 are therefore all read correctly.

    Parameters
    ----------
    mask : path-like, PIL image or ndarray of shape (h, w)
    size_px : (int, int)
        Height and width of the image.
    image : str
        Name of the image in messages.
    max_megapixels : float, default: 200

    Returns
    -------
    ndarray of bool, shape (h, w)
        True where the image shows the defect.

    Raises
    ------
    ImageError
        If the mask cannot be read, is completely black or differs in size from the image.
    """
    name = os.fspath(mask) if isinstance(mask, (str, os.PathLike)) else f"mask of {image}"
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        mask = mask.astype(np.uint8)
    band = images.read(mask, name, None, max_megapixels, min_side_px=1).bands[0]  # its size is checked below
    values = np.asarray(band if band.mode == "F" else band.convert("L"), np.float32)
    check_size((values.shape[0], values.shape[1]), name, size_px, image)
    if not values.any():
        raise ImageError(
            f"The ground-truth mask {name} is completely black but {image} counts as defective. Draw the defect, or"
            " move the image to the good images."
        )
    found: np.ndarray = values > values.max() / 2
    return found
