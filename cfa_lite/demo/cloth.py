"""Draw images of woven cloth, with and without defects.

The cloth is a height map. Two sets of yarns wave over and under each other; the higher one is visible, and the slope
and the depth of the surface give the shading. A defect changes the yarns, not the finished image. An image is rendered
with two fine pixels per image pixel along each side. Lengths are in fine pixels unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Union

import numpy as np
from numpy.random import Generator

DEFECTS = ("missing_pick", "knot", "stain", "slub", "hole")
SIZE_PX = (288, 384)  # height, width
_SIDES_PX = (160, 1024)  # the longest defect and its margin fit in; a rotated cloth still fills the image

_PITCH = (15.6, 17.0)  # distance between warp yarns, and between weft yarns
_COLOR = np.array([[88, 107, 136], [182, 176, 162], [34, 35, 38], [208, 204, 194]], np.float32)
_LIGHT = (-0.42, -0.52, 0.74)  # x, y, up: from the upper left
_ROUNDING, _CRIMP = 4.8, 4.2  # height of a yarn's top above its middle; rise and fall of the middle
_TABLE = np.float32(-9)  # height of the surface below the cloth
_MARGIN, _STEP = 40, 4  # cloth beyond the image, so that it can be rotated; distance between two table entries
_TILE = (128, 512)  # size of the fiber pattern across and along the fibers; powers of two
# half the length of a defect; of a missing pick as a share of the image's width
_HALF = {"missing_pick": (0.2, 0.42), "knot": (11, 15), "stain": (19, 32), "slub": (48, 86), "hole": (12, 16)}

Field = Union[np.ndarray, float]  # one value for each fine pixel, or one for all


@dataclass(frozen=True)
class _Yarns:
    """One set of parallel yarns; tables are (n_yarns, entries along a yarn)."""

    centers: np.ndarray
    thickness: np.ndarray
    tone: np.ndarray
    fiber_start: np.ndarray


@dataclass(frozen=True)
class _Cloth:
    """Everything that is random in an image; defects change the fields below `noise`."""

    places: list[np.ndarray]  # position of each fine pixel across the warp and across the weft
    yarns: list[_Yarns]
    fibers: np.ndarray
    hairs: np.ndarray
    light: np.ndarray
    noise: np.ndarray
    swell: tuple[Field, Field] = (1.0, 1.0)  # of warp and weft, upwards
    gone: tuple[Field, Field] = (False, False)
    bump: Field = -np.inf
    dim: Field = 0.0


def weave(rng: Generator, size_px: tuple[int, int] = SIZE_PX) -> np.ndarray:
    """Draw an image of cloth without a defect.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : (int, int)
        Height and width, each 160 to 1024 pixels.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Red, green, blue.

    Raises
    ------
    ValueError
        If `size_px` is out of its range.
    """
    return _render(_draw_cloth(rng, size_px))


def weave_with_defect(rng: Generator, defect: str, size_px: tuple[int, int] = SIZE_PX) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image of cloth with a defect. Apart from the defect it is the image that `weave` draws from `rng`.

    Parameters
    ----------
    rng : numpy.random.Generator
    defect : str
        One of `DEFECTS`.
    size_px : (int, int)
        Height and width, each 160 to 1024 pixels.

    Returns
    -------
    image : ndarray of uint8, shape (h, w, 3)
        Red, green, blue.
    mask : ndarray of uint8, shape (h, w)
        255 where the defect changes the image visibly, else 0.

    Raises
    ------
    ValueError
        If `defect` is unknown or `size_px` is out of its range.
    """
    from scipy import ndimage

    if defect not in DEFECTS:
        raise ValueError(f"defect must be one of {', '.join(DEFECTS)}, not {defect!r}.")
    cloth = _draw_cloth(rng, size_px)
    clean, flawed = _render(cloth), _render(_damage(rng, cloth, defect))
    difference = np.abs(flawed.astype(np.float32) - clean).max(2)
    parts, _ = ndimage.label(ndimage.binary_closing(ndimage.gaussian_filter(difference, 1.2) > 8, iterations=3))
    sizes = np.bincount(parts.ravel(), weights=parts.ravel() > 0)
    # specks apart from the defect are due to neighboring yarns that moved invisibly little
    mask = ndimage.binary_dilation((sizes > 0.04 * sizes.max())[parts])
    return flawed, mask.astype(np.uint8) * 255


