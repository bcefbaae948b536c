"""Drawn images of many kinds, from which the ranges of 8-bit activations are measured. No data set is used."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the checkout need not be installed

from cfa_lite.demo.cloth import DEFECTS, weave, weave_with_defect
from cfa_lite.features.images import halve

SIDE_PX = 256
N_ROUNDS = 2  # images of each kind


def calibration_images(seed=0, n_rounds=N_ROUNDS):
    """Draw images (3, h, w) float32, 0 to 255, of many kinds, each whole and halved. No data set is used."""
    rng = np.random.default_rng(seed)
    images = []
    for i in range(n_rounds):
        for made in _kinds(rng, i):
            made = np.broadcast_to(made if made.ndim == 3 else made[..., None], (SIDE_PX, SIDE_PX, 3))
            tint = rng.uniform(0.3, 1.3, 3) if i % 2 else 1
            grain = rng.normal(0, 1.5, made.shape)
            pixels = np.clip(made * tint + grain, 0, 255).transpose(2, 0, 1).astype(np.float32)
            images += [pixels, halve(pixels)]
    return images


def _noise(rng, *sigma):
    field = ndimage.gaussian_filter(rng.standard_normal((SIDE_PX, SIDE_PX)), sigma, mode="wrap")
    return field / field.std()


def _kinds(rng, i):
    """Yield one image of each kind, gray (h, w) or color (h, w, 3), without tint and noise."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX - 0.5
    along = x * np.cos(i + 0.3) + y * np.sin(i + 0.3)
    tone, contrast = rng.uniform(60, 200, 8), rng.uniform(15, 70, 8)

    yield weave(rng, (288, 288))[:SIDE_PX, :SIDE_PX]
    yield weave_with_defect(rng, DEFECTS[i % len(DEFECTS)], (288, 288))[0][16 : 16 + SIDE_PX, 16 : 16 + SIDE_PX]
    for sigma in (0.7, 2, 6, 20):
        yield 128 + rng.uniform(15, 70) * _noise(rng, sigma, sigma)
    yield 128 + contrast[0] * np.stack([_noise(rng, sigma, sigma) for sigma in rng.uniform(0.5, 8, 3)], 2)
    yield tone[0] + 12 * sum(_noise(rng, sigma, sigma) * sigma**0.5 for sigma in (0.6, 1.2, 2.4, 5, 10, 20))  # cast
    yield tone[1] + 25 * _noise(rng, 0.6, rng.uniform(10, 40)) + 12 * _noise(rng, 30, 30)  # brushed metal
    yield 128 + rng.uniform(60, 240) * along  # gradient
    edge = np.where(along > rng.uniform(-0.2, 0.2), rng.uniform(150, 255), rng.uniform(0, 90))
    yield ndimage.gaussian_filter(edge, 0.6)
    yield _board(rng)
    yield ndimage.gaussian_filter(_discs(rng, np.full_like(x, tone[2]), 30), 0.7)
    yield np.full_like(x, (0, 255, 120)[i % 3])  # flat
    yield rng.uniform(8, 25) + 6 * _noise(rng, 3, 3)  # dark
    yield 238 + 7 * _noise(rng, 2, 2)  # bright
    yield 128 + 2 * contrast[1] * np.sign(np.sin(2 * np.pi * along * SIDE_PX / rng.uniform(4, 30)))  # stripes
    yield 128 + 2 * contrast[2] * np.sign(np.sin(64 * x) * np.sin(rng.uniform(50, 200) * y))  # checks
    part = np.hypot(x / rng.uniform(0.2, 0.45), y / rng.uniform(0.2, 0.45)) < 1
    yield np.where(part, tone[3] + 15 * _noise(rng, 2, 2) + 60 * x, rng.uniform(5, 40))
    specks = ndimage.binary_dilation(rng.random(x.shape) < 0.01)
    yield np.where(specks, rng.uniform(0, 255), tone[4]) + 4 * _noise(rng, 1, 1)


def _board(rng):
    """Draw a circuit board with traces, pads and parts of random colors."""
    board = np.tile(rng.uniform(10, 120, 3), (SIDE_PX, SIDE_PX, 1))
    for _ in range(25):
        row, column, length, width = *rng.integers(0, SIDE_PX, 2), rng.integers(20, 160), rng.integers(2, 7)
        height, width = (width, length) if rng.random() < 0.5 else (length, width)
        board[row : row + height, column : column + width] = rng.uniform(80, 255, 3)
    board = _discs(rng, board, 20)
    for _ in range(4):
        row, column, height, width = *rng.integers(0, SIDE_PX - 40, 2), *rng.integers(12, 60, 2)
        board[row : row + height, column : column + width] = rng.uniform(0, 80)
    return ndimage.gaussian_filter(board, (0.6, 0.6, 0))


def _discs(rng, image, n):
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    for row, column, radius in rng.uniform((0, 0, 2), (SIDE_PX, SIDE_PX, 25), (n, 3)):
        image[np.hypot(y - row, x - column) < radius] = rng.uniform(0, 255, image.shape[2:])
    return image
