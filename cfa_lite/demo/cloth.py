"""Images of woven cloth made by our own code, so that fitting and scoring can be tried without any data.

The cloth is a height map: two sets of yarns wave over and under each other, the higher one is seen, and its
slope and depth give the shading. Defects change the yarns, not the finished image. Rendering is done in
fine pixels, two to each side of an image's pixel; lengths are in fine pixels unless named otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image

from ..atomic import whole_file
from ..errors import OutputError

DEFECTS = ("missing_pick", "knot", "stain", "slub", "hole")
SIZE_PX = (288, 384)  # height, width
_SIDES_PX = (160, 1024)  # the longest defect and its margin fit in; a turned cloth still fills the image

_PITCH = (15.6, 17.0)  # from one warp yarn to the next, from one weft yarn to the next
_COLOUR = np.array([[88, 107, 136], [182, 176, 162], [34, 35, 38], [208, 204, 194]], np.float32)
_LIGHT = (-0.42, -0.52, 0.74)  # x, y, up: from the upper left
_ROUNDING, _CRIMP = 4.8, 4.2  # how high a yarn's top is above its middle, how far the middle rises and falls
_TABLE = np.float32(-9)  # height of what the cloth lies on
_MARGIN, _STEP = 40, 4  # cloth laid beyond the image, so that it may turn; from one table entry to the next
_TILE = (128, 512)  # fibre pattern across and along the fibres; powers of two
# half a defect's length; of a missing pick, as a share of the image's width
_HALF = {"missing_pick": (0.2, 0.42), "knot": (11, 15), "stain": (19, 32), "slub": (48, 86), "hole": (12, 16)}


@dataclass(frozen=True)
class DemoSummary:
    """What `make_demo` wrote: images to fit on, images to score, and how many of these are defective."""

    folder: Path
    n_good: int
    n_line: int
    n_defective: int


@dataclass(frozen=True)
class _Yarns:
    """One set of parallel yarns; tables are (yarns, entries along)."""

    centres: np.ndarray
    thickness: np.ndarray
    tone: np.ndarray
    fibre_start: np.ndarray


@dataclass(frozen=True)
class _Cloth:
    """All that is random in an image; what follows `noise` is left to defects, as one number or a field."""

    places: list[np.ndarray]  # position of each fine pixel across the warp and across the weft
    yarns: list[_Yarns]
    fibres: np.ndarray
    hairs: np.ndarray
    light: np.ndarray
    noise: np.ndarray
    swell: tuple = (1, 1)  # of warp and weft, upwards
    gone: tuple = (False, False)
    bump: np.ndarray | float = -np.inf
    dim: np.ndarray | float = 0.0


def make_demo(
    folder: str | os.PathLike, seed: int = 0, n_good: int = 40, n_line_good: int = 12, n_per_defect: int = 3,
    progress: Callable[[str, int, int], None] | None = None,
) -> DemoSummary:  # fmt: skip
    """Write images of good cloth to ``good``, of good and defective cloth to ``line``, and what is where.

    ``masks`` gets an 8-bit mask (255 = defect) under the name of each defective image in ``line``;
    ``defects.csv`` gives each image's defect, or nothing.

    Parameters
    ----------
    folder : str or os.PathLike
        A new or empty folder.
    seed : int
        The same seed gives the same files, byte for byte.
    n_good, n_line_good, n_per_defect : int
        Images in ``good`` (2 to 999), and in ``line`` good ones (1 to 500) and ones of each defect (1 to 99).
    progress : callable, optional
        Called after each image with its subfolder, images done there and images to do there.

    Raises
    ------
    OutputError
        If the folder holds anything, or cannot be made or written to.
    """
    limits = {"seed": (seed, 0, 2**32 - 1), "n_good": (n_good, 2, 999), "n_line_good": (n_line_good, 1, 500)}
    for name, (value, low, high) in {**limits, "n_per_defect": (n_per_defect, 1, 99)}.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, not {value}.")
    folder = Path(folder)
    line = [("", 1, i) for i in range(n_line_good)]
    line += [(defect, kind, i) for kind, defect in enumerate(DEFECTS, 2) for i in range(n_per_defect)]
    line = [line[k] for k in default_rng([seed, 99]).permutation(len(line))]
    plan = {"good": [("", 0, i) for i in range(n_good)], "line": line}
    rows = ["file,defect"] + [f"{place:03d}.png,{defect}" for place, (defect, _, _) in enumerate(line)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"The folder {folder} is not empty; nothing was written. Name a new or empty folder.")
        (folder / "masks").mkdir()
        for part, images in plan.items():
            (folder / part).mkdir()
            for place, (defect, kind, i) in enumerate(images):
                rng, name = default_rng([seed, kind, i]), f"{place:03d}.png"
                made = weave_with_defect(rng, defect) if defect else [weave(rng)]
                for subfolder, pixels in zip((part, "masks"), made, strict=False):
                    with whole_file(folder / subfolder / name) as file:
                        Image.fromarray(pixels).save(file, format="PNG", compress_level=4)
                if progress:
                    progress(part, place + 1, len(images))
        with whole_file(folder / "defects.csv") as file:
            file.write("\n".join([*rows, ""]).encode())
    except OSError as error:
        raise OutputError(f"The demo cannot be written to {folder} ({error}). Name another folder.") from error
    return DemoSummary(folder, n_good, len(line), len(line) - n_line_good)


def weave(rng: Generator, size_px: tuple[int, int] = SIZE_PX) -> np.ndarray:
    """One image of flawless cloth drawn from `rng`: RGB, uint8 (h, w, 3); h and w may be 160 to 1024 px."""
    return _render(_draw_cloth(rng, size_px))


def weave_with_defect(rng: Generator, defect: str, size_px: tuple[int, int] = SIZE_PX) -> tuple[np.ndarray, np.ndarray]:
    """One image of cloth with one of `DEFECTS`; but for the defect it is what `weave` makes of `rng`.

    Returns
    -------
    image : ndarray of uint8, shape (h, w, 3)
        Red, green, blue.
    mask : ndarray of uint8, shape (h, w)
        255 where the defect changes the image visibly, else 0.
    """
    from scipy import ndimage

    if defect not in DEFECTS:
        raise ValueError(f"defect must be one of {', '.join(DEFECTS)}, not {defect!r}.")
    cloth = _draw_cloth(rng, size_px)
    clean, flawed = _render(cloth), _render(_damage(rng, cloth, defect))
    difference = np.abs(flawed.astype(np.float32) - clean).max(2)
    parts, _ = ndimage.label(ndimage.binary_closing(ndimage.gaussian_filter(difference, 1.2) > 8, iterations=3))
    sizes = np.bincount(parts.ravel(), weights=parts.ravel() > 0)
    # specks off the defect come from neighbours moved by less than can be seen
    mask = ndimage.binary_dilation((sizes > 0.04 * sizes.max())[parts])
    return flawed, mask.astype(np.uint8) * 255


def _smooth(rng: Generator, shape: tuple[int, ...], sigma: tuple[float, ...]) -> np.ndarray:
    """Noise of unit variance, smooth over `sigma`, that repeats at its borders."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), sigma, mode="wrap")
    return noise / noise.std()


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
        fibres=_smooth(rng, _TILE, (1.3, 8)),
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
        # spacing drifts over some yarns and jitters from each to the next
        centres=even + pitch * (0.3 * _smooth(rng, (n,), (4,)) + 0.05 * own[0, :, 0].clip(-2, 2)),
        thickness=1 + 0.05 * slow + 0.04 * quick + 0.035 * own[1],
        tone=1 + 0.03 * slow[::-1] + 0.025 * quick[::-1] + 0.035 * own[2],
        fibre_start=rng.integers(0, _TILE[0] * _TILE[1], n),
    )


