"""What the benchmarks share of data sets in the MVTec AD layout: images, labels, masks, and evaluate.py's measures."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import _common
import numpy as np
from PIL import Image

MAX_TRAIN = 200
MEASURES = ("image AUROC", "pixel AUROC", "AUPRO")


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser of what every script on data sets takes."""
    found = _common.parser(doc)
    found.add_argument("data", type=Path, help="folder of the sets")
    found.add_argument("--sets", type=lambda text: text.split(","), metavar="A,B", help="default: all")
    found.add_argument("--seeds", type=_common.numbers, default=[0, 1, 2], metavar="0,1,...")
    found.add_argument("--evaluate", type=Path, metavar="PATH", help="default: DATA/../tools/evaluate.py")
    return found


def names(args: argparse.Namespace) -> list[str]:
    """Sets to run: those given, or all that the data folder holds. Ends the script if one is not there."""
    known = sorted(path.parent.parent.name for path in args.data.glob("*/train/good") if path.is_dir())
    unknown = sorted(set(args.sets or []) - set(known))
    if unknown or not known:
        raise SystemExit(f"{args.data} has no set {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    return args.sets or known


def evaluate_path(args: argparse.Namespace) -> Path:
    """evaluate.py, which measures independently of this project. Ends the script if it is not there."""
    path = args.evaluate or args.data.resolve().parent / "tools" / "evaluate.py"
    if not path.is_file():
        raise SystemExit(f"{path} does not exist; give --evaluate")
    return path


def evaluate_module(args: argparse.Namespace) -> ModuleType:
    """evaluate.py as a module, for its measures."""
    path = evaluate_path(args)
    spec = importlib.util.spec_from_file_location("evaluate", path)
    assert spec and spec.loader, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_images(root: Path, most: int = MAX_TRAIN) -> list[Path]:
    """Good images to fit on, at most so many, evenly drawn as evaluate.py does."""
    paths = sorted((root / "train" / "good").iterdir())
    if len(paths) <= most:
        return paths
    return [paths[i] for i in np.linspace(0, len(paths) - 1, most).round().astype(int)]


class TestSet:
    """Test images of a set with their labels and masks; masks are 224x224, as in evaluate.py."""

    __test__ = False  # pytest: not a test

    def __init__(self, root: Path, evaluate: ModuleType):
        self.paths = sorted(p for folder in (root / "test").iterdir() for p in folder.iterdir())
        self.labels = np.array([p.parent.name != "good" for p in self.paths])
        self.masks = (
            np.stack([evaluate.mask_of(root, p) for p in self.paths]) if (root / "ground_truth").is_dir() else None
        )
        self._evaluate = evaluate

    def shrunk(self, score_map: np.ndarray, size_px: tuple[int, int] | None = None) -> np.ndarray | None:
        """A map at evaluate.py's size, by way of the image's own (h, w) if that is given; None without masks."""
        if self.masks is None:
            return None
        image, side = Image.fromarray(score_map), self._evaluate.SIZE
        if size_px:
            image = image.resize(size_px[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))

    def measures(
        self, scores: Sequence[float], maps: Sequence[np.ndarray | None], at: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Image AUROC, pixel AUROC and AUPRO of all images, or those `at`; the last two NaN without masks."""
        found = [self._evaluate.auroc(self.labels[at], scores), np.nan, np.nan]
        if self.masks is not None:
            masks, stacked = self.masks[at], np.stack([m for m in maps if m is not None])
            found[1:] = [self._evaluate.auroc(masks, stacked), self._evaluate.aupro(masks, stacked)]
        return np.array(found)


def show(values: np.ndarray) -> str:
    """Three measures in a cell of a table."""
    return " / ".join("-" if np.isnan(v) else f"{v:.3f}" for v in values)
