"""Stage 1: image files, PIL images and arrays -> pixels of the working size.

Pixels are float32 (3, h, w) in red, green, blue order from 0 to 255, whatever the source's bit depth.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..errors import ImageError
from ..method import _kernels
from .mask import InspectionMask

ImageLike = str | os.PathLike | Image.Image | np.ndarray
ValueRange = tuple[float, float]

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"))
# None that starts another program; those that Pillow knows without loading all its readers come first.
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "DIB", "TIFF", "WEBP")
MIN_SIDE_PX = 32  # below, an image has fewer than two patches a side at the coarsest stage
PAGES, CUT = "pages", "cut"  # keys of `info`
_DTYPES = (np.uint8, np.uint16, np.int32, np.float32)


@dataclass(frozen=True)
class ImageFile:
    """An image on disk and its place below the folder it was found in."""

    path: Path
    relative: Path


def find_images(inputs: Iterable[str | os.PathLike]) -> list[ImageFile]:
    """Images among files and, recursively, folders; each file once, folders in sorted order.

    A file that is named is taken whatever its ending; in folders the ending decides (`SUFFIXES`), and
    hidden files and folders are left out.

    Raises
    ------
    ImageError
        If an input does not exist or a folder holds no image.
    """
    found: dict[str, ImageFile] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            pictures = []
            for folder, subfolders, names in os.walk(given):
                subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
                for name in sorted(names):
                    if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                        path = Path(folder, name)
                        pictures.append(ImageFile(path, path.relative_to(given)))
            if not pictures:
                raise ImageError(f"{given} holds no image ({', '.join(sorted(SUFFIXES))}). Name another folder.")
        elif given.exists():
            pictures = [ImageFile(given, Path(given.name))]
        else:
            raise ImageError(f"{given} does not exist. Check the path.")
        for picture in pictures:
            found.setdefault(os.path.realpath(picture.path), picture)
    return list(found.values())


def name_of(image: ImageLike, position: int) -> str:
    """What messages call an image: its path, or its place in the list."""
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {position}"


def read(image: ImageLike, name: str = "image", value_range: ValueRange | None = None) -> list[Image.Image]:
    """Open `image` as PIL bands: one image in mode L or RGB (8 bit) or F, or three in mode F.

    Parameters
    ----------
    image : path, PIL.Image.Image, or ndarray (h, w), (h, w, 1), (h, w, 3) or (h, w, 4); uint8, uint16, int32 or float32
        8 bit is taken as it is. 16 bit: 0 to 65535 becomes 0 to 255 in floating point, neither clipped nor rounded.
        32 bit and floating point need `value_range`. 1 bit is 0 and 255. Alpha is dropped, palettes, CMYK and others
        become RGB, EXIF orientation is applied. Of several pages the first is taken; of a file, `info[PAGES]` of the
        first band tells how many there are, and `info[CUT]` whether it has 16-bit colours, of which Pillow reads 8.
    name : str
        What error messages call it.
    value_range : (float, float), optional
        Values that become 0 and 255, linearly, in floating point; what lies outside goes on beyond.

    Raises
    ------
    ImageError
        If a file cannot be read as an image, or an image is too small or of a kind not known.
    TypeError, ValueError
        If `image` is something else, or an array of another dtype or shape.
    """
    if isinstance(image, np.ndarray):
        bands = _bands_of_array(image, name, value_range)
    elif isinstance(image, Image.Image):
        with _reading(name):
            bands = _bands_of_pil(image, name, value_range)
    elif isinstance(image, (str, os.PathLike)):
        with _opened(image, name) as file:
            deep = file.mode == "RGB" and any("16" in str(tile[3]) for tile in getattr(file, "tile", ()))
            bands = _bands_of_pil(file, name, value_range)
            bands[0].info |= {PAGES: getattr(file, "n_frames", 1), CUT: deep}
    else:
        raise TypeError(f"{name} is a {type(image).__name__}; give a path, a PIL image or a NumPy array")
    w, h = bands[0].size
    if min(h, w) < MIN_SIDE_PX:
        raise ImageError(f"{name} is {w}x{h} px; at least {MIN_SIDE_PX}x{MIN_SIDE_PX} are needed. Use larger crops.")
    return bands


@contextmanager
def _opened(path: str | os.PathLike, name: str) -> Iterator[Image.Image]:
    """An image file, whose errors, also those while the block reads its pixels, become ImageError."""
    with _reading(name):
        try:
            file = Image.open(path, formats=_FORMATS)
        except FileNotFoundError:
            raise ImageError(f"{name} does not exist. Check the path.") from None
        with file:
            yield file


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """A block in which Pillow reads, as it does of an image that was opened and not yet read."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error ...
        raise ImageError(f"{name} cannot be read as an image ({error}). Save it again or leave it out.") from error


