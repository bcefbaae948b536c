"""Write the demo: a folder of good images, images to inspect, and the masks of their defects."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import default_rng
from PIL import Image

from ..atomic import whole_file
from ..errors import OutputError
from .cloth import DEFECTS, weave, weave_with_defect

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoSummary:
    """What `make_demo` wrote.

    Attributes
    ----------
    folder : Path
    n_good : int
        Images in ``good``, to fit on.
    n_line : int
        Images in ``line``, to inspect.
    n_defective : int
        Images in ``line`` that have a defect.
    """

    folder: Path
    n_good: int
    n_line: int
    n_defective: int


@dataclass(frozen=True)
class _Plan:
    """An image to draw: its seed, and its defect or ""."""

    seed: tuple[int, int, int]
    defect: str


def make_demo(
    folder: str | os.PathLike[str],
    seed: int = 0,
    n_good: int = 40,
    n_line_good: int = 12,
    n_per_defect: int = 3,
    progress: Progress | None = None,
) -> DemoSummary:
    """Write images of woven cloth to fit on and to inspect.

    Parameters
    ----------
    folder : path
        A new or empty folder. It gets

        - ``good``: images without a defect, to fit on.
        - ``line``: images with and without a defect, in random order.
        - ``masks``: for each defective image in ``line`` an 8-bit mask of the same name; 255 marks the defect.
        - ``defects.csv``: the defect of each image in ``line``; empty if it has none.
    seed : int
        0 to 2**32 - 1. The same seed gives the same files, byte for byte.
    n_good : int
        Number of images in ``good``, 2 to 999.
    n_line_good : int
        Number of images without a defect in ``line``, 1 to 500.
    n_per_defect : int
        Number of images of each defect in ``line``, 1 to 99.
    progress : callable (part, done, total), optional
        Called after each image with the name of its folder, the images finished there, and the images planned there.

    Returns
    -------
    DemoSummary

    Raises
    ------
    ValueError
        If a number is out of its range.
    OutputError
        If the folder is not empty, or cannot be written.
    """
    _check_ranges(
        seed=(seed, 0, 2**32 - 1),
        n_good=(n_good, 2, 999),
        n_line_good=(n_line_good, 1, 500),
        n_per_defect=(n_per_defect, 1, 99),
    )
    folder = Path(folder)
    line = [_Plan((seed, 1, i), "") for i in range(n_line_good)]
    line += [_Plan((seed, k, i), defect) for k, defect in enumerate(DEFECTS, 2) for i in range(n_per_defect)]
    line = [line[k] for k in default_rng([seed, 99]).permutation(len(line))]
    good = [_Plan((seed, 0, i), "") for i in range(n_good)]
    rows = ["file,defect"] + [f"{_name(place)},{plan.defect}" for place, plan in enumerate(line)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"The folder {folder} is not empty. Nothing was written. Name a new or empty folder.")
        for part in ("masks", "good", "line"):
            (folder / part).mkdir()
        _draw(folder, "good", good, progress)
        _draw(folder, "line", line, progress)
        with whole_file(folder / "defects.csv") as file:
            file.write("\n".join([*rows, ""]).encode())
    except OSError as error:
        raise OutputError(f"The demo cannot be written to {folder} ({error}). Name another folder.") from error
    return DemoSummary(folder, n_good, len(line), len(line) - n_line_good)


def _check_ranges(**ranges: tuple[int, int, int]) -> None:
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, not {value}.")


def _draw(folder: Path, part: str, plans: list[_Plan], progress: Progress | None) -> None:
    for place, plan in enumerate(plans):
        rng = default_rng(plan.seed)
        if plan.defect:
            image, mask = weave_with_defect(rng, plan.defect)
            _write_png(folder / "masks" / _name(place), mask)
        else:
            image = weave(rng)
        _write_png(folder / part / _name(place), image)
        if progress:
            progress(part, place + 1, len(plans))


def _name(place: int) -> str:
    return f"{place:03d}.png"


def _write_png(path: Path, pixels: np.ndarray) -> None:
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=4)
