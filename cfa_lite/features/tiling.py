"""Overlapping tiles of a large image, each worked alone, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

K = TypeVar("K")

HALO_PX = 192  # around each tile: what the CNN sees beyond changes a map by .3 % of the limit (DESIGN.md, tiles)
CORE_PX = 768
WHOLE_PX = (CORE_PX + 2 * HALO_PX) ** 2  # an image of no more pixels is worked whole


@dataclass(frozen=True)
class Tile:
    """Rows and columns of a tile's core, and of the core with its halo, in pixels of the working size."""

    core: tuple[slice, slice]
    halo: tuple[slice, slice]


def cut(size_px: tuple[int, int], unit_px: int) -> list[Tile]:
    """Tiles whose cores cover an image (h, w) without overlap; one, without halo, if it is small enough.

    Every edge is at a multiple of `unit_px`, where the grids of all levels have one.
    """
    h, w = size_px
    if h * w <= WHOLE_PX:
        whole = slice(0, h), slice(0, w)
        return [Tile(whole, whole)]
    core = max(1, CORE_PX // unit_px) * unit_px
    halo = -(-HALO_PX // unit_px) * unit_px
    rows, columns = ([slice(start, min(side, start + core)) for start in range(0, side, core)] for side in size_px)
    return [Tile((y, x), (_wider(y, h, halo), _wider(x, w, halo))) for y in rows for x in columns]


def _wider(core: slice, side: int, halo: int) -> slice:
    return slice(max(0, core.start - halo), min(side, core.stop + halo))


def stitched(
    size_px: tuple[int, int], unit_px: int, work: Callable[[tuple[slice, slice]], dict[K, np.ndarray]]
) -> dict[K, np.ndarray]:
    """What `work` gives of each tile, put together.

    Parameters
    ----------
    size_px : (int, int)
        Height and width of the image, multiples of `unit_px`.
    unit_px : int
        A multiple of every grid's stride.
    work : callable (rows, columns) -> dict of ndarray (..., h, w)
        Maps of a tile with its halo, on grids of any stride.
    """
    pieces = cut(size_px, unit_px)
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
    """Where a core is on a grid of the whole image, and of the tile with its halo."""
    start, stop, before = core.start // stride, core.stop // stride, halo.start // stride
    return slice(start, stop), slice(start - before, stop - before)
