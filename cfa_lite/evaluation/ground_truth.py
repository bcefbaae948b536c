"""Images whose answer is known: where they and the masks of their defects are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ImageError
from ..features import images

GOOD = "good"
_LAYOUT = "Lay it out as test/good and test/<defect>, or name two folders, one of good and one of defective images."


@dataclass(frozen=True)
class KnownImage:
    """An image whose answer is known.

    Attributes
    ----------
    path : Path
    kind : str
        "good", or the name of the defect.
    mask : Path or None
        Image of where the defect is; None for good images and where nobody has drawn one.
    """

    path: Path
    kind: str
    mask: Path | None

    @property
    def defective(self) -> bool:
        """Whether the image shows a defect."""
        return self.kind != GOOD


def find_test(root: Path) -> list[KnownImage]:
    """Test images laid out as in MVTec AD: test/good, test/<defect>, ground_truth/<defect>/<stem>_mask.png.

    Parameters
    ----------
    root : Path
        The data set (it holds test/), or its test folder (it holds good/).

    Returns
    -------
    list of KnownImage
        The good ones first, then kind by kind. Without a ground_truth folder, `mask` is None.

    Raises
    ------
    ImageError
        If `root`, good images, defective images or the mask of one of them are missing.
    """
    if not root.is_dir():
        raise ImageError(f"{root} is not a folder. Check the path.")
    test = root / "test" if (root / "test").is_dir() else root
    if not (test / GOOD).is_dir():
        raise ImageError(f"{test} is a test folder without good images: it has no folder {GOOD}. {_LAYOUT}")
    kinds = sorted(f.name for f in test.iterdir() if f.is_dir() and f.name != GOOD and not f.name.startswith("."))
    if not kinds:
        raise ImageError(f"{test} has no folder but {GOOD}: there is no defect to find. {_LAYOUT}")
    masks = Path(os.path.abspath(test)).parent / "ground_truth" if test == root else root / "ground_truth"
    pictures = [KnownImage(found.path, GOOD, None) for found in images.find_images([test / GOOD])]
    for kind in kinds:
        for found in images.find_images([test / kind]):
            mask = _mask_of(found, masks / kind) if masks.is_dir() else None
            pictures.append(KnownImage(found.path, kind, mask))
    return pictures


def two_folders(good: Path, defects: Path, masks: Path | None) -> list[KnownImage]:
    """Test images from any two folders.

    Parameters
    ----------
    good, defects : Path
        Folders, with all below them. The kind of a defective image is the first folder below `defects` it
        lies in, or "defect" if it lies in none.
    masks : Path or None
        Holds the mask of each defective image at the same place as `defects` does the image, under the
        same name with or without "_mask" at its end.

    Raises
    ------
    ImageError
        If a folder is missing, holds no image or holds one of the others, or if a mask is missing.
    """
    for inner, outer in ((good, defects), (defects, good), (masks, good), (masks, defects)):
        if inner is not None and inner.resolve().is_relative_to(outer.resolve()):
            raise ImageError(f"{inner} lies in {outer}: its images would count twice. Keep the folders apart.")
    pictures = [KnownImage(found.path, GOOD, None) for found in images.find_images([good])]
    for found in images.find_images([defects]):
        kind = found.relative.parts[0] if len(found.relative.parts) > 1 else "defect"
        if kind == GOOD:
            raise ImageError(f"{found.path} lies in a folder {GOOD} among the defective images. Rename or move it.")
        pictures.append(KnownImage(found.path, kind, None if masks is None else _mask_of(found, masks)))
    return pictures


def _mask_of(image: images.ImageFile, masks: Path) -> Path:
    """The mask at the image's place below `masks`."""
    folder, stem = masks / image.relative.parent, image.relative.stem
    for candidate in _mask_names(stem):
        if (folder / candidate).is_file():
            return folder / candidate
    wanted = folder / f"{stem}_mask.png"
    raise ImageError(f"{image.path} has no mask: {wanted} does not exist. Draw it, or leave the image out.")


def _mask_names(stem: str) -> Iterator[str]:
    for name in (f"{stem}_mask", stem):
        for ending in sorted(images.SUFFIXES):
            yield name + ending
            yield name + ending.upper()


def read_mask(image: KnownImage, size_px: tuple[int, int]) -> np.ndarray:
    """Where the defect is: bool (h, w), all False for a good image.

    A pixel counts above half of the mask's own maximum, so that masks of 0 and 1, of 255 or of 16 bit are all
    read as meant.

    Parameters
    ----------
    image : KnownImage
        With a mask, if it is defective.
    size_px : (int, int)
        Height and width of the image.

    Raises
    ------
    ImageError
        If there is no mask, if it cannot be read, is not of the image's size or is black all over.
    """
    if not image.defective:
        return np.zeros(size_px, bool)
    if image.mask is None:
        raise ImageError(f"{image.path} has no mask. Draw one, or do without pixel measures.")
    band = images.read(image.mask, str(image.mask))[0]
    values = np.asarray(band if band.mode == "F" else band.convert("L"), np.float32)
    (h, w), (image_h, image_w) = values.shape, size_px
    if (h, w) != (image_h, image_w):
        raise ImageError(
            f"ground truth {image.mask} is {w}x{h} px but its image {image.path} is {image_w}x{image_h} px."
            " Draw it at the image's own size."
        )
    if not values.any():
        raise ImageError(
            f"ground truth {image.mask} is black all over but {image.path} counts as defective. Draw the defect,"
            " or move the image to the good ones."
        )
    return values > values.max() / 2