def _draw_hairs(rng: Generator, shape: tuple, roots: np.ndarray, heading: np.ndarray, length: int) -> np.ndarray:
    """Where loose curling fibres lie: 1, else 0; `roots` are (2, n) rows and columns."""
    n = len(heading)
    angle = heading[:, None] + np.cumsum(rng.normal(0, 0.05, (n, 1)) + rng.normal(0, 0.08, (n, length)), 1)
    row, column = (roots[k][:, None] + np.cumsum(step, 1) for k, step in enumerate((np.sin(angle), np.cos(angle))))
    drawn = np.arange(length) < length * rng.uniform(0.3, 1, (n, 1))
    drawn &= (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    field = np.zeros(shape, np.float32)
    field[row[drawn].astype(int), column[drawn].astype(int)] = 1
    return field


def _lanes(cloth: _Cloth) -> list[np.ndarray]:
    """Places counted in yarns: whole numbers are yarns' middles."""
    pairs = zip(cloth.places, (yarns.centres for yarns in cloth.yarns), strict=True)
    return [np.interp(place, centres, np.arange(len(centres))).astype(np.float32) for place, centres in pairs]


def _damage(rng: Generator, cloth: _Cloth, defect: str) -> _Cloth:
    """The same cloth with a defect, whole inside the image."""
    shape, missing = cloth.hairs.shape, defect == "missing_pick"
    axis = 1 if missing else int(rng.integers(2))  # 0: on a warp yarn, 1: on a weft yarn
    half = rng.uniform(*_HALF[defect]) * (shape[1] if missing else 1)
    room = [max(64, half + 24) if k == axis else 64 for k in (0, 1)]
    row, column = (int(rng.uniform(r, side - r)) for r, side in zip(room, shape, strict=True))
    centre = [float(place[row, column]) for place in cloth.places]
    yarn = int(np.abs(cloth.yarns[axis].centres - centre[axis]).argmin())
    centre[axis] = float(cloth.yarns[axis].centres[yarn])
    side, along = (cloth.places[k] - np.float32(centre[k]) for k in (axis, 1 - axis))
    if missing or defect == "slub":
        widest, taper = (rng.uniform(0.65, 0.85), 10) if missing else (rng.uniform(1.7, 2.2), 0.45 * half)
        amount = np.clip((half - np.abs(along)) / np.float32(taper), 0, 1)
        factor = 1 + amount * np.float32(widest - 1)
        # neighbours close the gap, or make room; the next ones hardly move
        beyond = np.abs(side) / _PITCH[axis] - factor / 2
        moved = np.abs(side) - (factor - 1) * _PITCH[axis] / 2 * np.exp(-np.maximum(beyond, 0) / 0.8)
        moved = np.sign(side) * np.where(beyond > 0, moved, np.abs(side) / factor) + np.float32(centre[axis])
        cloth = replace(cloth, places=[moved if k == axis else cloth.places[k] for k in (0, 1)])
        own = np.rint(_lanes(cloth)[axis]) == yarn
        if missing:
            return replace(cloth, gone=(False, own & (amount > 0.5)))
        return replace(cloth, swell=tuple(np.where(own & (k == axis), factor, 1) for k in (0, 1)))
    turns, angle = rng.uniform(0, 2 * np.pi, 12), np.arctan2(side, along)
    rim = 1 + 0.14 * np.cos(2 * angle + float(turns[0])) + 0.1 * np.cos(3 * angle + float(turns[1]))
    inside = 1 - np.hypot(side, along) / (half * rim)  # 1 in the middle, 0 on the rim
    own = [rng.standard_normal(64, np.float32).take(np.rint(lane).astype(int), mode="wrap") for lane in _lanes(cloth)]
    if defect == "stain":
        # each yarn soaks up its own share
        soaked = np.clip(2.6 * inside + 0.1 * (own[0] + own[1]) * (inside > -0.2), 0, 1)
        return replace(cloth, dim=np.float32(rng.uniform(0.28, 0.45)) * soaked)
    if defect == "knot":
        dome = 5 + 8 * np.sqrt(np.maximum(1 - (1 - inside) ** 2, 0)) + 0.5 * np.sin(side * 0.8 + along * 0.6)
        cloth = replace(cloth, bump=np.where(inside > 0, dome, np.float32(-np.inf)))
        turns, start, turned = turns[:3], 0.6 * half, turns[:3]
    else:
        push = 0.25 * np.exp(-((1 - inside) ** 2))
        places = [place + (np.float32(centre[k]) - place) * push for k, place in enumerate(cloth.places)]
        cloth = replace(cloth, places=places, gone=tuple(inside + 0.25 * o > 0 for o in own))
        start, turned = 1.2 * half, turns + np.pi + rng.normal(0, 0.7, len(turns))
    roots = np.array([[row], [column]]) + start * np.stack([np.sin(turns), np.cos(turns)])
    return replace(cloth, hairs=np.maximum(cloth.hairs, 0.6 * _draw_hairs(rng, shape, roots, turned, int(1.7 * half))))


def _render(cloth: _Cloth) -> np.ndarray:
    """The image, uint8 (h, w, 3)."""
    from scipy import ndimage

    heights, tones, lanes = [], [], _lanes(cloth)
    for k, yarns in enumerate(cloth.yarns):
        middle, along = np.rint(lanes[k]), cloth.places[1 - k]
        yarn, side = middle.astype(np.intp), lanes[k] - middle
        entry = yarn * yarns.tone.shape[1] + (along / _STEP).astype(np.intp)
        # fibres are spun: they run askew to their yarn
        spin = (side * 26).astype(np.intp) * (_TILE[1] + 1)
        fibre = cloth.fibres.take(spin + along.astype(np.intp) + yarns.fibre_start.take(yarn) & cloth.fibres.size - 1)
        # 2/2 twill: over two, under two, and one further on each next yarn
        crimp = np.cos((middle + lanes[1 - k] - 0.5) * np.float32(np.pi / 2)) * (1 - 2 * k)
        width = (0.455 + 0.04 * crimp + 0.012 * fibre) * yarns.thickness.take(entry)
        profile = 1 - (side / width) ** 2
        height = _CRIMP * crimp + _ROUNDING * np.sqrt(np.maximum(profile, 0)) * cloth.swell[k] + 0.35 * fibre
        heights.append(np.where((profile > 0) & ~np.asarray(cloth.gone[k]), height, _TABLE))
        tones.append(yarns.tone.take(entry) * (1 + 0.085 * fibre))
    height = np.maximum(heights[0], heights[1])
    knot = height < cloth.bump
    bare, warp = (height <= _TABLE) & ~knot, (heights[0] > heights[1]) & ~knot
    tone = np.where(warp, tones[0], tones[1]) * (1 + np.float32(0.18) * knot)
    height = np.maximum(height, cloth.bump).astype(np.float32)
    soft = ndimage.gaussian_filter(height, 0.8, truncate=2.5)
    rise_y, rise_x = (0.75 * slope for slope in np.gradient(soft))
    facing = (_LIGHT[2] - _LIGHT[0] * rise_x - _LIGHT[1] * rise_y) / np.sqrt(1 + rise_x**2 + rise_y**2)
    # what lies lower than its surroundings gets less of the light from all around
    depth = np.clip(0.94 + 0.055 * (soft - ndimage.uniform_filter(height, 17)), 0.25, 1.15)
    shade = (0.45 + 0.65 * np.maximum(facing, 0)) * depth * tone * (1 - cloth.hairs) * (1 - np.float32(cloth.dim))
    parts = [shade * warp, shade * ~(warp | bare), shade * bare, cloth.hairs]  # in the order of _COLOUR
    value = np.stack([(p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in parts], 2) @ _COLOUR
    value = ndimage.gaussian_filter(value, (0.5, 0.5, 0)) * cloth.light
    # a sensor's noise grows with the light it gets
    return np.clip(value + cloth.noise * (1 + 0.1 * np.sqrt(value)) + 0.5, 0, 255).astype(np.uint8)
