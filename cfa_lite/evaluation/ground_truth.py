"""Test images with known ground truth: their labels, and the masks of their defects."""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ImageError
from ..features import defect_masks, images
from ..features.image_files import Found, ImageFile, LeftOut, beside_folders
from ..features.size_limit import MAX_MEGAPIXELS

GOOD = "good"
_UNKNOWN = "defect"  # label of a defect whose kind is not known
_MASK_FOLDERS = ("ground_truth", "masks")
_NO_DEFECTS = {"ground_truth": "folder of masks", "masks": "folder of masks", "train": "training folder"}
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
    """Find the test images of a data set in the layout of MVTec AD, or of a folder in which each defect has a mask.

    The layout of MVTec AD is ``test/good`` and ``test/<defect>``; the mask of ``test/<defect>/<stem>.png`` is
    ``ground_truth/<defect>/<stem>_mask.png``. The other layout is ``line`` and ``masks``: an image that has a mask of
    its name is defective, and the others are good. A table ``defects.csv`` beside them may name the defects, in the
    columns file and defect.

    Parameters
    ----------
    root : Path
        The data set, which contains ``test`` or ``line``, or one of these two folders.

    Returns
    -------
    sequence of LabeledImage
        Good images first, then defect by defect. Without a folder of masks every `mask` is None. Its attribute
        `left_out` has what the folders hold besides.

    Raises
    ------
    ImageError
        If `root`, the good images, the defective images or the mask of a defective image is missing, or a mask belongs
        to no image.
    """
    if not root.is_dir():
        raise ImageError(f"{root} is not a folder. Check the path.")
    test = root / "test" if (root / "test").is_dir() else root
    if test == root and (line := _line_of(root)):
        return _find_line(*line)
    if not (test / GOOD).is_dir():
        raise ImageError(f"{test} is a test set without good images: it has no folder {GOOD}. {_LAYOUT}")
    folders = sorted(f.name for f in test.iterdir() if f.is_dir() and f.name != GOOD and not f.name.startswith("."))
    others = set(_NO_DEFECTS).intersection(folders) if test == root else set()
    defects = [name for name in folders if name not in others]
    if not defects:
        beside = f"the others are {', '.join(sorted(others))}" if others else f"its only folder is {GOOD}"
        raise ImageError(f"{test} is a test set without defective images: {beside}. {_LAYOUT}")
    masks = _masks_of(test, root)
    good = images.find_images([test / GOOD])
    found = [LabeledImage(file.path, GOOD, None) for file in good]
    left_out = [*beside_folders(test), *good.left_out]
    left_out += [LeftOut(test / name, _NO_DEFECTS[name]) for name in sorted(others) if test / name != masks]
    for defect in defects:
        defective = images.find_images([test / defect])
        left_out += defective.left_out
        for file in defective:
            found.append(LabeledImage(file.path, defect, _find_mask(file, masks / defect) if masks else None))
    return Found(found, left_out)


def _masks_of(test: Path, root: Path) -> Path | None:
    """Return the folder of masks of a test folder: beside it, or among its folders if it is not called test."""
    absolute = Path(os.path.abspath(test))  # noqa: PTH100 (resolve would follow links)
    beside = absolute.parent / "ground_truth" if test == root else root / "ground_truth"
    inside = [test / name for name in _MASK_FOLDERS] if test == root else []
    return next((folder for folder in (*inside, beside) if folder.is_dir()), None)


def _line_of(root: Path) -> tuple[Path, Path] | None:
    """Return the folder of images in which each defect has a mask, and the folder of the masks, or None."""
    if (root / "line").is_dir() and (root / "masks").is_dir():
        return root / "line", root / "masks"
    beside = Path(os.path.abspath(root)).parent / "masks"  # noqa: PTH100 (as above)
    is_other = root.name == "masks" or (root.name != "line" and (beside.parent / "line").is_dir())
    is_line = not is_other and beside.is_dir() and not any(path.is_dir() for path in root.iterdir())
    return (root, beside) if is_line else None


