"""The published descriptor: one 1x1 linear map of all stages' pooled maps and two coordinate channels (CoordConv).

The published code resizes every map to the finest grid, concatenates the maps, appends the coordinates and convolves.
All of these steps are linear. Here each stage is mapped on its own grid and resized afterwards, which gives the same
numbers for a quarter of the products and keeps the features at their own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..method.resampling import bilinear_matrix

Grid = tuple[int, int]


@dataclass
class CoordLinear:
    """Weight (d, c + 2) and bias (d,). The last two columns of the weight are for the coordinates: down, then right."""

    weight: np.ndarray
    bias: np.ndarray


def initial(n_channels: int, n_out: int, rng: np.random.Generator) -> CoordLinear:
    """Return a random layer: uniform in +-1 / sqrt(c + 2), as the authors' convolution is initialized."""
    bound = 1 / np.sqrt(n_channels + 2)
    weight = rng.uniform(-bound, bound, (n_out, n_channels + 2)).astype(np.float32)
    return CoordLinear(weight, rng.uniform(-bound, bound, n_out).astype(np.float32))


@lru_cache(maxsize=16)
def coordinates(grid: Grid) -> np.ndarray:
    """Return the coordinate channels as rows (h*w, 2) float64: down and right, each from -1 to 1 (CoordConv)."""
    down, right = np.meshgrid(np.linspace(-1, 1, grid[0]), np.linspace(-1, 1, grid[1]), indexing="ij")
    rows = np.stack([down.ravel(), right.ravel()], axis=1)
    rows.flags.writeable = False  # shared by all callers
    return rows


def describe(pooled: list[np.ndarray], layer: CoordLinear) -> np.ndarray:
    """Return descriptors (h*w, d) on the finest grid from pooled maps (c, h, w), one per stage, the finest first."""
    grid = pooled[0].shape[1:]
    dtype = layer.weight.dtype
    out = coordinates(grid).astype(dtype) @ layer.weight[:, -2:].T + layer.bias
    first = 0
    for stage in pooled:
        columns = slice(first, first + len(stage))
        first = columns.stop
        small = stage.reshape(len(stage), -1).T @ layer.weight[:, columns].T
        out += _resize(small, stage.shape[1:], grid)
    return np.asarray(out)


def gradient(pooled: list[np.ndarray], of_descriptors: np.ndarray) -> CoordLinear:
    """Return the gradient of weight and bias from the gradient of the descriptors (h*w, d)."""
    grid = pooled[0].shape[1:]
    parts = []
    for stage in pooled:
        small = _resize_back(of_descriptors, stage.shape[1:], grid)
        parts.append(small.T @ stage.reshape(len(stage), -1).T)
    parts.append(of_descriptors.T @ coordinates(grid).astype(of_descriptors.dtype))
    return CoordLinear(np.concatenate(parts, axis=1), of_descriptors.sum(axis=0))


def _resize(rows: np.ndarray, grid: Grid, to: Grid) -> np.ndarray:
    """Resize bilinearly: rows (h*w, d) of `grid` to rows of grid `to`."""
    if grid == to:
        return rows
    (h, w), d = grid, rows.shape[1]
    down, right = (bilinear_matrix(a, b).astype(rows.dtype) for a, b in zip(grid, to))
    tall = (down @ rows.reshape(h, w * d)).reshape(to[0], w, d)
    return np.asarray(np.matmul(right, tall).reshape(to[0] * to[1], d))


def _resize_back(rows: np.ndarray, grid: Grid, to: Grid) -> np.ndarray:
    """Apply the transpose of `_resize`: rows of grid `to` back to rows (h*w, d) of `grid`."""
    if grid == to:
        return rows
    (h, w), d = grid, rows.shape[1]
    down, right = (bilinear_matrix(a, b).astype(rows.dtype) for a, b in zip(grid, to))
    narrow = np.matmul(right.T, rows.reshape(to[0], to[1], d)).reshape(to[0], w * d)
    return np.asarray((down.T @ narrow).reshape(h * w, d))
