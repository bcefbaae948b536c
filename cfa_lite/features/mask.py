"""The part of the image that counts: what a mask ignores is neither learnt from, nor scored, nor felt beside it."""

from __future__ import annotations

import os
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..method import resampling

MaskLike = str | os.PathLike | Image.Image | np.ndarray

_WHOLE = 0.9999  # of a pixel's support must be inside, or what is ignored would be felt through resizing
_PATCH_SHARE = 0.5  # a patch counts if so much of its cell does


class InspectionMask:
    """Where a mask of the image's size is white.

    Parameters
    ----------
    mask : ndarray (h, w) bool

    Raises
    ------
    ImageError
        If nothing is white.
    """

    def __init__(self, mask: np.ndarray):
        if not mask.any():
            raise ImageError(
                "the mask is black everywhere, so nothing would be looked at. White counts, black is ignored."
            )
        self.mask = mask
        # Images of a product have one size, so these are made once.
        self._working = lru_cache(maxsize=4)(self._make_working)
        self._patches = lru_cache(maxsize=32)(self._make_patches)

    @property
    def share(self) -> float:
        """Share of the image that counts."""
        return float(self.mask.mean())

    def packed(self) -> np.ndarray:
        """The mask in few bytes: uint8 (n,)."""
        return np.frombuffer(zlib.compress(np.packbits(self.mask).tobytes(), 9), np.uint8)

    def inside(self, size_px: tuple[int, int]) -> np.ndarray:
        """Pixels (h, w) bool of the working size that count."""
        return self._working(size_px)[0]

    def patches(self, grid: tuple[int, ...]) -> np.ndarray:
        """Patches (h*w,) bool of a level's grid that count; at least one."""
        return self._patches(grid)

    def cover(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (3, h, w) with each ignored one like the nearest that counts.

        So a score cannot depend on what is ignored, though a CNN sees far around each patch, and no edge is made
        where there is none.
        """
        inside, nearest = self._working(pixels.shape[1:])
        return np.ascontiguousarray(pixels.reshape(3, -1)[:, nearest].reshape(pixels.shape))

    def _make_working(self, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        from scipy import ndimage

        h, w = size_px
        share = Image.fromarray(self.mask.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR)
        inside = np.asarray(share) > _WHOLE
        if not inside.any():
            raise ImageError("what the mask leaves is too thin to be seen at the working size. Leave more of it white.")
        rows, columns = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
        return inside, (rows * w + columns).ravel()

    def _make_patches(self, grid: tuple[int, int]) -> np.ndarray:
        share = resampling.cell_means(self.mask, grid).ravel()
        return share >= min(_PATCH_SHARE, float(share.max()))

    def check_size(self, size_px: tuple[int, int], name: str) -> None:
        """Refuse an image of another size than the mask.

        Raises
        ------
        ImageError
        """
        if size_px != self.mask.shape:
            (h, w), (mask_h, mask_w) = size_px, self.mask.shape
            raise ImageError(
                f"{name} is {w}x{h} px, but the mask is {mask_w}x{mask_h} px. Make the mask on an image of this size,"
                " or give images of the mask's size only."
            )


def unpacked(packed: np.ndarray, size_px: tuple[int, int]) -> InspectionMask:
    """The area that `packed` was made of, of images (h, w).

    Raises
    ------
    ValueError, zlib.error, ImageError
        If it is damaged.
    """
    h, w = size_px
    n_bytes = -(-h * w // 8)
    data = zlib.decompressobj().decompress(packed.tobytes(), n_bytes + 1)
    if len(data) != n_bytes:
        raise ValueError(f"the mask has {len(data)} bytes, not {n_bytes}")
    return InspectionMask(np.unpackbits(np.frombuffer(data, np.uint8), count=h * w).reshape(h, w).astype(bool))


def read(mask: MaskLike) -> InspectionMask:
    """An area from an image file, PIL image or array: what is at least half white counts.

    Raises
    ------
    ImageError
        If it cannot be read or nothing is white.
    """
    if isinstance(mask, np.ndarray):
        if mask.ndim != 2:
            raise ImageError(f"the mask is an array of shape {mask.shape}; give (h, w)")
        top = 1 if mask.dtype == bool or mask.max(initial=0) <= 1 else 255
        return InspectionMask(mask > top / 2)
    try:
        with Image.open(mask) if isinstance(mask, (str, os.PathLike)) else mask as image:
            return InspectionMask(np.asarray(image.convert("L")) > 127)
    except ImageError as error:
        raise ImageError(f"{Path(mask) if isinstance(mask, (str, os.PathLike)) else 'mask'}: {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{mask} does not exist. Check the path of the mask.") from None
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error ...
        raise ImageError(f"{mask} cannot be read as a mask ({error}). Save it again as PNG.") from error
