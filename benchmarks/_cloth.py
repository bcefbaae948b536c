"""Shared by the benchmarks: the demo's cloth at any width, and a model fitted on it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cfa_lite import CFA, threads
from cfa_lite.demo import cloth

_PIECE_PX = 1024  # the demo draws no wider cloth, so wider images are made of pieces side by side
_GOOD, _LINE = 0, 2  # seeds
N_LINE = 10
_N_GOOD = 8
_N_CENTERS = 256
_COARSEST_PX = 32  # stride 16 at half size
_PATCHES_PER_CENTER = 4  # with fewer patches, a level gets fewer centers


@dataclass(frozen=True)
class Product:
    """A model that processes images at their own size, and `N_LINE` images for it. Every second one has a defect."""

    size_px: tuple[int, int]
    part: Path
    line: list[Path]

    def __str__(self) -> str:
        return f"{self.size_px[1]}x{self.size_px[0]}"


def sizes(text: str) -> list[tuple[int, int]]:
    """Parse "256x256,4096x256" (width x height) into [(256, 256), (256, 4096)] (height, width) for argparse."""
    try:
        return [(int(h), int(w)) for w, h in (part.split("x") for part in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of sizes such as 256x256,4096x256") from None


def write(folder: Path, n: int, size_px: tuple[int, int], seed: int = _GOOD, with_defects: bool = False) -> list[Path]:
    """Write `n` images of cloth into a new folder and return their paths. `with_defects`: every second has a defect."""
    folder.mkdir(parents=True)

    def one(place: int) -> Path:
        rng = np.random.default_rng([seed, place])
        n_pieces = -(-size_px[1] // _PIECE_PX)
        pieces = [cloth.weave(rng, (size_px[0], size_px[1] // n_pieces)) for _ in range(n_pieces)]
        if with_defects and place % 2:
            defect = cloth.DEFECTS[place // 2 % len(cloth.DEFECTS)]
            pieces[0], _ = cloth.weave_with_defect(rng, defect, (size_px[0], size_px[1] // n_pieces))
        path = folder / f"{place:04d}.png"
        Image.fromarray(np.concatenate(pieces, axis=1)).save(path)
        return path

    return list(threads.ordered_map(one, range(n), threads.available_cores()))


def product(folder: Path, size_px: tuple[int, int]) -> Product:
    """Fit a model on just enough images for 256 centers in each level."""
    patches = size_px[0] * size_px[1] / _COARSEST_PX**2
    n_good = max(_N_GOOD, int(np.ceil(_N_CENTERS * _PATCHES_PER_CENTER / patches)))
    found = Product(size_px, folder / "part.cfa", write(folder / "line", N_LINE, size_px, _LINE, with_defects=True))
    model = CFA(size="full", n_centers=_N_CENTERS).fit(write(folder / "good", n_good, size_px))
    n_centers = {len(level.centers) for level in model.levels_}
    working_px = tuple(model.fitted_.training["working_px"])
    if n_centers != {_N_CENTERS} or working_px != size_px:
        sys.exit(f"{found}: the levels have {n_centers} centers, and the working size is {working_px}")
    model.save(found.part)
    return found
