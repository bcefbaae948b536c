"""Defective images as the user labels them: with a kind each, and masks if there are any."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np
from PIL import Image

from ..errors import ImageError, one_line
from ..features import defect_masks, image_files, images, size_limit
from ..features.images import ImageLike

DEFECT = "defect"  # kind of an image that no folder names
MAX_KINDS = 50
_N_NAMED = 3  # masks in a message
_HIDDEN = ("unknown", "good")  # names that a kind must not have

_log = logging.getLogger(__name__)

# A folder, files and folders, images, or the images of each kind; masks are given alike.
DefectsLike = Union[ImageLike, Iterable[ImageLike], Mapping[str, Iterable[ImageLike]]]
MasksLike = Union[str, "os.PathLike[str]", Iterable[Any], Mapping[str, Iterable[Any]]]


@dataclass(frozen=True)
class LabelledImage:
    """A defective image.

    Attributes
    ----------
    image : path, PIL image, ndarray or bytes
    name : str
        In messages.
    kind : str
    given_mask : path, PIL image, ndarray or None
        As the user gave it, at the size of the image.
    mask : ndarray of shape (h, w), bool, or None
        At the working size. None before the image is read, and without a mask.
    fingerprint : str
        Empty before the image is read.
    """

    image: ImageLike
    name: str
    kind: str
    given_mask: Any = None
    mask: np.ndarray | None = None
    fingerprint: str = ""

    @property
    def file_name(self) -> str:
        """Name without folders."""
        return Path(self.name).name


def collect(defects: DefectsLike, masks: MasksLike | None = None) -> list[LabelledImage]:
    """Return the defective images that a user passes, with their kinds and masks.

    Parameters
    ----------
    defects : folder, list of files and folders, list of images, or dict of such lists by kind
        In a folder, sub-folders name the kinds. Without them the kind is "defect".
    masks : folder, list, or dict of lists, optional
        A folder has the masks at the same places as the images, with or without "_mask" at the end of their names. A
        list or dict has the masks in the order of the images; None for an image without a mask.

    Returns
    -------
    list of LabelledImage

    Raises
    ------
    ImageError
        If there is no image, a name of a kind is not allowed, or masks do not match the images.
    TypeError
        If masks are given in another way than the images, or something else than a list is passed.
    """
    if isinstance(defects, Mapping):
        found = [one for kind, some in defects.items() for one in _of_list(_listed(some), kind)]
    else:
        found = _of_list(_listed(defects), DEFECT)
    if not found:
        raise ImageError("There are no defective images. Pass at least one, or leave the argument out.")
    _check_kinds(found)
    return found if masks is None else _with_masks(found, defects, masks)


def _listed(given: Any) -> list[Any]:
    """Return images as a list; a folder or a file is a list of one."""
    if isinstance(given, (str, os.PathLike)):
        return [given]
    is_image = isinstance(given, (bytes, Image.Image)) or (isinstance(given, np.ndarray) and given.ndim < 4)
    if is_image or not isinstance(given, Iterable):
        raise TypeError(
            f"A list is expected for defective images and masks, but {type(given).__name__} was passed. Pass [image]."
        )
    return list(given)


def _of_list(given: list[Any], kind: str) -> list[LabelledImage]:
    """Return images of a list; a folder is searched, and its sub-folders name the kinds."""
    found: list[LabelledImage] = []
    is_many = sum(isinstance(one, (str, os.PathLike)) and Path(one).is_dir() for one in given) > 1
    for i, one in enumerate(given):
        if not isinstance(one, (str, os.PathLike)):
            found.append(LabelledImage(images.buffered(one, images.name_of(one, i)), f"defect {i}", kind))
            continue
        for file in image_files.find_images([one]):
            of_folder = Path(one).name if is_many and Path(one).is_dir() and kind == DEFECT else kind
            named = file.relative.parts[0] if len(file.relative.parts) > 1 and kind == DEFECT else of_folder
            found.append(LabelledImage(file.path, str(file.path), named))
    return found


def _check_kinds(found: list[LabelledImage]) -> None:
    kinds = Counter(one.kind for one in found)
    for one in found:
        if not isinstance(one.kind, str) or not one.kind.strip() or not one.kind.isprintable():
            raise ImageError(f"{one.name} has the kind {one.kind!r}. The name of a kind must be printable text.")
        if one.kind.lower() in _HIDDEN:
            raise ImageError(
                f"{one.name} is among the defective images as kind {one.kind!r}, which is not a name for a kind of"
                " defect. Rename its folder, or move it to the good images."
            )
    if len(kinds) > MAX_KINDS:
        raise ImageError(
            f"The defective images have {len(kinds)} kinds, more than {MAX_KINDS}. Sub-folders must name kinds of"
            " defects, not single images or days."
        )


def _with_masks(found: list[LabelledImage], defects: DefectsLike, masks: MasksLike) -> list[LabelledImage]:
    given: list[Any]
    if isinstance(masks, (str, os.PathLike)):
        folder = Path(masks)
        if not folder.is_dir():
            raise ImageError(f"{folder} is not a folder of masks. Check the path.")
        stems = Counter(Path(one.name).stem for one in found)
        given = [_mask_in(folder, one, is_unique=stems[Path(one.name).stem] == 1) for one in found]
        if all(mask is None for mask in given):
            one = found[0]
            raise ImageError(
                f"No defective image has a mask in {folder}. The mask of {one.name} would be"
                f" {folder / one.kind / (Path(one.name).stem + '_mask.png')}. Rename the masks, or leave them out."
            )
        _tell_unused(folder, given)
    elif isinstance(masks, Mapping):
        if not isinstance(defects, Mapping) or set(masks) - set(defects):
            raise TypeError("Masks by kind need defective images by kind, with the same names.")
        given = [mask for kind, some in defects.items() for mask in _padded(masks.get(kind), len(_listed(some)))]
    else:
        given = _listed(masks)
    if len(given) != len(found):
        raise ImageError(
            f"There are {len(found)} defective images but {len(given)} masks. Pass one mask, or None, for each image."
        )
    return [LabelledImage(one.image, one.name, one.kind, mask) for one, mask in zip(found, given)]


def _tell_unused(folder: Path, used: Sequence[Path | None]) -> None:
    """Log which masks of a folder belong to no defective image: a misspelled one would else be missed silently."""
    unused = [file for file in image_files.find_images([folder]) if file.path not in used]
    if unused:
        names = [file.relative.as_posix() for file in unused[:_N_NAMED]] + ["..."] * (len(unused) > _N_NAMED)
        _log.warning(
            one_line(
                f"{len(unused)} of the masks in {folder} belong{'s' * (len(unused) == 1)} to no defective image:"
                f" {', '.join(names)}. A mask has the name of its image, with or without _mask at the end."
            )
        )


def _padded(masks: Iterable[Any] | None, n: int) -> list[Any]:
    return [None] * n if masks is None else _listed(masks)


def _mask_in(folder: Path, one: LabelledImage, is_unique: bool) -> Path | None:
    """Return the mask in the folder of its kind, or beside all others if no other image has this name."""
    name = Path(Path(one.name).name)
    return defect_masks.find(Path(one.kind) / name, folder) or (defect_masks.find(name, folder) if is_unique else None)


def check_readable(labelled: Iterable[LabelledImage], max_megapixels: float) -> None:
    """Check the headers of all images and masks, before time is spent on a fit.

    Raises
    ------
    ImageError
        If one cannot be read, an image is too small, or a mask has another size than its image.
    """
    for one in labelled:
        size_px = images.size_of(one.image, one.name, max_megapixels)
        size_limit.check_side(size_px, one.name, images.MIN_SIDE_PX)
        if isinstance(one.given_mask, (str, os.PathLike)):
            mask = os.fspath(one.given_mask)
            defect_masks.check_size(images.size_of(mask, mask, max_megapixels), mask, size_px, one.name)
