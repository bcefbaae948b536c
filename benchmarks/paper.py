"""What does each published choice of recipe `paper` do, epoch by epoch?

    python benchmarks/paper.py ../shared/data --sets hk_star,piped_brg02_rl
    python benchmarks/paper.py ../shared/data --sets magnetic_tile_grouped --seeds 0 --banks position_mean

For every set, bank and seed one training of 30 epochs; after epochs 1, 2, 5, 10, 20 and 30 the test pictures are scored
with and without certainty. "last" is the fixed last epoch, which is what anybody can use. "best on test" is the authors'
protocol: for each measure the epoch that is best on the test labels; it is printed to explain published numbers, and
nothing is chosen by it. Measures are those of evaluate.py, on maps and masks at 224x224.
"""

import importlib.util
import time
from pathlib import Path

import _common
import numpy as np
from PIL import Image

from cfa_lite import images, paper, recipes, threads
from cfa_lite.arguments import PaperSettings
from cfa_lite.backbone import Backbone, find_spec
from cfa_lite.feature_store import FeatureStore

EPOCHS = (1, 2, 5, 10, 20, 30)
MAX_TRAIN = 200
MEASURES = ("image AUROC", "pixel AUROC", "AUPRO")


def load_module(path):
    spec = importlib.util.spec_from_file_location("evaluate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_pictures(root):
    paths = sorted((root / "train" / "good").iterdir())
    if len(paths) <= MAX_TRAIN:
        return paths
    return [paths[i] for i in np.linspace(0, len(paths) - 1, MAX_TRAIN).round().astype(int)]


class TestSet:
    """Test pictures' features, kept once, and the measures of a model on them."""

    def __init__(self, root, network, size_px, n_threads, evaluate):
        self.paths = sorted(p for folder in (root / "test").iterdir() for p in folder.iterdir())
        self.labels = np.array([p.parent.name != "good" for p in self.paths])
        self.masks = (
            np.stack([evaluate.mask_of(root, p) for p in self.paths]) if (root / "ground_truth").is_dir() else None
        )
        self.size_px, self.n_threads, self.evaluate = size_px, n_threads, evaluate
        read = lambda p: paper.pooled_maps(images.read(p), size_px, network)  # noqa: E731
        self.pooled = list(threads.ordered_map(read, self.paths, n_threads))

    def measure(self, model):
        """Measures (certainty off / on, measure); both share the distances."""
        side = self.evaluate.SIZE

        def one(pooled):
            distance_sq = paper.distances_sq(pooled, model)
            found = []
            for certainty in (False, True):
                raw = paper.map_of_distances(distance_sq, pooled[0].shape[1:], certainty, self.size_px)
                shown = Image.fromarray(raw.both).resize((side, side), Image.Resampling.BILINEAR)
                found.append((raw.score, np.asarray(shown)))
            return found

        return np.array([self._of(*zip(*one)) for one in zip(*threads.ordered_map(one, self.pooled, self.n_threads))])

    def _of(self, scores, maps):
        found = [self.evaluate.auroc(self.labels, scores)]
        if self.masks is not None:
            maps = np.stack(maps)
            found += [self.evaluate.auroc(self.masks, maps), self.evaluate.aupro(self.masks, maps)]
        return found + [np.nan] * (3 - len(found))


def run(root, network, bank, seed, args, evaluate):
    """Measures (epoch, certainty off / on, measure)."""
    good = recipes.read_for_paper(train_pictures(root), network, FeatureStore(1000), args.threads, lambda *a: None)
    size_px = good.working_sizes_px[0]
    test = TestSet(root, network, size_px, args.threads, evaluate)
    epochs = [e for e in EPOCHS if e <= args.epochs]
    measures = np.full((len(epochs), 2, 3), np.nan)

    def after_epoch(epoch, model):
        if epoch in epochs:
            measures[epochs.index(epoch)] = test.measure(model)

    start = time.perf_counter()
    settings = PaperSettings(bank=bank, epochs=args.epochs)
    options = dict(seed=seed, n_threads=args.threads, progress=lambda *a: None, after_epoch=after_epoch)
    fit = paper.learn(good.maps, size_px, settings, **options)
    last = fit.report[-1]
    print(f"<!-- {root.name} {bank} seed {seed}: {time.perf_counter() - start:.0f} s; active attraction and repulsion"
          f" {fit.report[0]['active_attraction']:.3f} {fit.report[0]['active_repulsion']:.3f} after 1 epoch,"
          f" {last['active_attraction']:.3f} {last['active_repulsion']:.3f} after the last; radius {last['radius']:.3f},"
          f" drift {last['drift']:.2f} -->", flush=True)  # fmt: skip
    return epochs, measures


def main():
    parser = _common.parser(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", help="comma-separated; default: all")
    parser.add_argument("--seeds", type=_common.numbers, default=[0, 1, 2])
    parser.add_argument("--banks", default="position_mean,kmeans_ema")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate", type=Path, help="default: DATA/../tools/evaluate.py")
    args = parser.parse_args()
    evaluate = load_module(args.evaluate or args.data.resolve().parent / "tools" / "evaluate.py")
    names = args.sets.split(",") if args.sets else sorted(p.parent.parent.name for p in args.data.glob("*/train/good"))
    network = Backbone(find_spec("lite0"))
    _common.print_machine(args.threads)
    print("\nimage AUROC / pixel AUROC / AUPRO, mean over seeds " + ", ".join(map(str, args.seeds)) + "\n")
    with threads.serial_blas():
        for name in names:
            for bank in args.banks.split(","):
                found = [run(args.data / name, network, bank, seed, args, evaluate) for seed in args.seeds]
                print_rows(name, bank, found[0][0], np.stack([measures for _, measures in found]))


def print_rows(name, bank, epochs, measures):
    columns = " | ".join(f"epoch {e}" for e in epochs)
    print(f"\n| {name}, {bank} | {columns} (last) | best on test | spread of last |\n|{'---|' * (len(epochs) + 3)}")
    for certainty in (1, 0):
        by_epoch = measures[:, :, certainty]
        cells = [show(by_epoch[:, i].mean(axis=0)) for i in range(len(epochs))]
        cells.append(show(by_epoch.max(axis=1).mean(axis=0)))
        cells.append(show(np.ptp(by_epoch[:, -1], axis=0)))
        print(f"| certainty {'on' if certainty else 'off'} | {' | '.join(cells)} |", flush=True)


def show(values):
    return " / ".join("-" if np.isnan(v) else f"{v:.3f}" for v in values)


if __name__ == "__main__":
    main()
