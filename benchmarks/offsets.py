"""What does it gain to move maps back by the offsets of the network's outputs, and do they then sit on the defect?

    python benchmarks/offsets.py --data DATA
    python benchmarks/offsets.py --data DATA --sets hk_star --seeds 0

For each data set with masks and each seed, one model is fitted. Its maps are moved back by shares of the offsets that
the manifest states, and by shares of (stride - 1) / 2, which padding at one side moves a convolution's center by. The
first table has the AUPRO of each, as a difference to maps that are not moved. The second one has the distance between
the peak of the map and a dot of 2.5 px radius, painted at random places of the good test images, which are then also
turned by 180 degrees: median and 95%, in pixels of the working size. Dots that are not seen, because the peak of the
map that is not moved is more than 16 px away, do not count.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import _common
import _sets
import numpy as np
from PIL import Image

from cfa_lite import CFA, threads
from cfa_lite.features import feature_maps, images
from cfa_lite.features.backbone import Backbone
from cfa_lite.inference.levels import DistanceMaps
from cfa_lite.inference.scorer import Scorer

N_DOTTED, N_DOTS, RADIUS_PX = 8, 4, 2.5
SEEN_PX = 16
SHARES = {"0": (0.0, 0.0), "1/2": (0.5, 0.0), "1": (1.0, 0.0), "5/4": (1.25, 0.0), "0.3 of theory": (0.0, 0.3),
          "theory": (0.0, 1.0)}  # fmt: skip


def moved(scorer: Scorer, backbone: Backbone) -> list[Scorer]:
    """Return the scorer with each share of the offsets."""
    found = []
    for measured, theory in SHARES.values():
        offsets = [
            tuple(measured * offset - theory * (output.stride - 1) / 2 for offset in output.offset_px)
            for output in backbone.spec.outputs
        ]
        found.append(replace(scorer, offsets_px=tuple(offsets)))
    return found


def distances(scorer: Scorer, image: images.ImageLike, backbone: Backbone) -> tuple[DistanceMaps, tuple, tuple]:
    """Return the distance maps of an image, its working size and its size."""
    loaded = images.read(image)
    size_px = scorer.working_size(loaded.size_px, backbone)
    maps = feature_maps.from_pixels(images.to_pixels(loaded, size_px, scorer.mask), backbone)
    return scorer.distances(maps), size_px, loaded.size_px


def aupro(scorer: Scorer, backbone: Backbone, test: _sets.TestSet, n_threads: int) -> np.ndarray:
    """Return the AUPRO with each share."""
    scorers = moved(scorer, backbone)

    def maps(path: Path) -> list[tuple[float, np.ndarray | None]]:
        found, size_px, image_px = distances(scorer, path, backbone)
        score = scorer.score(found, size_px)
        return [(score, test.shrunk(one.map_with_peak(found, size_px, score), image_px)) for one in scorers]

    by_share = zip(*threads.ordered_map(maps, test.paths, n_threads))
    return np.array([test.measures(*zip(*answers))[2] for answers in by_share])


def dots(scorer: Scorer, backbone: Backbone, good: list[Path], n_threads: int) -> np.ndarray:
    """Return the distances (n_dots, n_shares) between dot and peak."""
    scorers = moved(scorer, backbone)

    def distance(task: tuple[int, Path]) -> list[list[float]]:
        rng, values = np.random.default_rng([7, task[0]]), np.asarray(Image.open(task[1]).convert("RGB"))
        (h, w), found = values.shape[:2], []
        radius = max(1.0, RADIUS_PX / scorer.scale)
        for _ in range(N_DOTS):
            place = rng.uniform(0.15, 0.85, 2) * (h, w)
            y, x = np.mgrid[:h, :w] + 0.5
            inside = np.clip(radius + 0.5 - np.hypot(y - place[0], x - place[1]), 0, 1)[..., None]
            color = 0 if np.median(values) > 110 else 255
            painted = np.round(values * (1 - inside) + color * inside).astype(np.uint8)
            for shown, (row, column) in (
                (painted, place),
                (np.ascontiguousarray(painted[::-1, ::-1]), (h - place[0], w - place[1])),
            ):
                of_levels, size_px, _ = distances(scorer, shown, backbone)
                errors = []
                for one in scorers:
                    peak = np.unravel_index(one._plain_map(of_levels, size_px).argmax(), size_px)
                    errors.append(
                        float(np.hypot(peak[0] + 0.5 - row * size_px[0] / h, peak[1] + 0.5 - column * size_px[1] / w))
                    )
                found.append(errors)
        return found

    return np.concatenate(list(threads.ordered_map(distance, list(enumerate(good[:N_DOTTED])), n_threads)))


def measured(root: Path, seed: int, n_threads: int, evaluate: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUPRO (n_shares,) and the distances (n_dots, n_shares) of a data set."""
    model = CFA(random_state=seed, threads=n_threads).fit(_sets.train_images(root))
    scorer, backbone = model.fitted_.scorer, model.open_backbone()
    assert isinstance(scorer, Scorer)
    with threads.serial_blas():
        found = aupro(scorer, backbone, _sets.TestSet(root, evaluate), n_threads)
        return found, dots(scorer, backbone, sorted((root / "test" / "good").iterdir()), n_threads)


def main() -> None:
    args = _sets.parser(__doc__).parse_args()
    evaluate, n_threads = _sets.evaluate_module(args), threads.resolve(None)
    _common.print_machine(n_threads)
    head = f"{' | '.join(SHARES)} |\n|---|{'---|' * len(SHARES)}"
    print(f"AUPRO\n\n| set | {head}")
    distances_of = {}
    rows = []
    for name in [name for name in _sets.names(args) if (args.data / name / "ground_truth").is_dir()]:
        runs = [measured(args.data / name, seed, n_threads, evaluate) for seed in args.seeds]
        rows.append(np.mean([found for found, _ in runs], axis=0))
        distances_of[name] = np.concatenate([found for _, found in runs])
        row(name, rows[-1])
    row(f"**mean of {len(rows)} sets**", np.mean(rows, axis=0))
    print(f"\nDistance between dot and peak, median and 95%\n\n| set | seen | {head.replace('|---|', '|---|---|', 1)}")
    for name, found in distances_of.items():
        print(dots_row(name, found), flush=True)


def dots_row(name: str, found: np.ndarray) -> str:
    seen = found[found[:, 0] <= SEEN_PX]
    cells = "- | " * len(SHARES)
    if len(seen):
        cells = "".join(f"{a:.2f}, {b:.2f} | " for a, b in zip(*np.quantile(seen, (0.5, 0.95), axis=0)))
    return f"| {name} | {len(seen)} of {len(found)} | {cells.rstrip()}"


def row(name: str, values: np.ndarray) -> None:
    others = " | ".join(f"{value - values[0]:+.4f}" for value in values[1:])
    print(f"| {name} | {values[0]:.4f} | {others} |", flush=True)


if __name__ == "__main__":
    main()