def _find_line(line: Path, masks: Path) -> Found[LabeledImage]:
    found, unused = images.find_images([line]), {file.path for file in images.find_images([masks])}
    kinds = _kinds(line.with_name("defects.csv"))
    labeled = []
    for file in found:
        mask = defect_masks.find(file.relative, masks)
        kind = kinds.get(file.relative.as_posix(), "")
        if kind and mask is None:
            mask = _find_mask(file, masks)  # raises
        unused.discard(mask or Path())
        labeled.append(LabeledImage(file.path, (kind or _UNKNOWN) if mask else GOOD, mask))
    if unused:
        raise ImageError(
            f"{sorted(unused)[0]} is the mask of no image in {line}, so an image would count as good. Give the mask the"
            " name of its image, or remove it."
        )
    labels = {image.label for image in labeled}
    if GOOD not in labels or len(labels) == 1:
        missing = "good" if GOOD not in labels else "defective"
        raise ImageError(f"{line} with the masks in {masks} has no {missing} image. {_LAYOUT}")
    return Found(sorted(labeled, key=lambda image: (image.defective, image.label)), found.left_out)


def _kinds(table: Path) -> dict[str, str]:
    """Read the defect of each image from a table with the columns file and defect, if there is one."""
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return {row["file"]: row["defect"] or "" for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(
            f"{table} cannot be read as a table of defects ({error!r}). Its first line must be `file,defect`; or rename"
            " it."
        ) from error


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
        label = file.relative.parts[0] if len(file.relative.parts) > 1 else _UNKNOWN
        if label == GOOD:
            raise ImageError(f"{file.path} is in a folder {GOOD} among the defective images. Rename that folder.")
        found.append(LabeledImage(file.path, label, None if masks is None else _find_mask(file, masks)))
    return Found(found, (*found_good.left_out, *found_defects.left_out))


def _find_mask(image: ImageFile, masks: Path) -> Path:
    found = defect_masks.find(image.relative, masks)
    if found is None:
        wanted = masks / image.relative.parent / f"{image.relative.stem}_mask.png"
        raise ImageError(f"{image.path} has no mask: {wanted} does not exist. Draw the mask, or leave out the image.")
    return found


def read_mask(image: LabeledImage, size_px: tuple[int, int], max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Read the ground-truth mask of an image.

    A pixel is defective if its value is above half of the largest value in the mask. Masks whose white is 1, 255 or
    65535 are therefore all read correctly.

    Parameters
    ----------
    image : LabeledImage
        Must have a mask if it is defective.
    size_px : (int, int)
        Height and width of the image.
    max_megapixels : float, default: 200
        A larger file is refused.

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
    return defect_masks.read(image.mask, size_px, str(image.path), max_megapixels)


class GroundTruthMasks:
    """The masks of test images, read once and kept compressed in memory.

    All masks are read and checked when the object is made, so that an evaluation does not end in the middle because of
    a bad mask.

    Parameters
    ----------
    labeled_images : iterable of LabeledImage
        The mask of an image that cannot be read itself is skipped.
    max_megapixels : float, default: 200

    Raises
    ------
    ImageError
        As for `read_mask`, if a mask cannot be used.
    """

    def __init__(self, labeled_images: Iterable[LabeledImage], max_megapixels: float = MAX_MEGAPIXELS) -> None:
        self._max_megapixels = max_megapixels
        self._packed: dict[LabeledImage, _PackedMask] = {}
        for image in labeled_images:
            if image.mask is None:
                continue
            try:
                size_px = images.size_of(image.path, str(image.path), max_megapixels)
            except ImageError:
                continue
            self._packed[image] = _PackedMask(size_px, _pack(read_mask(image, size_px, max_megapixels)))

    def __len__(self) -> int:
        return len(self._packed)

    def mask(self, image: LabeledImage, size_px: tuple[int, int]) -> np.ndarray:
        """Return the mask of an image as `read_mask` does, but without reading a file again."""
        packed = self._packed.get(image)
        if packed is None or packed.size_px != size_px:
            return read_mask(image, size_px, self._max_megapixels)
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