def _bands_of_array(array: np.ndarray, name: str, value_range: ValueRange | None) -> list[Image.Image]:
    if array.dtype not in _DTYPES:
        raise TypeError(
            f"{name} is an array of {array.dtype}; give uint8 (0 to 255), uint16 (0 to 65535), or int32 or float32 with"
            " a range"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise ValueError(f"{name} is an array of shape {array.shape}; give (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)")
    if array.ndim == 3:
        array = array[:, :, 0] if array.shape[2] == 1 else array[:, :, :3]
    if array.dtype == np.uint8 and value_range is None:
        return [Image.fromarray(np.ascontiguousarray(array))]
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    return [_floating(plane, name, value_range) for plane in planes]


def _floating(plane: np.ndarray, name: str, value_range: ValueRange | None) -> Image.Image:
    """One plane (h, w) of any depth as a floating-point band of 0 to 255."""
    low, high = value_range or (0.0, 65535.0)
    if value_range is None and plane.dtype not in (np.uint8, np.uint16) and _outside_16_bits(plane):
        raise ImageError(
            f"{name} has values that no rule brings to 0 to 255 ({plane.dtype}). Say what is black and white: fit with"
            " --range LOW,HIGH, or save it as 8 or 16 bit."
        )
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise ImageError(f"{name} holds values that are not finite. Save it again or leave it out.")
    values = (plane.astype(np.float32) - np.float32(low)) / np.float32((high - low) / 255)
    return Image.fromarray(np.ascontiguousarray(values))


def _outside_16_bits(plane: np.ndarray) -> bool:
    """Some readers and writers call 16-bit grey 32 bit."""
    return plane.dtype.kind == "f" or plane.min() < 0 or plane.max() > 65535


def _bands_of_pil(image: Image.Image, name: str, value_range: ValueRange | None) -> list[Image.Image]:
    image = ImageOps.exif_transpose(image)  # also loads the pixels
    if image.mode.startswith("I") or image.mode == "F":
        return [_floating(np.asarray(image), name, value_range)]
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    if value_range is None:
        return [image.copy()]
    return [_floating(np.asarray(band), name, value_range) for band in image.split()]


def value_range_of(images: Iterable[tuple[ImageLike, str]]) -> ValueRange:
    """Lowest and highest value of images (image, name), in the values of their files; unreadable ones do not count.

    Raises
    ------
    ImageError
        If there is only one value.
    """
    low, high = np.inf, -np.inf
    for image, name in images:
        try:
            for band in read(image, name, (0.0, 255.0)):  # values as they are
                values = np.asarray(band)
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        except ImageError:
            continue
    if not low < high:
        raise ImageError("the good images hold no two values, so no range can be taken from them.")
    return low, high


def size_of(image: ImageLike, name: str = "image") -> tuple[int, int]:
    """Height and width in pixels as `read` would give them; of a file only the head is read."""
    if isinstance(image, np.ndarray) and image.ndim >= 2:
        return image.shape[0], image.shape[1]
    if isinstance(image, Image.Image):
        with _reading(name):
            return _upright_size(image)
    if isinstance(image, (str, os.PathLike)):
        with _opened(image, name) as file:
            return _upright_size(file)
    raise TypeError(f"{name} is a {type(image).__name__}; give a path, a PIL image or a NumPy array")


def _upright_size(image: Image.Image) -> tuple[int, int]:
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # orientations that swap the sides
    if turned and image.format == "TIFF":  # Pillow's versions differ in whether they have turned its size already
        image = ImageOps.exif_transpose(image)
        turned = False
    w, h = image.size
    return (w, h) if turned else (h, w)


def working_size(size_px: tuple[int, int], scale: float, unit_px: int) -> tuple[int, int]:
    """Height and width times `scale`, each brought to the nearest multiple of `unit_px`, at least one."""
    h, w = (max(1, round(side * scale / unit_px)) * unit_px for side in size_px)
    return h, w


def middle_size(sizes_px: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The size whose area is in the middle; of an even number the larger."""
    by_area = sorted(sizes_px, key=lambda size: size[0] * size[1])
    return by_area[len(by_area) // 2]


def to_pixels(bands: list[Image.Image], size_px: tuple[int, int], area: InspectionMask | None = None) -> np.ndarray:
    """Bands of `read`, resized (bilinear, antialiased) to `size_px`: float32 (3, h, w), 0 to 255.

    What `area` leaves out is covered.
    """
    pixels = _resized(bands, size_px)
    return pixels if area is None else area.cover(pixels)


def _resized(bands: list[Image.Image], size_px: tuple[int, int]) -> np.ndarray:
    h, w = size_px
    resized = [band.resize((w, h), Image.Resampling.BILINEAR) for band in bands]
    planes = resized[0].split() if len(resized) == 1 else resized  # an array of three channels is slow to take apart
    pixels = np.empty((3, h, w), np.float32)
    for c in range(3):
        pixels[c] = np.asarray(planes[c % len(planes)])
    return pixels


def halve(pixels: np.ndarray) -> np.ndarray:
    """Half the size: (3, h, w) -> (3, h/2, w/2), both sides even.

    The triangle filter (1, 3, 3, 1) / 8 along both sides, which is what `to_pixels` does for a factor
    of two; the plain 2x2 mean lets finer texture alias (DESIGN.md, half size).
    """
    n, h, w = pixels.shape
    halved = np.empty((n, h // 2, w // 2), np.float32)
    _kernels.halve(pixels, halved)
    return halved
