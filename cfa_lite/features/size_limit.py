"""The size limit of image files: the package's own, in place of Pillow's, which cannot be set for one reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from ..errors import ImageError
from ..parameters import MAX_MEGAPIXELS

__all__ = ["MAX_MEGAPIXELS", "bytes_per_px", "check", "check_side", "lifted", "too_little_memory"]

# Highest memory while a file is read, in bytes per pixel, measured with Pillow 13: by the mode that Pillow gives it,
_BYTES_PER_PX = {"1": 2, "L": 1, "P": 5, "RGB": 4, "I;16": 12, "I;16B": 12, "I": 16, "F": 16}
_CONVERTED = 8  # for a mode that is converted to RGB,
_OF_FORMAT = {"JPEG": 3, "TIFF": 4, "WEBP": 12}  # in addition for colors in files of these formats,
_SCALED = {"L": 10, "RGB": 20}  # and in addition for a value range: values become float32

_lock = threading.Lock()
_n_lifted = 0
_before: int | None = None


@contextmanager
def lifted() -> Iterator[None]:
    """Lift Pillow's limit in a block; `check` takes its place.

    Pillow warns above 89 megapixels and refuses an image above 179. Its limit is one variable for the whole program,
    so it is lifted for as short as possible.
    """
    global _n_lifted, _before
    with _lock:
        if not _n_lifted:
            _before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _n_lifted += 1
    try:
        yield
    finally:
        with _lock:
            _n_lifted -= 1
            if not _n_lifted:
                Image.MAX_IMAGE_PIXELS = _before


def check(image: Image.Image, name: str, max_megapixels: float, is_scaled: bool = False) -> None:
    """Check the size of an image file that is open and not yet loaded.

    Parameters
    ----------
    image : PIL.Image.Image
    name : str
        Name of the image in messages.
    max_megapixels : float
        Highest number of pixels, in millions.
    is_scaled : bool
        Whether its values are scaled from a value range.

    Raises
    ------
    ImageError
        If the image is larger. The message tells the memory that reading it takes.
    """
    w, h = image.size
    if w * h <= max_megapixels * 1e6:
        return
    needed = f"{-(-w * h // 100_000) / 10:.1f}".removesuffix(".0")  # rounded up
    gigabytes = w * h * bytes_per_px(image, is_scaled) / 1e9
    raise ImageError(
        f"{name} has {needed} megapixels ({w}x{h} px); at most {max_megapixels:g} are read. Reading it takes about"
        f" {gigabytes:.1f} GB of memory, for each image that is read at the same time. If there are as many, set"
        f" --max-megapixels {needed} (in Python max_megapixels={needed}). Otherwise cut the image into parts."
    )


def bytes_per_px(image: Image.Image, is_scaled: bool = False) -> int:
    """Return the highest memory in bytes per pixel while an image file is read that is open and not yet loaded."""
    found = _BYTES_PER_PX.get(image.mode, _CONVERTED)
    if len(image.getbands()) > 1:
        found += _OF_FORMAT.get(image.format or "", 0)
    if is_scaled and not image.mode.startswith(("I", "F")):
        found += _SCALED["RGB" if len(image.getbands()) > 1 or image.mode == "P" else "L"]
    return found


def too_little_memory(name: str) -> str:
    """Return the message for an image that does not fit into the memory."""
    return (
        f"{name} was not inspected: the memory of this computer is too small. Inspect fewer images at the same time"
        " (--threads 1), or cut the image into parts."
    )


def check_side(size_px: tuple[int, int], name: str, least_px: int) -> None:
    """Raise ImageError if a side of an image (h, w) is shorter than `least_px`."""
    if min(size_px) < least_px:
        size = f"{size_px[1]}x{size_px[0]}"
        raise ImageError(f"{name} is {size} px; at least {least_px}x{least_px} px are required. Use larger crops.")
