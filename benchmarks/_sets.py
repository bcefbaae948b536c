"""Shared by the benchmarks on data sets in the layout of MVTec AD: images, labels, masks and measures."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import _common
import numpy as np
from PIL import Image

VARIABLE = "CFA_LITE_DATA"
MAX_TRAIN = 200
MEASURES = ("image AUROC", "pixel AUROC", "AUPRO")


def parser(doc: str) -> argparse.ArgumentParser:
    """Return an argument parser with the options that all scripts on data sets have."""
    found = _common.parser(doc)
    found.add_argument(
        "--data", type=Path, default=default_folder(), metavar="FOLDER",
        help=f"folder that holds the data sets (default: the environment variable {VARIABLE})",
    )  # fmt: skip
    found.add_argument("--sets", type=lambda text: text.split(","), metavar="A,B", help="data sets (default: all)")
    found.add_argument("--seeds", type=_common.numbers, default=[0, 1, 2], metavar="0,1,...")
    found.add_argument(
        "--evaluate", type=Path, metavar="PATH",
        help="script of the measures (default: tools/evaluate.py beside the data folder)",
    )  # fmt: skip
    return found


def default_folder() -> Path | None:
    """Return the data folder that the environment names, or one beside the checkout, or None."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return beside if beside.is_dir() else None


def names(args: argparse.Namespace) -> list[str]:
    """Return the names of the chosen data sets, by default all in the data folder. End the script if one is missing."""
    if args.data is None:
        raise SystemExit(f"There is no data folder. Use --data FOLDER, or set the environment variable {VARIABLE}.")
    known = sorted(path.parent.parent.name for path in args.data.glob("*/train/good") if path.is_dir())
    unknown = sorted(set(args.sets or []) - set(known))
    if not known:
        raise SystemExit(f"{args.data} holds no data set: no folder in it has a subfolder train/good.")
    if unknown:
        raise SystemExit(f"{args.data} has no data set {', '.join(unknown)}. It has {', '.join(known)}.")
    return args.sets or known


def evaluate_path(args: argparse.Namespace) -> Path:
    """Return the path of evaluate.py, which measures independently of this project. End the script if it is missing."""
    names(args)  # without a data folder there is no default
    path: Path = args.evaluate or args.data.resolve().parent / "tools" / "evaluate.py"
    if not path.is_file():
        raise SystemExit(f"{path} does not exist. Give the path of the script of the measures with --evaluate.")
    return path


def evaluate_module(args: argparse.Namespace) -> ModuleType:
    """Return evaluate.py as a module."""
    path = evaluate_path(args)
    spec = importlib.util.spec_from_file_location("evaluate", path)
    assert spec and spec.loader, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_images(root: Path, most: int = MAX_TRAIN) -> list[Path]:
    """Return good images to fit on: at most `most`, evenly drawn as in evaluate.py."""
    paths = sorted((root / "train" / "good").iterdir())
    if len(paths) <= most:
        return paths
    return [paths[i] for i in np.linspace(0, len(paths) - 1, most).round().astype(int)]


class TestSet:
    """Test images of a data set with their labels, and their masks at 224x224 pixels as in evaluate.py."""

    __test__ = False  # pytest: not a test

    def __init__(self, root: Path, evaluate: ModuleType):
        self.paths = sorted(p for folder in (root / "test").iterdir() for p in folder.iterdir())
        self.images: list[Path] | list[Image.Image] = self.paths
        self.labels = np.array([p.parent.name != "good" for p in self.paths])
        self.masks = (
            np.stack([evaluate.mask_of(root, p) for p in self.paths]) if (root / "ground_truth").is_dir() else None
        )
        self._evaluate = evaluate

    def shrunk(self, score_map: np.ndarray, size_px: tuple[int, int] | None = None) -> np.ndarray | None:
        """Resize a map to the size of the masks. Return None if there are no masks.

        If `size_px` (h, w) is given, the map is first resized to it, as evaluate.py does with the size of the image.
        """
        if self.masks is None:
            return None
        image, side = Image.fromarray(score_map), self._evaluate.SIZE
        if size_px:
            image = image.resize(size_px[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))

    def measures(
        self, scores: Sequence[float], maps: Sequence[np.ndarray | None], at: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Return image AUROC, pixel AUROC and AUPRO (NaN without masks), of all images or of those `at`."""
        found = [self._evaluate.auroc(self.labels[at], scores), np.nan, np.nan]
        if self.masks is not None:
            masks, stacked = self.masks[at], np.stack([m for m in maps if m is not None])
            found[1:] = [self._evaluate.auroc(masks, stacked), self._evaluate.aupro(masks, stacked)]
        return np.array(found)


def show(values: np.ndarray) -> str:
    """Format three measures as a cell of a table."""
    return " / ".join("-" if np.isnan(v) else f"{v:.3f}" for v in values)


def mean(of_sets: np.ndarray) -> np.ndarray:
    """Return the mean over the data sets (axis 0) of measures; NaN only where no data set has the measure."""
    counts = np.isfinite(of_sets).sum(axis=0)
    total = np.nansum(of_sets, axis=0)
    return np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
