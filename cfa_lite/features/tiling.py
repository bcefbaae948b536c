"""Tiling: a large image is processed in overlapping tiles, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

K = TypeVar("K")

HALO_PX = 192  # border around each tile; pixels beyond it change the anomaly map by 0.3% of the limit at most
CORE_PX = 768
WHOLE_PX = (CORE_PX + 2 * HALO_PX) ** 2  # images of up to this number of pixels are processed whole


@dataclass(frozen=True)
class Tile:
    """One tile of an image.

    Attributes
    ----------
    core : (slice, slice)
        Rows and columns, in pixels of the working size, for which the tile provides values.
    halo : (slice, slice)
        Rows and columns of the core with the border that is processed with it.
    """

    core: tuple[slice, slice]
    halo: tuple[slice, slice]


def cut(size_px: tuple[int, int], unit_px: int, halo_px: int = HALO_PX) -> list[Tile]:
    """Cut an image into tiles whose cores cover it without overlap.

    Parameters
    ----------
    size_px : (int, int)
        Height and width of the image.
    unit_px : int
        All tile edges are at multiples of this, so that they coincide with cell edges of every grid.
    halo_px : int, default: 192
        Border around each tile, rounded up to a multiple of `unit_px`.

    Returns
    -------
    list of Tile
        One tile without a halo if the image has at most `WHOLE_PX` pixels.
    """
    h, w = size_px
    if h * w <= WHOLE_PX:
        whole = slice(0, h), slice(0, w)
        return [Tile(whole, whole)]
    core = max(1, CORE_PX // unit_px) * unit_px
    halo = -(-halo_px // unit_px) * unit_px
    rows, columns = ([slice(start, min(side, start + core)) for start in range(0, side, core)] for side in size_px)
    return [Tile((y, x), (_wider(y, h, halo), _wider(x, w, halo))) for y in rows for x in columns]


def _wider(core: slice, side: int, halo: int) -> slice:
    return slice(max(0, core.start - halo), min(side, core.stop + halo))


def stitched(
    size_px: tuple[int, int],
    unit_px: int,
    work: Callable[[tuple[slice, slice]], dict[K, np.ndarray]],
    halo_px: int = HALO_PX,
) -> dict[K, np.ndarray]:
    """Apply `work` to each tile and join the results.

    Parameters
    ----------
    size_px : (int, int)
        Height and width of the image, multiples of `unit_px`.
    unit_px : int
        A multiple of the stride of every grid.
    work : callable ((rows, columns)) -> dict of ndarray (..., h, w)
        Computes the maps of a tile with its halo. Each map can have its own stride.
    halo_px : int, default: 192
        See `cut`.

    Returns
    -------
    dict of ndarray (..., h, w)
        The same maps of the whole image.
    """
    pieces = cut(size_px, unit_px, halo_px)
    if len(pieces) == 1:
        return work(pieces[0].core)
    whole: dict[K, np.ndarray] = {}
    for tile in pieces:
        for key, part in work(tile.halo).items():
            stride = (tile.halo[0].stop - tile.halo[0].start) // part.shape[-2]
            if key not in whole:
                grid = tuple(side // stride for side in size_px)
                whole[key] = np.empty((*part.shape[:-2], *grid), part.dtype)
            to, at = zip(*(_scaled(core, halo, stride) for core, halo in zip(tile.core, tile.halo)))
            whole[key][(..., *to)] = part[(..., *at)]
    return whole


def _scaled(core: slice, halo: slice, stride: int) -> tuple[slice, slice]:
    """Convert a core to cells of the whole image's grid and to cells of the grid of the tile with its halo."""
    start, stop, before = core.start // stride, core.stop // stride, halo.start // stride
    return slice(start, stop), slice(start - before, stop - before)
