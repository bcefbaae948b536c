"""What does the search in cells save, and how much larger are its distances than the exact ones?

    python benchmarks/cells.py --data DATA --sets mvtec_pill,bsdata

For each data set, a model with 256 centers per level and one with 1,024 are fitted. The distances of some test images
are then measured by the bank of 256, by that of 1,024 exhaustively, and by that of 1,024 in cells, in turns, on one
thread. Times are those of all levels of one image, without the network. "larger" is the share of patches whose distance
in cells is larger than the exact one by more than 0.1 %; "excess" is the mean relative excess of all patches, and of
the one percent that are farthest, which decide the image score.
"""

from __future__ import annotations

import time
from dataclasses import replace

import _common
import _sets
import numpy as np

from cfa_lite import CFA, threads
from cfa_lite.features import feature_maps, images
from cfa_lite.inference.levels import Level

N_IMAGES, ROUNDS = 12, 7


def levels_of(n_centers: int, train: list, n_threads: int) -> tuple[CFA, tuple[Level, ...]]:
    model = CFA(n_centers=n_centers, threads=n_threads).fit(train)
    return model, model.fitted_.scorer.levels


def patches_of(model: CFA, paths: list) -> list[dict]:
    """Return the centered patches (c, n) of each level of each image."""
    backbone, scorer = model.open_backbone(), model.fitted_.scorer
    found = []
    for path in paths:
        loaded = images.read(path)
        pixels = images.to_pixels(loaded, scorer.working_size(loaded.size_px, backbone))
        maps = feature_maps.from_pixels(pixels, backbone)
        found.append({
            level.key: (feature_maps.level_patches(maps, level.key) - level.mean).T for level in scorer.levels
        })  # fmt: skip
    return found


def main() -> None:
    parser = _sets.parser(__doc__)
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    n_threads = threads.resolve(None)
    _common.print_machine(1)
    print(
        "| data set | 256, ms | 1,024 exact / 256 | 1,024 in cells / 256 | larger | excess | excess of farthest 1 % |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in _sets.names(args):
        root = args.data / name
        paths, train = _sets.TestSet(root, evaluate).paths, _sets.train_images(root)
        _, few = levels_of(256, train, n_threads)
        model, many = levels_of(1024, train, n_threads)
        exact = [replace(level, cells=None) for level in many]
        with threads.serial_blas():
            all_patches = patches_of(model, paths[:: max(1, len(paths) // N_IMAGES)][:N_IMAGES])

            def measure(levels: tuple[Level, ...] | list[Level], all_patches: list[dict] = all_patches) -> list:
                return [[level.distances(patches[level.key]) for level in levels] for patches in all_patches]

            kinds = {"few": few, "exact": exact, "cells": many}
            results = {kind: measure(levels) for kind, levels in kinds.items()}
            seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(ROUNDS):
                for kind, levels in kinds.items():
                    start = time.perf_counter()
                    measure(levels)
                    seconds[kind].append(time.perf_counter() - start)
        excess, of_farthest = [], []
        for of_exact, of_cells in zip(results["exact"], results["cells"]):
            for one, other in zip(of_exact, of_cells):
                relative = other / np.maximum(one, 1e-6) - 1
                excess.append(relative)
                of_farthest.append(relative[one >= np.quantile(one, 0.99)])
        all_excess, base = np.concatenate(excess), np.array(seconds["few"])
        ratios = [np.array(seconds[kind]) / base for kind in ("exact", "cells")]
        shown = " | ".join(f"{np.median(r):.2f} ({r.min():.2f} to {r.max():.2f})" for r in ratios)
        print(
            f"| {name} | {1e3 * np.median(base) / len(all_patches):.2f} | {shown} | {np.mean(all_excess > 1e-3):.3f} |"
            f" {all_excess.mean():.4f} | {np.concatenate(of_farthest).mean():.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
