"""Test images with known ground truth: their labels, and the masks of their defects."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ImageError
from ..features import defect_masks, images
from ..features.image_files import Found, beside_folders

GOOD = "good"
_LAYOUT = (
    "Arrange the images as test/good and test/<defect>, or name one folder of good and one folder of defective images."
)


@dataclass(frozen=True)
class LabeledImage:
    """A test image and its ground truth.

    Attributes
    ----------
    path : Path
    label : str
        "good", or the name of the defect.
    mask : Path or None
        Image that marks the defect. None for good images and if there is no mask.
    """

    path: Path
    label: str
    mask: Path | None

    @property
    def defective(self) -> bool:
        """Whether the image shows a defect."""
        return self.label != GOOD


def find_test_set(root: Path) -> Found[LabeledImage]:
    """Find the test images of a data set in the layout of MVTec AD.

    The images are in ``test/good`` and ``test/<defect>``; the mask of ``test/<defect>/<stem>.png`` is
    ``ground_truth/<defect>/<stem>_mask.png``.

    Parameters
    ----------
    root : Path
        The data set, which contains ``test``, or its test folder, which contains ``good``.

    Returns
    -------
    sequence of LabeledImage
        Good images first, then defect by defect. Without a folder ``ground_truth`` every `mask` is None. Its attribute
        `left_out` has what the folders hold besides.

    Raises
    ------
    ImageError
        If `root`, the good images, the defective images or the mask of a defective image is missing.
    """
    if not root.is_dir():
        raise ImageError(f"{root} is not a folder. Check the path.")
    test = root / "test" if (root / "test").is_dir() else root
    if not (test / GOOD).is_dir():
        raise ImageError(f"{test} is a test set without good images: it has no folder {GOOD}. {_LAYOUT}")
    defects = sorted(f.name for f in test.iterdir() if f.is_dir() and f.name != GOOD and not f.name.startswith("."))
    if not defects:
        raise ImageError(f"{test} is a test set without defective images: its only folder is {GOOD}. {_LAYOUT}")
    data_set = Path(os.path.abspath(test)).parent if test == root else root  # noqa: PTH100 (resolve would follow links)
    masks = data_set / "ground_truth"
    good = images.find_images([test / GOOD])
    found = [LabeledImage(file.path, GOOD, None) for file in good]
    left_out = [*beside_folders(test), *good.left_out]
    for defect in defects:
        defective = images.find_images([test / defect])
        left_out += defective.left_out
        for file in defective:
            mask = _find_mask(file, masks / defect) if masks.is_dir() else None
            found.append(LabeledImage(file.path, defect, mask))
    return Found(found, left_out)


def find_in_folders(good: Path, defects: Path, masks: Path | None) -> Found[LabeledImage]:
    """Find test images in a folder of good and a folder of defective images.

    Parameters
    ----------
    good : Path
        Folder of good images, searched recursively.
    defects : Path
        Folder of defective images, searched recursively. The label of an image is the name of the first folder below
        `defects` that contains it, or "defect".
    masks : Path or None
        Folder of masks. A mask is at the same place below `masks` as its image is below `defects`. It has the name of
        the image, with or without "_mask" at the end.

    Returns
    -------
    sequence of LabeledImage
        Good images first. Its attribute `left_out` has what the folders hold besides.

    Raises
    ------
    ImageError
        If a folder is missing, has no image or is inside another one, or if a mask is missing.
    """
    for inner, outer in ((good, defects), (defects, good), (masks, good), (masks, defects)):
        if inner is not None and inner.resolve().is_relative_to(outer.resolve()):
            raise ImageError(f"{inner} is inside {outer}, so its images would count twice. Use separate folders.")
    found_good, found_defects = images.find_images([good]), images.find_images([defects])
    found = [LabeledImage(file.path, GOOD, None) for file in found_good]
    for file in found_defects:
        label = file.relative.parts[0] if len(file.relative.parts) > 1 else "defect"
        if label == GOOD:
            raise ImageError(f"{file.path} is in a folder {GOOD} among the defective images. Rename that folder.")
        found.append(LabeledImage(file.path, label, None if masks is None else _find_mask(file, masks)))
    return Found(found, (*found_good.left_out, *found_defects.left_out))


def _find_mask(image: images.ImageFile, masks: Path) -> Path:
    found = defect_masks.find(image.relative, masks)
    if found is None:
        wanted = masks / image.relative.parent / f"{image.relative.stem}_mask.png"
        raise ImageError(f"{image.path} has no mask: {wanted} does not exist. Draw the mask, or leave out the image.")
    return found


def read_mask(image: LabeledImage, size_px: tuple[int, int]) -> np.ndarray:
    """Read the ground-truth mask of an image.

    A pixel is defective if its value is above half of the largest value in the mask. Masks whose white is 1, 255 or
    65535 are therefore all read correctly.

    Parameters
    ----------
    image : LabeledImage
        Must have a mask if it is defective.
    size_px : (int, int)
        Height and width of the image.

    Returns
    -------
    ndarray of bool, shape (h, w)
        True where the image shows the defect. All False for a good image.

    Raises
    ------
    ImageError
        If the mask is missing, cannot be read, is completely black or differs in size from the image.
    """
    if not image.defective:
        return np.zeros(size_px, bool)
    if image.mask is None:
        raise ImageError(f"{image.path} has no mask. Draw one, or evaluate without pixel metrics.")
    return defect_masks.read(image.mask, size_px, str(image.path))


class GroundTruthMasks:
    """The masks of test images, read once and kept compressed in memory.

    All masks are read and checked when the object is made, so that an evaluation does not end in the middle because of
    a bad mask.

    Parameters
    ----------
    labeled_images : iterable of LabeledImage
        The mask of an image that cannot be read itself is skipped.

    Raises
    ------
    ImageError
        As for `read_mask`, if a mask cannot be used.
    """

    def __init__(self, labeled_images: Iterable[LabeledImage]) -> None:
        self._packed: dict[LabeledImage, _PackedMask] = {}
        for image in labeled_images:
            if image.mask is None:
                continue
            try:
                size_px = images.size_of(image.path, str(image.path))
            except ImageError:
                continue
            self._packed[image] = _PackedMask(size_px, _pack(read_mask(image, size_px)))

    def __len__(self) -> int:
        return len(self._packed)

    def mask(self, image: LabeledImage, size_px: tuple[int, int]) -> np.ndarray:
        """Return the mask of an image as `read_mask` does, but without reading a file again."""
        packed = self._packed.get(image)
        if packed is None or packed.size_px != size_px:
            return read_mask(image, size_px)
        return _unpack(packed.bits, size_px)


@dataclass(frozen=True)
class _PackedMask:
    size_px: tuple[int, int]
    bits: bytes


def _pack(mask: np.ndarray) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def _unpack(bits: bytes, size_px: tuple[int, int]) -> np.ndarray:
    h, w = size_px
    return np.unpackbits(np.frombuffer(zlib.decompress(bits), np.uint8), count=h * w).reshape(h, w).astype(bool)
