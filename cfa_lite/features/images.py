"""Image files, PIL images and arrays -> pixels of the working size.

Pixels are float32 (3, h, w) in red, green, blue order from 0 to 255, for every bit depth of the source.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any, Union

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..method import _kernels
from . import decoding
from .image_files import SUFFIXES, Found, ImageFile, find_images
from .mask import InspectionMask
from .size_limit import MAX_MEGAPIXELS, check_side

__all__ = [
    "SUFFIXES", "Found", "ImageFile", "ImageLike", "LoadedImage", "ValueRange", "buffered", "find_images", "halve",
    "middle_size", "name_of", "read", "size_of", "to_pixels", "value_range_of", "working_size",
]  # fmt: skip

ImageLike = Union[str, "os.PathLike[str]", Image.Image, np.ndarray, bytes, IO[bytes]]
ValueRange = tuple[float, float]

MIN_SIDE_PX = 32  # a smaller image has fewer than two patches per side at the coarsest stage


@dataclass(frozen=True)
class LoadedImage:
    """An image in memory, at its own size.

    Attributes
    ----------
    bands : tuple of PIL.Image.Image
        One image in mode L, RGB (8 bit) or F, or three in mode F: red, green, blue. Mode F is scaled to 0 to 255.
    n_pages : int
        Number of pages of the file, of which the first one was read.
    is_depth_cut : bool
        Whether the file has 16-bit colors, of which Pillow reads the upper 8 bits.
    """

    bands: tuple[Image.Image, ...]
    n_pages: int = 1
    is_depth_cut: bool = False

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width in pixels."""
        w, h = self.bands[0].size
        return h, w


def name_of(image: ImageLike, position: int) -> str:
    """Name an image for messages: its path, the name of a file object, or "image <position>"."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    name = getattr(image, "name", None) if _is_file_object(image) else None
    return name if isinstance(name, str) else f"image {position}"


def _is_file_object(image: object) -> bool:
    return hasattr(image, "read") and not isinstance(image, (str, os.PathLike, bytes))


def buffered(image: ImageLike, name: str = "image") -> ImageLike:
    """Replace a file object by its bytes, so that the image can be read more than once.

    Parameters
    ----------
    image : path, PIL.Image.Image, ndarray, bytes, or binary file object
        Everything but a file object is returned unchanged. A seekable file object is read from its start and left at
        its current position. Another one is read from its current position, which is possible only once.
    name : str
        Name of the image in error messages.

    Raises
    ------
    ImageError, TypeError
        If the file object cannot be read, or was opened in text mode.
    """
    if not _is_file_object(image):
        return image
    file: Any = image
    with decoding.reading(name):
        if getattr(file, "seekable", bool)():
            position = file.tell()
            file.seek(0)
            content = file.read()
            file.seek(position)
        else:
            content = file.read()
    if not isinstance(content, bytes):
        raise TypeError(f"{name} is a file that gives {type(content).__name__}, not bytes. Open it in mode 'rb'.")
    return content


def read(
    image: ImageLike,
    name: str = "image",
    value_range: ValueRange | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_side_px: int = MIN_SIDE_PX,
) -> LoadedImage:
    """Read an image.

    Parameters
    ----------
    image : path, PIL.Image.Image, ndarray, bytes, or binary file object
        Arrays have shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4). The channel order is red, green, blue. OpenCV
        frames are blue, green, red: pass ``frame[:, :, ::-1]``. A fourth channel is alpha and is ignored.

        ===================================  ==================================================================
        dtype                                values that become 0 and 255
        ===================================  ==================================================================
        bool                                 False and True
        uint8                                0 and 255
        uint16                               0 and 65535, without clipping or rounding
        int32, float16, float32, float64     those of `value_range`, which is required
        ===================================  ==================================================================

        Every byte order is accepted. Bytes and file objects hold the content of an image file. Palettes, CMYK and
        other color modes of files and PIL images become RGB. The EXIF orientation is applied. The first page of
        several pages is read. 32-bit integers from 0 to 65535 in a file or a PIL image are taken as 16 bit, because
        some programs store 16-bit images in this way.
    name : str
        Name of the image in error messages.
    value_range : (float, float), optional
        Values that become 0 and 255, linearly. Values outside the range are not clipped.
    max_megapixels : float, default: 200
        Largest file that is read, in millions of pixels. Arrays and PIL images are in memory already.
    min_side_px : int, default: 32

    Returns
    -------
    LoadedImage

    Raises
    ------
    ImageError
        If the file cannot be read as an image, the image is too small or too large, its values are not finite, or
        `value_range` is required.
    TypeError
        If `image` has another type, or an array has another dtype.
    ValueError
        If an array has another shape.
    """
    image = buffered(image, name)
    n_pages, is_depth_cut = 1, False
    if isinstance(image, np.ndarray):
        bands = decoding.bands_of_array(image, name, value_range)
    elif isinstance(image, Image.Image):
        with decoding.reading(name):
            bands = decoding.bands_of_pil(image, name, value_range)
    elif isinstance(image, (str, os.PathLike, bytes)):
        with decoding.opened(image, name, max_megapixels, value_range is not None) as file:
            is_depth_cut = decoding.is_depth_cut(file)
            bands = decoding.bands_of_pil(file, name, value_range)
            n_pages = decoding.n_pages(file)
    else:
        raise _unknown_type(image, name)
    loaded = LoadedImage(bands, n_pages, is_depth_cut)
    check_side(loaded.size_px, name, min_side_px)
    return loaded


def _unknown_type(image: object, name: str) -> TypeError:
    kind = type(image).__name__
    return TypeError(f"{name} has type {kind}; give a path, a PIL image, a NumPy array, bytes, or a binary file object")


def value_range_of(images: Iterable[tuple[ImageLike, str]], max_megapixels: float = MAX_MEGAPIXELS) -> ValueRange:
    """Find the lowest and the highest value of several images, before any scaling.

    Parameters
    ----------
    images : iterable of (image, str)
        Images and their names. Images that cannot be read are skipped.
    max_megapixels : float, default: 200

    Raises
    ------
    ImageError
        If all values are equal.
    """
    low, high = np.inf, -np.inf
    for image, name in images:
        try:
            for band in read(image, name, (0.0, 255.0), max_megapixels).bands:  # this range leaves the values unchanged
                values = np.asarray(band)
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        except ImageError:
            continue
    if not low < high:
        raise ImageError("the good images do not contain two different values, so no value range can be derived.")
    return low, high


def size_of(image: ImageLike, name: str = "image", max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Determine the height and width in pixels that `read` would give; only the header of a file is read.

    Parameters
    ----------
    image : path, PIL.Image.Image, ndarray, bytes, or binary file object
        A seekable file object is left at the position where it was. Another one is consumed: call `buffered` first.
    name : str
        Name of the image in error messages.
    max_megapixels : float, default: 200

    Raises
    ------
    ImageError, TypeError, ValueError
        As `read`; the values of arrays are not checked.
    """
    image = buffered(image, name)
    if isinstance(image, np.ndarray):
        if image.ndim < 2:
            raise ValueError(f"{name} is an array of shape {image.shape}; give {decoding.SHAPES}")
        return image.shape[0], image.shape[1]
    if isinstance(image, Image.Image):
        with decoding.reading(name):
            return decoding.upright_size(image)
    if isinstance(image, (str, os.PathLike, bytes)):
        with decoding.opened(image, name, max_megapixels) as file:
            return decoding.upright_size(file)
    raise _unknown_type(image, name)


