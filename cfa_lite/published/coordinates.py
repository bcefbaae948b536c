"""Stage 4 of recipe `paper`: one 1x1 linear map of all stages' pooled maps and two coordinate channels.

The published code resizes every map to the finest grid, concatenates, appends coordinates and convolves.
All of that is linear, so each stage is mapped on its own grid and resized after: the same numbers for a
quarter of the products, and features are kept at their own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..method.resampling import bilinear_matrix

Grid = tuple[int, int]


@dataclass
class CoordLinear:
    """Weight (d, c + 2), its last two columns for the coordinates (down, then right), and bias (d,)."""

    weight: np.ndarray
    bias: np.ndarray


def initial(n_channels: int, n_out: int, rng: np.random.Generator) -> CoordLinear:
    """Random start: uniform between -1 / sqrt(c + 2) and 1 / sqrt(c + 2), as the authors' convolution starts."""
    bound = 1 / np.sqrt(n_channels + 2)
    weight = rng.uniform(-bound, bound, (n_out, n_channels + 2)).astype(np.float32)
    return CoordLinear(weight, rng.uniform(-bound, bound, n_out).astype(np.float32))


@lru_cache(maxsize=16)
def coordinates(grid: Grid) -> np.ndarray:
    """Coordinate channels as rows (h*w, 2) float64: down and right, each from -1 to 1 (CoordConv)."""
    down, right = np.meshgrid(np.linspace(-1, 1, grid[0]), np.linspace(-1, 1, grid[1]), indexing="ij")
    rows = np.stack([down.ravel(), right.ravel()], axis=1)
    rows.flags.writeable = False  # shared by all callers
    return rows


def describe(pooled: list[np.ndarray], layer: CoordLinear) -> np.ndarray:
    """Descriptors (h*w, d) on the first map's grid from pooled maps (c, h, w), one a stage, finest first."""
    grid = pooled[0].shape[1:]
    dtype = layer.weight.dtype
    out = coordinates(grid).astype(dtype) @ layer.weight[:, -2:].T + layer.bias
    first = 0
    for stage in pooled:
        columns = slice(first, first + len(stage))
        first = columns.stop
        small = stage.reshape(len(stage), -1).T @ layer.weight[:, columns].T
        out += _resize(small, stage.shape[1:], grid)
    return out


def gradient(pooled: list[np.ndarray], of_descriptors: np.ndarray) -> CoordLinear:
    """Gradient of weight and bias from that of the descriptors (h*w, d)."""
    grid = pooled[0].shape[1:]
    parts = []
    for stage in pooled:
        small = _resize_back(of_descriptors, stage.shape[1:], grid)
        parts.append(small.T @ stage.reshape(len(stage), -1).T)
    parts.append(of_descriptors.T @ coordinates(grid).astype(of_descriptors.dtype))
    return CoordLinear(np.concatenate(parts, axis=1), of_descriptors.sum(axis=0))


def _resize(rows: np.ndarray, grid: Grid, to: Grid) -> np.ndarray:
    """Bilinear: rows (h*w, d) of `grid` to rows of grid `to`."""
    if grid == to:
        return rows
    (h, w), d = grid, rows.shape[1]
    down, right = (bilinear_matrix(a, b).astype(rows.dtype) for a, b in zip(grid, to))
    tall = (down @ rows.reshape(h, w * d)).reshape(to[0], w, d)
    return np.matmul(right, tall).reshape(to[0] * to[1], d)


def _resize_back(rows: np.ndarray, grid: Grid, to: Grid) -> np.ndarray:
    """The transpose of `_resize`: rows of grid `to` back to rows (h*w, d) of `grid`."""
    if grid == to:
        return rows
    (h, w), d = grid, rows.shape[1]
    down, right = (bilinear_matrix(a, b).astype(rows.dtype) for a, b in zip(grid, to))
    narrow = np.matmul(right.T, rows.reshape(to[0], to[1], d)).reshape(to[0], w * d)
    return (down.T @ narrow).reshape(h * w, d)