def _smooth(rng: Generator, shape: tuple[int, ...], sigma: tuple[float, ...]) -> np.ndarray:
    """Draw noise of unit variance, smooth over `sigma`, that continues across its borders."""
    from scipy import ndimage

    noise: np.ndarray = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), sigma, mode="wrap")
    noise /= noise.std()
    return noise


def _draw_cloth(rng: Generator, size_px: tuple[int, int]) -> _Cloth:
    if min(size_px) < _SIDES_PX[0] or max(size_px) > _SIDES_PX[1]:
        raise ValueError(f"size_px must be from {_SIDES_PX[0]} to {_SIDES_PX[1]} px a side, not {size_px}.")
    h, w = 2 * size_px[0], 2 * size_px[1]
    y, x = np.linspace(-1, 1, h)[:, None], np.linspace(-1, 1, w)[None, :]
    turn, skew = np.radians(rng.uniform(-1, 1)), np.radians(rng.uniform(-0.4, 0.4))
    bow, slope = rng.uniform(-5, 5, 2), rng.uniform(-0.07, 0.07, 2)
    across_warp = w / 2 * (1 + x * np.cos(turn)) + h / 2 * y * np.sin(turn) + bow[0] * y**2
    across_weft = h / 2 * (1 + y * np.cos(turn + skew)) - w / 2 * x * np.sin(turn + skew) + bow[1] * x**2
    light = rng.uniform(0.95, 1.07) + slope[0] * x + slope[1] * y - rng.uniform(0.02, 0.06) * (x**2 + y**2)
    roots = rng.uniform(0, [[h], [w]], (2, h * w // 1500))
    return _Cloth(
        places=[(place + _MARGIN).astype(np.float32) for place in (across_warp, across_weft)],
        yarns=[_draw_yarns(rng, _PITCH[0], w, h), _draw_yarns(rng, _PITCH[1], h, w)],
        fibers=_smooth(rng, _TILE, (1.3, 8)),
        hairs=0.2 * _draw_hairs(rng, (h, w), roots, rng.uniform(0, 2 * np.pi, roots[0].shape), 50),
        light=(light[::2, ::2, None] * rng.uniform(0.988, 1.012, 3)).astype(np.float32),
        noise=rng.standard_normal((*size_px, 3), np.float32),
    )


def _draw_yarns(rng: Generator, pitch: float, reach: int, length: int) -> _Yarns:
    n, entries = int((reach + 2 * _MARGIN) / pitch) + 10, (length + 2 * _MARGIN) // _STEP
    even = (np.arange(n) - 2 - rng.integers(4) + rng.random()) * pitch
    slow, quick = (_smooth(rng, (n, entries), (0, sigma / _STEP)) for sigma in (60, 12))
    own = rng.standard_normal((3, n, 1), np.float32)
    return _Yarns(
        # the spacing drifts slowly and jitters from yarn to yarn
        centers=even + pitch * (0.3 * _smooth(rng, (n,), (4,)) + 0.05 * own[0, :, 0].clip(-2, 2)),
        thickness=1 + 0.05 * slow + 0.04 * quick + 0.035 * own[1],
        tone=1 + 0.03 * slow[::-1] + 0.025 * quick[::-1] + 0.035 * own[2],
        fiber_start=rng.integers(0, _TILE[0] * _TILE[1], n),
    )


def _draw_hairs(
    rng: Generator, shape: tuple[int, ...], roots: np.ndarray, heading: np.ndarray, length: int
) -> np.ndarray:
    """Draw loose curling fibers: 1 where one lies, else 0; `roots` are rows and columns, (2, n)."""
    n = len(heading)
    angle = heading[:, None] + np.cumsum(rng.normal(0, 0.05, (n, 1)) + rng.normal(0, 0.08, (n, length)), 1)
    row, column = (roots[k][:, None] + np.cumsum(step, 1) for k, step in enumerate((np.sin(angle), np.cos(angle))))
    drawn = np.arange(length) < length * rng.uniform(0.3, 1, (n, 1))
    drawn &= (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    field = np.zeros(shape, np.float32)
    field[row[drawn].astype(int), column[drawn].astype(int)] = 1
    return field


def _lanes(cloth: _Cloth) -> list[np.ndarray]:
    """Return positions in units of yarns: a whole number is the middle of a yarn."""
    pairs = zip(cloth.places, (yarns.centers for yarns in cloth.yarns))
    return [np.interp(place, centers, np.arange(len(centers))).astype(np.float32) for place, centers in pairs]


@dataclass(frozen=True)
class _Site:
    """The place of a defect."""

    axis: int  # 0: on a warp yarn, 1: on a weft yarn
    yarn: int
    half: float  # half its length
    pixel: tuple[int, int]  # row and column of its center
    center: list[float]  # the same across the warp and across the weft
    side: np.ndarray  # distance of each fine pixel to its center, across its yarn
    along: np.ndarray  # the same along its yarn


def _damage(rng: Generator, cloth: _Cloth, defect: str) -> _Cloth:
    """Return the same cloth with a defect, which lies completely inside the image."""
    shape, missing = cloth.hairs.shape, defect == "missing_pick"
    axis = 1 if missing else int(rng.integers(2))
    half = rng.uniform(*_HALF[defect]) * (shape[1] if missing else 1)
    room = [max(64, half + 24) if k == axis else 64 for k in (0, 1)]
    row, column = (int(rng.uniform(r, side - r)) for r, side in zip(room, shape))
    center = [float(place[row, column]) for place in cloth.places]
    yarn = int(np.abs(cloth.yarns[axis].centers - center[axis]).argmin())
    center[axis] = float(cloth.yarns[axis].centers[yarn])
    side, along = (cloth.places[k] - np.float32(center[k]) for k in (axis, 1 - axis))
    site = _Site(axis, yarn, half, (row, column), center, side, along)
    if missing or defect == "slub":
        return _damage_yarn(rng, cloth, site, missing)
    return _damage_spot(rng, cloth, site, defect)


def _damage_yarn(rng: Generator, cloth: _Cloth, site: _Site, missing: bool) -> _Cloth:
    """Take out a piece of a yarn, or thicken it (a slub)."""
    axis, half, side, pitch = site.axis, site.half, site.side, _PITCH[site.axis]
    widest, taper = (rng.uniform(0.65, 0.85), 10) if missing else (rng.uniform(1.7, 2.2), 0.45 * half)
    amount = np.clip((half - np.abs(site.along)) / np.float32(taper), 0, 1)
    factor = 1 + amount * np.float32(widest - 1)
    # the neighboring yarns close the gap or make room; those beyond them hardly move
    beyond = np.abs(side) / pitch - factor / 2
    moved = np.abs(side) - (factor - 1) * pitch / 2 * np.exp(-np.maximum(beyond, 0) / 0.8)
    moved = np.sign(side) * np.where(beyond > 0, moved, np.abs(side) / factor) + np.float32(site.center[axis])
    cloth = replace(cloth, places=[moved if k == axis else cloth.places[k] for k in (0, 1)])
    own = np.rint(_lanes(cloth)[axis]) == site.yarn
    if missing:
        return replace(cloth, gone=(False, own & (amount > 0.5)))
    warp, weft = (np.where(own & (k == axis), factor, 1) for k in (0, 1))
    return replace(cloth, swell=(warp, weft))


def _damage_spot(rng: Generator, cloth: _Cloth, site: _Site, defect: str) -> _Cloth:
    """Add a stain, a knot or a hole."""
    half, side, along = site.half, site.side, site.along
    turns, angle = rng.uniform(0, 2 * np.pi, 12), np.arctan2(side, along)
    rim = 1 + 0.14 * np.cos(2 * angle + float(turns[0])) + 0.1 * np.cos(3 * angle + float(turns[1]))
    inside = 1 - np.hypot(side, along) / (half * rim)  # 1 in the middle, 0 on the rim
    own = [rng.standard_normal(64, np.float32).take(np.rint(lane).astype(int), mode="wrap") for lane in _lanes(cloth)]
    if defect == "stain":
        # each yarn soaks up an amount of its own
        soaked = np.clip(2.6 * inside + 0.1 * (own[0] + own[1]) * (inside > -0.2), 0, 1)
        return replace(cloth, dim=np.float32(rng.uniform(0.28, 0.45)) * soaked)
    if defect == "knot":
        dome = 5 + 8 * np.sqrt(np.maximum(1 - (1 - inside) ** 2, 0)) + 0.5 * np.sin(side * 0.8 + along * 0.6)
        cloth = replace(cloth, bump=np.where(inside > 0, dome, np.float32(-np.inf)))
        turns, start, turned = turns[:3], 0.6 * half, turns[:3]
    else:
        push = 0.25 * np.exp(-((1 - inside) ** 2))
        places = [place + (np.float32(site.center[k]) - place) * push for k, place in enumerate(cloth.places)]
        cloth = replace(cloth, places=places, gone=tuple(inside + 0.25 * o > 0 for o in own))
        start, turned = 1.2 * half, turns + np.pi + rng.normal(0, 0.7, len(turns))
    roots = np.array([[k] for k in site.pixel]) + start * np.stack([np.sin(turns), np.cos(turns)])
    loose = _draw_hairs(rng, cloth.hairs.shape, roots, turned, int(1.7 * half))
    return replace(cloth, hairs=np.maximum(cloth.hairs, 0.6 * loose))


def _render(cloth: _Cloth) -> np.ndarray:
    """Render the image: uint8 (h, w, 3)."""
    from scipy import ndimage

    heights, tones, lanes = [], [], _lanes(cloth)
    for k, yarns in enumerate(cloth.yarns):
        middle, along = np.rint(lanes[k]), cloth.places[1 - k]
        yarn, side = middle.astype(np.intp), lanes[k] - middle
        entry = yarn * yarns.tone.shape[1] + (along / _STEP).astype(np.intp)
        # fibers are spun, so they run at an angle to their yarn
        spin = (side * 26).astype(np.intp) * (_TILE[1] + 1)
        fiber = cloth.fibers.take(spin + along.astype(np.intp) + yarns.fiber_start.take(yarn) & cloth.fibers.size - 1)
        # 2/2 twill: over two yarns, under two, and shifted by one at each next yarn
        crimp = np.cos((middle + lanes[1 - k] - 0.5) * np.float32(np.pi / 2)) * (1 - 2 * k)
        width = (0.455 + 0.04 * crimp + 0.012 * fiber) * yarns.thickness.take(entry)
        profile = 1 - (side / width) ** 2
        height = _CRIMP * crimp + _ROUNDING * np.sqrt(np.maximum(profile, 0)) * cloth.swell[k] + 0.35 * fiber
        heights.append(np.where((profile > 0) & ~np.asarray(cloth.gone[k]), height, _TABLE))
        tones.append(yarns.tone.take(entry) * (1 + 0.085 * fiber))
    height = np.maximum(heights[0], heights[1])
    knot = height < cloth.bump
    bare, warp = (height <= _TABLE) & ~knot, (heights[0] > heights[1]) & ~knot
    tone = np.where(warp, tones[0], tones[1]) * (1 + np.float32(0.18) * knot)
    height = np.maximum(height, cloth.bump).astype(np.float32)
    soft = ndimage.gaussian_filter(height, 0.8, truncate=2.5)
    rise_y, rise_x = (0.75 * slope for slope in np.gradient(soft))
    facing = (_LIGHT[2] - _LIGHT[0] * rise_x - _LIGHT[1] * rise_y) / np.sqrt(1 + rise_x**2 + rise_y**2)
    # places below their surroundings receive less ambient light
    depth = np.clip(0.94 + 0.055 * (soft - ndimage.uniform_filter(height, 17)), 0.25, 1.15)
    shade = (0.45 + 0.65 * np.maximum(facing, 0)) * depth * tone * (1 - cloth.hairs) * (1 - np.float32(cloth.dim))
    parts = [shade * warp, shade * ~(warp | bare), shade * bare, cloth.hairs]  # in the order of _COLOR
    value = np.stack([(p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in parts], 2) @ _COLOR
    value = ndimage.gaussian_filter(value, (0.5, 0.5, 0)) * cloth.light
    # the noise of a sensor grows with the light that it receives
    image: np.ndarray = np.clip(value + cloth.noise * (1 + 0.1 * np.sqrt(value)) + 0.5, 0, 255).astype(np.uint8)
    return image