def working_size(size_px: tuple[int, int], scale: float, unit_px: int) -> tuple[int, int]:
    """Scale a size (h, w) and round each side to a multiple of `unit_px`, at least one."""
    h, w = (max(1, round(side * scale / unit_px)) * unit_px for side in size_px)
    return h, w


def middle_size(sizes_px: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Select the size (h, w) with the median area; of an even number of sizes, the larger of the middle two."""
    by_area = sorted(sizes_px, key=lambda size: size[0] * size[1])
    return by_area[len(by_area) // 2]


def to_pixels(loaded: LoadedImage, size_px: tuple[int, int], mask: InspectionMask | None = None) -> np.ndarray:
    """Resize an image with an antialiased bilinear filter.

    Parameters
    ----------
    loaded : LoadedImage
    size_px : (int, int)
        Height and width of the result.
    mask : InspectionMask, optional
        Ignored pixels are covered with the values of their nearest inspected pixels.

    Returns
    -------
    ndarray (3, h, w) float32, 0 to 255
    """
    pixels = _resized(loaded.bands, size_px)
    return pixels if mask is None else mask.cover(pixels)


def _resized(bands: tuple[Image.Image, ...], size_px: tuple[int, int]) -> np.ndarray:
    h, w = size_px
    resized = tuple(band.resize((w, h), Image.Resampling.BILINEAR) for band in bands)
    planes = resized[0].split() if len(resized) == 1 else resized  # faster than slicing an array of three channels
    pixels = np.empty((3, h, w), np.float32)
    for c in range(3):
        pixels[c] = np.asarray(planes[c % len(planes)])
    return pixels


def halve(pixels: np.ndarray) -> np.ndarray:
    """Halve both sides of an image.

    Parameters
    ----------
    pixels : ndarray (n, h, w) float32
        Both sides are even.

    Returns
    -------
    ndarray (n, h/2, w/2) float32

    Notes
    -----
    The triangle filter (1, 3, 3, 1) / 8 along both sides, which is what `to_pixels` does for a factor of two. The
    plain 2x2 mean causes aliasing of fine texture.
    """
    n, h, w = pixels.shape
    halved = np.empty((n, h // 2, w // 2), np.float32)
    _kernels.halve(pixels, halved)
    return halved
