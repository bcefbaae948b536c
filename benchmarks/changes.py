"""Which good images get a note that they are shifted, rotated, brighter or darker, or have red and blue swapped?

    python benchmarks/changes.py --data DATA
    python benchmarks/changes.py --data DATA --cost fast accurate

One row for each data set, from at most 100 good images: how far the good images themselves are off, and how many good
test images (at most 60) get a note as they are, and after each known change. Images have the working size of the
default preset. With --cost, each good test image is inspected on one thread with and without notes in turn, and a row
tells which share of the time the notes take: the median over passes, and its quartiles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import _common
import _sets
import numpy as np
from scipy import ndimage

from cfa_lite import CFA
from cfa_lite.features import image_checks, images
from cfa_lite.features.image_files import find_images
from cfa_lite.features.reference import Appearance, Reference
from cfa_lite.training.extraction import WORKING_AREA_PX

N_TRAIN, N_TEST = 100, 60
N_TIMED, N_PASSES = 20, 15


def shifted(pixels: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move the content; what moves in mirrors the edge."""
    edge = max(abs(down), abs(right))
    padded = np.pad(pixels, ((0, 0), (edge, edge), (edge, edge)), mode="reflect")
    h, w = pixels.shape[1:]
    return padded[:, edge - down : edge - down + h, edge - right : edge - right + w]


def rotated(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate clockwise; what comes in mirrors the edge."""
    return np.stack([ndimage.rotate(p, -degrees, reshape=False, order=1, mode="reflect") for p in pixels])


CHANGES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "swapped": ("swapped", lambda p: p[::-1]),
    "x 1.25": ("brighter", lambda p: np.minimum(255, p * 1.25)),
    "x 0.75": ("darker", lambda p: p * 0.75),
    "5 px": ("shifted", lambda p: shifted(p, 0, 5)),
    "8 px": ("shifted", lambda p: shifted(p, -8, 0)),
    "16 px": ("shifted", lambda p: shifted(p, 0, 16)),
    "2 degrees": ("rotated", lambda p: rotated(p, -2)),
    "3 degrees": ("rotated", lambda p: rotated(p, 3)),
    "6 degrees": ("rotated", lambda p: rotated(p, 6)),
}


def pixels_of(paths: Sequence[object], scale: float) -> list[np.ndarray]:
    """Read images at one scale."""
    found = []
    for path in paths:
        loaded = images.read(path)
        found.append(images.to_pixels(loaded, images.working_size(loaded.size_px, scale, 32)))
    return found


def noted(reference: Reference, tested: Sequence[np.ndarray], kind: str = "") -> int:
    """Return how many images get a note, of one kind if that is given."""
    n = 0
    for pixels in tested:
        pixels = np.ascontiguousarray(pixels, np.float32)
        changes, _ = reference.compare(pixels, image_checks.measure(pixels), 1.0)
        n += any(kind in ("", change.kind) for change in changes)
    return n


def show_cost(root: Path, preset: str) -> None:
    """Fit a model, and print the time of an inspection and the share that notes take."""
    model = CFA(preset=preset, threads=1).fit(_sets.train_images(root)[:N_TRAIN])
    tested = [path.read_bytes() for path in (file.path for file in find_images([root / "test" / "good"]))][:N_TIMED]
    noting, silent = model.fitted_, replace(model.fitted_, reference=None)
    milliseconds: dict[bool, list[float]] = {True: [], False: []}
    for i in range(N_PASSES + 1):  # the first pass warms up
        spent = {True: 0.0, False: 0.0}
        for j, image in enumerate(tested):
            for notes in (True, False) if (i + j) % 2 else (False, True):
                model.fitted_ = noting if notes else silent
                start = time.perf_counter()
                model.inspect(image)
                spent[notes] += time.perf_counter() - start
        for notes, seconds in spent.items():
            milliseconds[notes].append(1000 * seconds / len(tested))
    shares = [100 * (a / b - 1) for a, b in zip(milliseconds[True][1:], milliseconds[False][1:])]
    low, middle, high = np.quantile(shares, (0.25, 0.5, 0.75))
    place = "yes" if noting.reference is not None and noting.reference.shift_px is not None else "no"
    print(f"| {root.name} | {preset} | {place} | {np.median(milliseconds[False][1:]):.1f} ms", end=" ")
    print(f"| {middle:.1f}% | {low:.1f} to {high:.1f}% |", flush=True)


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--cost", nargs="+", metavar="PRESET", help="measure the time that notes take instead")
    args = parser.parse_args()
    _common.print_machine(1)
    if args.cost:
        print("\n| set | preset | a place is known | without notes | notes | quartiles |")
        print("|---" * 6 + "|")
        for name in _sets.names(args):
            for preset in args.cost:
                show_cost(args.data / name, preset)
        return
    print(f"\n| set | fit, tested | shift, px | rotation | as they are | {' | '.join(CHANGES)} |")
    print("|---" * (5 + len(CHANGES)) + "|")
    for name in _sets.names(args):
        train = _sets.train_images(args.data / name)
        train = train[:: -(-len(train) // N_TRAIN)]
        test = [file.path for file in find_images([args.data / name / "test" / "good"])][:N_TEST]
        median = float(np.median([h * w for h, w in map(images.size_of, train)]))
        good, tested = (pixels_of(paths, np.sqrt(WORKING_AREA_PX / median)) for paths in (train, test))
        reference = Reference.of(
            [Appearance.of(pixels) for pixels in good],
            [pixels.shape[1:] for pixels in good],
            [image_checks.measure(pixels) for pixels in good],
        )
        off = [reference.shift_px, reference.degrees]
        cells = [name, f"{len(good)}, {len(tested)}", *("any" if v is None else f"{v:.1f}" for v in off)]
        cells.append(str(noted(reference, tested)))
        cells += [str(noted(reference, [change(p) for p in tested], kind)) for kind, change in CHANGES.values()]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
