"""What does each published choice of recipe `paper` do, epoch by epoch?

    python benchmarks/paper.py ../shared/data --sets hk_star,piped_brg02_rl
    python benchmarks/paper.py ../shared/data --sets magnetic_tile_grouped --seeds 0 --banks position_mean

For every set, bank and seed one training of 30 epochs; after epochs 1, 2, 5, 10, 20 and 30 the test images are scored
with and without certainty. "last" is the fixed last epoch, which is what anybody can use. "best on test" is the authors'
protocol: for each measure the epoch that is best on the test labels; it is printed to explain published numbers, and
nothing is chosen by it. Measures are those of evaluate.py, on maps and masks at 224x224.
"""

import time

import _common
import _sets
import numpy as np

from cfa_lite import threads
from cfa_lite.features import images
from cfa_lite.features.backbone import Backbone, find_spec
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.parameters import PaperSettings
from cfa_lite.published import training
from cfa_lite.training import recipes

EPOCHS = (1, 2, 5, 10, 20, 30)


class PaperSet(_sets.TestSet):
    """Test images' features, kept once, and the measures of a model on them."""

    def __init__(self, root, network, size_px, n_threads, evaluate):
        super().__init__(root, evaluate)
        self.size_px, self.n_threads = size_px, n_threads
        read = lambda p: training.pooled_maps(images.to_pixels(images.read(p), size_px), network)  # noqa: E731
        self.pooled = list(threads.ordered_map(read, self.paths, n_threads))

    def measure(self, model):
        """Measures (certainty off / on, measure); both share the distances."""

        def one(pooled):
            distance_sq = training.distances_sq(pooled, model)
            raw = [
                training.map_of_distances(distance_sq, pooled[0].shape[1:], certainty, self.size_px)
                for certainty in (False, True)
            ]
            return [(float(r.max()), self.shrunk(r)) for r in raw]

        return np.array(
            [self.measures(*zip(*one)) for one in zip(*threads.ordered_map(one, self.pooled, self.n_threads))]
        )


def run(root, network, bank, seed, args, evaluate):
    """Measures (epoch, certainty off / on, measure)."""
    good = recipes.read_for_paper(_sets.train_images(root), network, FeatureStore(1000), args.threads, lambda *a: None)
    size_px = good.working_sizes_px[0]
    test = PaperSet(root, network, size_px, args.threads, evaluate)
    epochs = [e for e in EPOCHS if e <= args.epochs]
    measures = np.full((len(epochs), 2, 3), np.nan)

    def after_epoch(epoch, model):
        if epoch in epochs:
            measures[epochs.index(epoch)] = test.measure(model)

    start = time.perf_counter()
    settings = PaperSettings(bank=bank, epochs=args.epochs)
    options = dict(
        groups=np.arange(len(good.kept)),
        area=None,
        seed=seed,
        n_threads=args.threads,
        progress=lambda *a: None,
        after_epoch=after_epoch,
    )
    fit = training.learn(good.kept, size_px, settings, **options)
    last = fit.report[-1]
    print(f"<!-- {root.name} {bank} seed {seed}: {time.perf_counter() - start:.0f} s; active attraction and repulsion"
          f" {fit.report[0]['active_attraction']:.3f} {fit.report[0]['active_repulsion']:.3f} after 1 epoch,"
          f" {last['active_attraction']:.3f} {last['active_repulsion']:.3f} after the last; radius {last['radius']:.3f},"
          f" drift {last['drift']:.2f} -->", flush=True)  # fmt: skip
    return epochs, measures


def main():
    parser = _sets.parser(__doc__)
    parser.add_argument("--banks", default="position_mean,kmeans_ema")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    network = Backbone(find_spec("lite0"))
    _common.print_machine(args.threads)
    print("\nimage AUROC / pixel AUROC / AUPRO, mean over seeds " + ", ".join(map(str, args.seeds)) + "\n")
    with threads.serial_blas():
        for name in _sets.names(args):
            for bank in args.banks.split(","):
                found = [run(args.data / name, network, bank, seed, args, evaluate) for seed in args.seeds]
                print_rows(name, bank, found[0][0], np.stack([measures for _, measures in found]))


def print_rows(name, bank, epochs, measures):
    columns = " | ".join(f"epoch {e}" for e in epochs)
    print(f"\n| {name}, {bank} | {columns} (last) | best on test | spread of last |\n|{'---|' * (len(epochs) + 3)}")
    for certainty in (1, 0):
        by_epoch = measures[:, :, certainty]
        cells = [_sets.show(by_epoch[:, i].mean(axis=0)) for i in range(len(epochs))]
        cells.append(_sets.show(by_epoch.max(axis=1).mean(axis=0)))
        cells.append(_sets.show(np.ptp(by_epoch[:, -1], axis=0)))
        print(f"| certainty {'on' if certainty else 'off'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
