"""Row order: whether an uncompressed image file ends in the middle of a row, because the rest was not yet written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

_N_ROWS = 8  # above the last row of a cut image that are compared with it
_FILLED = 0.9  # share of pixels that are not black where an image was cut
_MAX_CHANCE = 1e-5  # that a row which is whole ends with as many black pixels
_N_FADING = 16  # pixels before the cut, in which a tilted edge of the image fades
_MIN_BRIGHTNESS = 0.5  # of these pixels, as a share of those above


def codec(image: Image.Image) -> str:
    """Return the name of the decoder of an image that was not loaded, "" if it has none."""
    tiles = getattr(image, "tile", None)
    return str(tiles[0][0]) if tiles else ""


@dataclass(frozen=True)
class RowOrder:
    """How an uncompressed file holds the rows of its image.

    Attributes
    ----------
    is_bottom_up : bool
        Whether the file begins with the lowest row.
    is_planar : bool
        Whether channels are stored one after the other.
    tile_px : (int, int) or None
        Height and width of the tiles, which are stored one after the other.
    blank : int
        Value in the image that stands for a zero in the file.
    """

    is_bottom_up: bool
    is_planar: bool
    tile_px: tuple[int, int] | None
    blank: int

    def is_cut(self, image: Image.Image) -> bool:
        """Return whether an image that was loaded ends in the middle of a row."""
        w, h = image.size
        row = 0 if self.is_bottom_up else h - 1
        last = np.asarray(image.crop((w - 1, row, w, row + 1)))[0, 0]  # without copying the whole image
        if ((last[-1:] if self.is_planar and last.ndim else last) != self.blank).any():
            return False
        values = np.asarray(image)
        if self.is_bottom_up:
            values = values[::-1]
        if self.is_planar and values.ndim == 3:
            values = np.concatenate(list(np.moveaxis(values, 2, 0)))
        elif self.tile_px is not None:
            values = _by_tiles(values, *self.tile_px)
        return is_cut(values, self.blank)


def _by_tiles(values: np.ndarray, tile_h: int, tile_w: int) -> np.ndarray:
    """Put the tiles of an image (h, w) or (h, w, c) below each other: (n * tile_h, tile_w), with c if there is one."""
    h, w, *channels = values.shape
    padding = [(0, -h % tile_h), (0, -w % tile_w)] + [(0, 0)] * len(channels)
    padded = np.pad(values, padding, mode="edge")
    rows = padded.reshape(padded.shape[0] // tile_h, tile_h, padded.shape[1] // tile_w, tile_w, *channels)
    return rows.swapaxes(1, 2).reshape(-1, tile_w, *channels)


def row_order(image: Image.Image) -> RowOrder | None:
    """Return the order of the rows in the file of an image that was not loaded; None if it is compressed or turned."""
    tags = getattr(image, "tag_v2", {})
    is_planar, is_tiled = tags.get(284) == 2, 324 in tags
    if codec(image) not in ("raw", "ppm") or tags.get(274, 1) != 1 or (is_planar and is_tiled):
        return None
    arguments: Any = image.tile[0][3]  # type: ignore[attr-defined]
    is_bottom_up = isinstance(arguments, tuple) and arguments[-1] == -1
    is_inverted = image.format == "TIFF" and tags.get(262) == 0
    blank = 0 if not is_inverted else 1 if image.mode == "1" else 255
    return RowOrder(is_bottom_up, is_planar, (tags[323], tags[322]) if is_tiled else None, blank)


def is_cut(values: np.ndarray, blank: int = 0) -> bool:
    """Return whether an uncompressed image ends in the middle of a row, and the rest was not written.

    Parameters
    ----------
    values : ndarray of shape (h, w) or (h, w, c)
        In the order of the file.
    blank : int
        Value that stands for a zero in the file.

    Notes
    -----
    A whole image may end in black rows, also in tilted ones. What it hardly does is to be filled from the first column
    of its last row up to another one, as bright as the row above, and be black from there on, where the rows above are
    filled up to their ends.
    """
    if (values[-1] != blank).any():
        return False
    filled = values != blank
    if filled.ndim == 3:
        filled = filled.any(axis=2)
    rows = np.flatnonzero(filled.any(axis=1))
    if not len(rows):
        return False  # all black: an image check of its own
    row = int(rows[-1])
    end = int(np.flatnonzero(filled[row])[-1]) + 1
    n_black = filled.shape[1] - end
    if not n_black or min(filled[row, :end].mean(), filled[row, : min(end, n_black)].mean()) < _FILLED:
        return False  # a dark edge, or a frame with dark corners on both sides
    above = filled[max(0, row - _N_ROWS) : row]
    if not above.size:
        return True
    share_black = (1 + above.size - np.count_nonzero(above)) / (1 + above.size)
    if above[:, end:].mean(axis=1).min() < _FILLED or share_black**n_black > _MAX_CHANCE:
        return False
    return _fades(values[row - 1 : row + 1, max(0, end - _N_FADING) : end], blank) >= _MIN_BRIGHTNESS


def _fades(rows: np.ndarray, blank: int) -> float:
    """Return the brightness of the lower of two rows, as a share of the upper one: a tilted edge fades."""
    upper, lower = (float(np.abs(row.astype(np.float64) - blank).mean()) for row in rows)
    return lower / upper if upper else 0.0
