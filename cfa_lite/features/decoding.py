"""Decoding: image files, PIL images and arrays -> PIL bands with values from 0 to 255."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import (
    Image,
    ImageOps,
    Jpeg2KImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
    features,
)

from ..errors import ImageError
from . import completeness, libtiff, row_order, size_limit, tiff

# No format that starts another program. Each reader is imported, because Pillow loads all readers for one it lacks.
_JPEG_2000 = ("JPEG2000",) if features.check("jpg_2000") else ()
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "DIB", "TIFF", "WEBP", *_JPEG_2000)
_DTYPES = (np.uint8, np.uint16, np.int32, np.float32, np.float64, np.float16)
_RANGE_16_BIT = (0.0, 65535.0)
_ORIENTATION = 0x0112  # EXIF tag
_MAX_VALUE = 255e6  # a million times the range
SHAPES = "(h, w), (h, w, 1), (h, w, 3) or (h, w, 4)"

Range = tuple[float, float]


@contextmanager
def opened(
    source: str | os.PathLike[str] | bytes,
    name: str,
    max_megapixels: float = size_limit.MAX_MEGAPIXELS,
    is_scaled: bool = False,
) -> Iterator[Image.Image]:
    """Open an image file; errors, also those of reading its pixels inside the block, become ImageError.

    A file of more than `max_megapixels` is refused. `is_scaled` tells whether its values get a value range.
    """
    with reading(name):
        try:
            before = completeness.stamp(source)
            with size_limit.lifted():
                content = io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
                file = Image.open(content, formats=_FORMATS)
        except FileNotFoundError:
            raise ImageError(f"{name} does not exist. Check the path.") from None
        except MemoryError:
            raise
        except Exception as error:  # as in `reading`
            if missing := completeness.missing(source):
                raise _incomplete(name, missing) from error
            if not isinstance(error, UnidentifiedImageError):
                raise
            raise ImageError(
                f"{name} cannot be read as an image ({_why_unidentified(source)}). Save it in another way or leave it"
                " out."
            ) from error
        with file:
            size_limit.check(file, name, max_megapixels, is_scaled)
            yield file
        if completeness.stamp(source) != before:
            raise _incomplete(name, "it changed while it was read")


def _incomplete(name: str, reason: object) -> ImageError:
    return ImageError(
        f"{name} cannot be read as an image: it is incomplete or damaged ({reason}). If it is still being written,"
        " inspect it again when it is complete. Otherwise save it again."
    )


def _why_unidentified(source: str | os.PathLike[str] | bytes) -> str:
    """Return why no reader took a file whose end is there. Pillow itself tells no reason."""
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(content[:16]) is not True:
            continue
        if name == "TIFF" and (kind := tiff.described(io.BytesIO(content))):
            return f"TIFF files of this kind are not supported: {kind}"
        try:
            factory(io.BytesIO(content), "")
        except Exception as error:  # as in `reading`
            return f"{name}: {error}"
    return "its content is of no supported format"


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn the errors of a block that reads an image into ImageError."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(size_limit.too_little_memory(name)) from error
    except (IsADirectoryError, PermissionError) as error:
        raise ImageError(f"{name} cannot be read ({error.strerror}). Give a file that this user may read.") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error and others
        raise ImageError(f"{name} cannot be read as an image ({error}). Save it again or leave it out.") from error


def bands_of_array(array: np.ndarray, name: str, value_range: Range | None) -> tuple[Image.Image, ...]:
    """Convert an array to bands; `images.read` describes the arguments and errors."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype not in _DTYPES:
        raise TypeError(f"{name} is an array of {array.dtype}; {_dtype_advice(array)}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise ValueError(f"{name} is an array of shape {array.shape}; give {SHAPES}")
    if array.ndim == 3:
        array = array[:, :, 0] if array.shape[2] == 1 else array[:, :, :3]
    if value_range is None:
        if array.dtype == np.uint8:
            return (Image.fromarray(np.ascontiguousarray(array)),)
        if array.dtype != np.uint16:
            raise _unknown_range(array, name)
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    return tuple(_scaled(plane, name, value_range or _RANGE_16_BIT) for plane in planes)


def _dtype_advice(array: np.ndarray) -> str:
    if array.dtype.kind not in "iu" or array.size == 0:
        return "give uint8 (0 to 255), uint16 (0 to 65535), bool, or int32 or a float dtype with a value range"
    if array.min() < 0 or array.max() > 65535:
        return 'convert it with array.astype("float32") and set value_range=(black, white)'
    if array.max() > 255:
        return 'convert it with array.astype("uint16") if white is 65535'
    return 'convert it with array.astype("uint8") if white is 255, or array.astype("uint16") if white is 65535'


def _unknown_range(values: np.ndarray, name: str) -> ImageError:
    tops = (1, 255, 4095, 65535) if values.dtype.kind == "f" else (4095, 65535)
    low, high = 0, next((top for top in tops if values.max() <= top), "HIGHEST")
    return ImageError(
        f"{name} has {values.dtype} values; tell which values are black and white: CFA(value_range=({low}, {high})), or"
        f" `fit --value-range {low},{high}`."
    )


def _scaled(plane: np.ndarray, name: str, value_range: Range) -> Image.Image:
    """Scale one plane (h, w) so that `value_range` becomes 0 to 255: an image in mode F."""
    low, high = value_range
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise ImageError(f"{name} contains values that are not finite. Save it again or leave it out.")
    with np.errstate(over="ignore"):  # what overflows is refused below
        values = plane.astype(np.float32)
        values -= np.float32(low)  # in place: an image may have hundreds of megapixels
        values /= np.float32((high - low) / 255)
    if max(values.max(), -values.min()) > _MAX_VALUE:  # the network would answer with values that are not finite
        raise ImageError(
            f"{name} contains values far outside the value range {low:g},{high:g}. Save it again or leave it out."
        )
    return Image.fromarray(np.ascontiguousarray(values))


def bands_of_pil(image: Image.Image, name: str, value_range: Range | None) -> tuple[Image.Image, ...]:
    """Convert a PIL image to bands; `images.read` describes the arguments and errors."""
    tags: dict[int, Any] = getattr(image, "tag_v2", {})  # of a TIFF file
    _load(image, name, tags)
    if tiff.has_associated_alpha(tags) and image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255):
        raise _refused(name, "its colors were multiplied by alpha. Save it without alpha")
    if image.getexif().get(_ORIENTATION, 1) != 1:  # without it, Pillow copies the image
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if image.mode == "I" and tags and tiff.is_unsigned_32_bit(tags):
            values = values.view(np.uint32)
        if value_range is None and (image.mode == "F" or values.min() < 0 or values.max() > 65535):
            raise _unknown_range(values, name)
        return (_scaled(values, name, value_range or _RANGE_16_BIT),)
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    if value_range is None:
        return (image,)
    return tuple(_scaled(np.asarray(band), name, value_range) for band in image.split())


