"""Write the demo: good images, images to inspect, a test set, and known defects to teach."""

from __future__ import annotations

import os
import shutil
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
    """An image to draw: its seed, its defect or "", its file below the demo's folder, and that of its mask."""

    seed: tuple[int, int, int]
    defect: str
    file: str
    mask: str = ""


def make_demo(
    folder: str | os.PathLike[str],
    seed: int = 0,
    n_good: int = 40,
    n_line_good: int = 12,
    n_per_defect: int = 3,
    n_new_good: int = 20,
    n_known: int = 2,
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
        - ``test`` and ``ground_truth``: the images and masks of ``line`` once more, sorted by defect in the layout of
          MVTec AD, to evaluate a model.
        - ``new-good``: more images without a defect, to calibrate a model.
        - ``defects`` and ``defect-masks``: other defective images by kind of defect, and their masks, to teach a model.
    seed : int
        0 to 2**32 - 1. The same seed gives the same files, byte for byte.
    n_good : int
        Number of images in ``good``, 2 to 999.
    n_line_good : int
        Number of images without a defect in ``line``, 1 to 500.
    n_per_defect : int
        Number of images of each defect in ``line``, 1 to 99.
    n_new_good : int
        Number of images in ``new-good``, 0 to 999.
    n_known : int
        Number of images of each defect in ``defects``, 0 to 99.
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
        n_new_good=(n_new_good, 0, 999),
        n_known=(n_known, 0, 99),
    )
    folder = Path(folder)
    line = _line(seed, n_line_good, n_per_defect)
    rows = ["file,defect"] + [f"{Path(plan.file).name},{plan.defect}" for plan in line]
    parts = {
        "good": [_Plan((seed, 0, i), "", f"good/{_name(i)}") for i in range(n_good)],
        "line": line,
        "new-good": [_Plan((seed, 100, i), "", f"new-good/{_name(i)}") for i in range(n_new_good)],
        "defects": [
            _Plan((seed, 100 + k, i), defect, f"defects/{defect}/{_name(i)}", f"defect-masks/{defect}/{i:03d}_mask.png")
            for k, defect in enumerate(DEFECTS, 1)
            for i in range(n_known)
        ],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"The folder {folder} is not empty. Nothing was written. Name a new or empty folder.")
        for part, plans in parts.items():
            _draw(folder, part, plans, progress)
        _sort_by_defect(folder, line)
        with whole_file(folder / "defects.csv") as file:
            file.write("\n".join([*rows, ""]).encode())
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"The demo cannot be written to {folder} ({reason}). Name another folder.") from error
    return DemoSummary(folder, n_good, len(line), len(line) - n_line_good)


def _line(seed: int, n_good: int, n_per_defect: int) -> list[_Plan]:
    """Plan the images of the line, in random order."""
    images = [((seed, 1, i), "") for i in range(n_good)]
    images += [((seed, k, i), defect) for k, defect in enumerate(DEFECTS, 2) for i in range(n_per_defect)]
    order = default_rng([seed, 99]).permutation(len(images))
    return [
        _Plan(seed_, defect, f"line/{_name(place)}", f"masks/{_name(place)}" if defect else "")
        for place, (seed_, defect) in enumerate(images[k] for k in order)
    ]


def _sort_by_defect(folder: Path, line: list[_Plan]) -> None:
    """Copy the images and masks of the line into the layout of MVTec AD."""
    n_of: dict[str, int] = {}
    for plan in line:
        place = n_of[plan.defect] = n_of.get(plan.defect, -1) + 1
        copies = {plan.file: f"test/{plan.defect or 'good'}/{_name(place)}"}
        if plan.defect:
            copies[plan.mask] = f"ground_truth/{plan.defect}/{place:03d}_mask.png"
        for source, copy in copies.items():
            (folder / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / source, folder / copy)


def _check_ranges(**ranges: tuple[int, int, int]) -> None:
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, not {value}.")


def _draw(folder: Path, part: str, plans: list[_Plan], progress: Progress | None) -> None:
    for done, plan in enumerate(plans, 1):
        rng = default_rng(plan.seed)
        if plan.defect:
            image, mask = weave_with_defect(rng, plan.defect)
            _write_png(folder / plan.mask, mask)
        else:
            image = weave(rng)
        _write_png(folder / plan.file, image)
        if progress:
            progress(part, done, len(plans))


def _name(place: int) -> str:
    return f"{place:03d}.png"


def _write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=4)
