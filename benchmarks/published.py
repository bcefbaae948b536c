"""What does each choice of the published recipe do, epoch by epoch?

    python benchmarks/published.py --data DATA --sets hk_star,piped_brg02_rl
    python benchmarks/published.py --data DATA --sets magnetic_tile_grouped --seeds 0 --banks position_mean

For each data set, bank and seed, the descriptor is trained for 30 epochs. After epochs 1, 2, 5, 10, 20 and 30 the test
images are scored with and without certainty. "last" is the last epoch, which needs no test labels. "best on test" is
the protocol of the authors: the epoch that is best on the test labels, for each measure. It explains published numbers,
and no choice in this project depends on it. The measures come from the script `--evaluate`, on maps and masks of
224x224 pixels.
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import _common
import _sets
import numpy as np

from cfa_lite import threads
from cfa_lite.features import images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.features.manifest import find_spec
from cfa_lite.published import fit, training
from cfa_lite.published.scorer import Pooled, PublishedScorer, map_of_distances, pooled_maps
from cfa_lite.published.settings import PublishedSettings
from cfa_lite.training.training_set import Source

EPOCHS = (1, 2, 5, 10, 20, 30)
MAX_MEMORY_MB = 1000


def no_progress(phase: str, done: int, total: int) -> None:
    pass


class PublishedSet(_sets.TestSet):
    """Test images whose pooled maps are computed once, and the measures of a scorer on them."""

    def __init__(self, root: Path, backbone: Backbone, size_px: tuple[int, int], n_threads: int, evaluate: ModuleType):
        super().__init__(root, evaluate)
        self.size_px, self.n_threads = size_px, n_threads

        def read(path: Path) -> Pooled:
            return pooled_maps(images.to_pixels(images.read(path), size_px), backbone)

        self.pooled = list(threads.ordered_map(read, self.paths, n_threads))

    def measure(self, scorer: PublishedScorer) -> np.ndarray:
        """Return the measures (2, 3) without and with certainty. Both use the same distances."""

        def one(pooled: Pooled) -> list[tuple[float, np.ndarray | None]]:
            distances_sq = scorer.distances_sq(pooled)
            grid = pooled[0].shape[1:]
            maps = [map_of_distances(distances_sq, grid, certainty, self.size_px) for certainty in (False, True)]
            return [(float(raw_map.max()), self.shrunk(raw_map)) for raw_map in maps]

        answers = threads.ordered_map(one, self.pooled, self.n_threads)
        return np.array([self.measures(*zip(*of_images)) for of_images in zip(*answers)])


def run(
    root: Path, backbone: Backbone, bank: str, seed: int, args: Namespace, evaluate: ModuleType
) -> tuple[list[int], np.ndarray]:
    """Return the epochs and their measures (epochs, 2, 3) without and with certainty."""
    epochs = [epoch for epoch in EPOCHS if epoch <= args.epochs]
    measures = np.full((len(epochs), 2, 3), np.nan)
    settings = PublishedSettings(bank=bank, epochs=args.epochs)
    with FeatureStore(MAX_MEMORY_MB) as store:
        good = fit.read(Source(_sets.train_images(root)), backbone, store, args.threads, no_progress)
        test = PublishedSet(root, backbone, good.working_sizes_px[0], args.threads, evaluate)

        def after_epoch(epoch: int, scorer: PublishedScorer) -> None:
            if epoch in epochs:
                measures[epochs.index(epoch)] = test.measure(scorer)

        start = time.perf_counter()
        trained = training.train(
            good.kept, fit.start(good, settings, seed), settings,
            random_state=seed, n_threads=args.threads, progress=no_progress, after_epoch=after_epoch,
        )  # fmt: skip
    first, last = trained.report[0], trained.report[-1]
    print(
        f"<!-- {root.name} {bank} seed {seed}: {time.perf_counter() - start:.0f} s; active attraction and repulsion"
        f" {first['active_attraction']:.3f} {first['active_repulsion']:.3f} in the first epoch,"
        f" {last['active_attraction']:.3f} {last['active_repulsion']:.3f} in the last; radius {last['radius']:.3f},"
        f" drift {last['drift']:.2f} -->",
        flush=True,
    )
    return epochs, measures


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--banks", default="position_mean,kmeans_ema", metavar="A,B")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error("--epochs must be at least 1.")
    evaluate = _sets.evaluate_module(args)
    backbone = Backbone(find_spec("lite0"))
    _common.print_machine(args.threads)
    print("\nimage AUROC / pixel AUROC / AUPRO, mean over seeds " + ", ".join(map(str, args.seeds)) + "\n")
    with threads.serial_blas():
        for name in _sets.names(args):
            for bank in args.banks.split(","):
                found = [run(args.data / name, backbone, bank, seed, args, evaluate) for seed in args.seeds]
                print_rows(name, bank, found[0][0], np.stack([measures for _, measures in found]))


def print_rows(name: str, bank: str, epochs: list[int], measures: np.ndarray) -> None:
    columns = " | ".join(f"epoch {epoch}" for epoch in epochs)
    print(f"\n| {name}, {bank} | {columns} (last) | best on test | spread of last |\n|{'---|' * (len(epochs) + 3)}")
    for certainty in (1, 0):
        by_epoch = measures[:, :, certainty]
        cells = [_sets.show(by_epoch[:, i].mean(axis=0)) for i in range(len(epochs))]
        cells.append(_sets.show(by_epoch.max(axis=1).mean(axis=0)))
        cells.append(_sets.show(np.ptp(by_epoch[:, -1], axis=0)))
        print(f"| certainty {'on' if certainty else 'off'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
