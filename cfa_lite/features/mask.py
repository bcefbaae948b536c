"""The inspection mask: ignored pixels are neither learned nor scored, and do not affect the others."""

from __future__ import annotations

import os
import zlib
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, Union

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..method import resampling
from . import decoding
from .size_limit import MAX_MEGAPIXELS

MaskLike = Union[str, "os.PathLike[str]", Image.Image, np.ndarray]

_MIN_INSIDE = 0.9999  # smallest inspected share of a resized pixel; a smaller one would mix in ignored pixels
_MIN_PATCH_SHARE = 0.5  # smallest inspected share of a patch's cell


class InspectionMask:
    """A mask that selects the pixels of an image to inspect.

    Parameters
    ----------
    white : ndarray of shape (h, w), bool
        True for pixels that are inspected.

    Raises
    ------
    ImageError
        If no pixel is white.
    """

    def __init__(self, white: np.ndarray):
        if not white.any():
            raise ImageError(
                "The inspection mask is black everywhere, so nothing would be inspected. White pixels are inspected,"
                " black pixels are ignored."
            )
        self.white = white
        # All images of a product have one size, so these are computed once.
        self._at_working_size = lru_cache(maxsize=4)(self._compute_working_size)
        self._on_grid = lru_cache(maxsize=32)(self._compute_grid)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the mask alone: the caches belong to one process."""
        return InspectionMask, (self.white,)

    @property
    def share(self) -> float:
        """Share of the image that is inspected, from 0 to 1."""
        return float(self.white.mean())

    def packed(self) -> np.ndarray:
        """Compress the mask to an ndarray of shape (n,), uint8; `unpack` reverses it."""
        return np.frombuffer(zlib.compress(np.packbits(self.white).tobytes(), 9), np.uint8)

    def inside(self, size_px: tuple[int, int]) -> np.ndarray:
        """Return which pixels of a working size (h, w) are inspected: ndarray of shape (h, w), bool."""
        return self._at_working_size(size_px)[0]

    def patches(self, grid: tuple[int, int]) -> np.ndarray:
        """Return which patches of a level's grid (h, w) are inspected: ndarray of shape (h*w,), bool; at least one."""
        return self._on_grid(grid)

    def cover(self, pixels: np.ndarray) -> np.ndarray:
        """Replace each ignored pixel by the nearest inspected one.

        The score then does not depend on ignored pixels, although the receptive field of a CNN is larger than a patch.
        The replacement creates no artificial edge.

        Parameters
        ----------
        pixels : ndarray of shape (3, h, w), float32

        Returns
        -------
        ndarray of shape (3, h, w), float32
        """
        _, nearest = self._at_working_size((pixels.shape[1], pixels.shape[2]))
        return np.ascontiguousarray(pixels.reshape(3, -1)[:, nearest].reshape(pixels.shape))

    def _compute_working_size(self, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        from scipy import ndimage

        h, w = size_px
        share = Image.fromarray(self.white.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR)
        inside = np.asarray(share) > _MIN_INSIDE
        if not inside.any():
            raise ImageError(
                "The white part of the inspection mask is too thin to be seen at the working size. Make it wider."
            )
        rows, columns = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
        return inside, (rows * w + columns).ravel()

    def _compute_grid(self, grid: tuple[int, int]) -> np.ndarray:
        share = resampling.cell_means(self.white, grid).ravel()
        return share >= min(_MIN_PATCH_SHARE, float(share.max()))

    def check_size(self, size_px: tuple[int, int], name: str) -> None:
        """Check that an image has the size of the mask.

        Raises
        ------
        ImageError
            If it has another size.
        """
        if size_px != self.white.shape:
            (h, w), (mask_h, mask_w) = size_px, self.white.shape
            raise ImageError(
                f"{name} is {w}x{h} px, but the inspection mask is {mask_w}x{mask_h} px. Draw the mask on an image of"
                " this size, or pass only images of the mask's size."
            )


def unpack(packed: np.ndarray, size_px: tuple[int, int]) -> InspectionMask:
    """Reverse `InspectionMask.packed` for images of a size (h, w).

    Raises
    ------
    ValueError, zlib.error, ImageError
        If the bytes are damaged.
    """
    h, w = size_px
    n_bytes = -(-h * w // 8)
    data = zlib.decompressobj().decompress(packed.tobytes(), n_bytes + 1)
    if len(data) != n_bytes:
        raise ValueError(f"the inspection mask has {len(data)} bytes instead of {n_bytes}")
    return InspectionMask(np.unpackbits(np.frombuffer(data, np.uint8), count=h * w).reshape(h, w).astype(bool))


def read(mask: MaskLike, max_megapixels: float = MAX_MEGAPIXELS) -> InspectionMask:
    """Read an inspection mask from an image file, a PIL image or an array.

    A pixel that is at least half white is inspected. Files are read as images are: a file that is incomplete would
    otherwise be a mask that ignores what is missing.

    Raises
    ------
    ImageError
        If the mask cannot be read or no pixel is white.
    """
    if isinstance(mask, np.ndarray):
        if mask.ndim != 2:
            raise ImageError(f"The inspection mask is an array of shape {mask.shape}. Pass an array of shape (h, w).")
        top = 1 if mask.dtype == bool or mask.max(initial=0) <= 1 else 255
        return InspectionMask(mask > top / 2)
    is_file = isinstance(mask, (str, os.PathLike))
    name = os.fspath(mask) if isinstance(mask, (str, os.PathLike)) else "mask"
    if is_file and not Path(name).exists():
        raise ImageError(f"{name} does not exist. Check the path of the inspection mask.")
    try:
        opened = (
            decoding.opened(mask, name, max_megapixels) if isinstance(mask, (str, os.PathLike)) else nullcontext(mask)
        )
        with opened as image, decoding.reading(name):
            band = decoding.bands_of_pil(image, name, None)[0]
    except ImageError as error:
        raise ImageError(
            f"{name} cannot be read as an inspection mask ({error}) Save it again as a black and white PNG file."
        ) from error
    values = np.asarray(band if band.mode == "F" else band.convert("L"))
    try:
        return InspectionMask(values > 127)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