def _load(image: Image.Image, name: str, tags: dict[int, Any]) -> None:
    """Load the pixels of an image, unless they would be wrong or are incomplete."""
    if tags and (reason := tiff.refusal(tags, getattr(tags, "prefix", b"II") == b"MM")):
        raise _refused(name, reason)
    if image.format == "JPEG2000" and (reason := _refusal_of_jpeg_2000(image)):
        raise _refused(name, reason)
    if missing := completeness.missing_of_image(image):
        raise _incomplete(name, missing)
    order = row_order.row_order(image)
    try:
        with size_limit.lifted(), libtiff.quiet():
            image.load()
    except MemoryError:
        raise
    except Exception as error:  # as in `reading`
        is_bare = str(error).startswith("decoder error")  # and a number, which tells nobody anything
        raise _incomplete(name, "its data cannot be decoded" if is_bare else error) from error
    if order is not None and order.is_cut(image):
        raise _incomplete(name, "it is black from the middle of a row on")


def n_pages(file: Image.Image) -> int:
    """Count the pages of an open file whose first page was loaded, and leave that page loaded."""
    found: int = getattr(file, "n_frames", 1)  # of a GIF or TIFF file, it turns pages
    with size_limit.lifted(), libtiff.quiet():
        file.load()
    return found


def _refused(name: str, reason: str) -> ImageError:
    return ImageError(f"{name} cannot be read as an image: {reason}, or leave it out.")


def _refusal_of_jpeg_2000(image: Image.Image) -> str:
    """Return why a JPEG 2000 file that was not loaded is refused; "" if Pillow reads its values as they are."""
    components = _components(image)
    if any(is_signed for _, is_signed in components):
        return "its values are signed. Save it with unsigned values"
    if len(components) > 1 and any(bits > 8 for bits, _ in components):  # Pillow turns the brightest values black
        return "it holds JPEG 2000 colors of more than 8 bits. Save it as PNG or with 8 bits"
    return ""


def is_depth_cut(image: Image.Image) -> bool:
    """Return whether the file of an image that was not loaded has colors of more than 8 bits, of which 8 are read."""
    tiles = getattr(image, "tile", None)
    if image.mode.startswith("I") or image.mode == "F" or not tiles:
        return False
    codec, arguments = tiles[0][0], tiles[0][3]
    if codec.startswith("ppm"):  # its arguments end with the highest value
        return bool(arguments[-1] > 255)
    raw_mode = arguments if isinstance(arguments, str) else arguments[0]
    return re.search(";16[BLN]$", str(raw_mode)) is not None


def _components(image: Image.Image) -> list[tuple[int, bool]]:
    """Return depth in bits, and whether values are signed, of each channel of a JPEG 2000 file that was not loaded."""
    file = getattr(image, "fp", None)
    if file is None:
        return []
    position = file.tell()
    file.seek(0)
    head = file.read(1 << 20)
    file.seek(position)
    start = head.find(b"\xff\x4f\xff\x51") + 40  # the marker segment SIZ; 38 bytes to its number of channels
    n = int.from_bytes(head[start : start + 2], "big")
    depths = head[start + 2 : start + 2 + 3 * n : 3]
    return [((depth & 0x7F) + 1, depth > 0x7F) for depth in depths]


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Determine the height and width of an image after its EXIF orientation is applied."""
    is_turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)  # orientations that swap height and width
    if is_turned and image.format == "TIFF":  # some versions of Pillow have already swapped the size
        image = ImageOps.exif_transpose(image)
        is_turned = False
    w, h = image.size
    return (w, h) if is_turned else (h, w)
