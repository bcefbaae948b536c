"""Does --align bring shifted parts back?

    python benchmarks/alignment.py --data DATA --sets mvtec_pill,mvtec_transistor

Each image is moved by up to 8 of 256 pixels down and right at random; what moves in mirrors the edge. Two rows for each
data set and each way to fit (good images as they are, or moved): image AUROC, false alarms and found defects of the
test images as they are and moved. At most 40 images to fit, 30 good and 40 defective test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import _common
import _sets
import numpy as np
from PIL import Image

from cfa_lite import CFA
from cfa_lite.features.image_files import find_images

MOST_PX = 8 / 256  # of the side of a square image of the same area


def read(folders: Sequence[Path], n: int) -> list[np.ndarray]:
    """Read at most `n` images, evenly spaced."""
    paths = [file.path for file in find_images(folders)]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths[:: -(-len(paths) // n)]]


def moved(images: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Move each image by its own random shift."""
    found = []
    for image in images:
        h, w = image.shape[:2]
        most = round(MOST_PX * float(np.sqrt(h * w)))
        y, x = rng.integers(0, 2 * most + 1, 2)
        found.append(np.pad(image, ((most, most), (most, most), (0, 0)), mode="reflect")[y : y + h, x : x + w])
    return found


def measured(model: CFA, good: list[np.ndarray], defects: list[np.ndarray]) -> str:
    """Return image AUROC, false alarms and found defects as one cell."""
    results = list(model.inspect_many([*good, *defects]))
    scores = np.array([result.score for result in results])
    higher = scores[len(good) :, None] - scores[: len(good)]
    auroc = ((higher > 0) + 0.5 * (higher == 0)).mean()
    is_ng = [result.verdict == "NG" for result in results]
    counts = f"{sum(is_ng[: len(good)])}/{len(good)}, {sum(is_ng[len(good) :])}/{len(defects)}"
    return f"{auroc:.3f}, {counts}"


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--preset", default="fast")
    args = parser.parse_args()
    _common.print_machine(1)
    print("\nEach cell: image AUROC, false alarms, found.\n")
    print("| set | good images of the fit | `--align` | as they are | moved |\n|---|---|---|---|---|")
    for name in _sets.names(args):
        test = args.data / name / "test"
        train, good = read([args.data / name / "train" / "good"], 40), read([test / "good"], 30)
        defects = read([f for f in sorted(test.iterdir()) if f.is_dir() and f.name != "good"], 40)
        rng = np.random.default_rng(args.seeds[0])
        train_moved, good_moved, defects_moved = (moved(images, rng) for images in (train, good, defects))
        for how, images in [("as they are", train), ("moved", train_moved)]:
            for align in (False, True):
                model = CFA(align=align, preset=args.preset, recipe="whitened", threads=1).fit(images)
                cells = [measured(model, good, defects), measured(model, good_moved, defects_moved)]
                print(f"| {name} | {how} | {'yes' if align else 'no'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
