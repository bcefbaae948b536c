"""How long does recipe `paper` train, and in how much memory?

    python benchmarks/paper_speed.py
    python benchmarks/paper_speed.py --epochs 3 --images 40

200 images of 224x224 pixels (grid 56x56, 176 channels, gamma 1), made by cfa_lite.demo; 30 epochs on 2 threads.
The authors' code takes 0.99 s a batch of 4 on these 2 cores (measured before this project began, 12 batches), so
1,480 s for the same. Products counted: distances, 2 x patches x centers x channels an image.
"""

import resource
import time

import _common
import numpy as np

from cfa_lite import threads
from cfa_lite.demo import cloth
from cfa_lite.features.backbone import Backbone, find_spec
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.parameters import PaperSettings
from cfa_lite.published import training
from cfa_lite.training import recipes

AUTHORS_SECONDS_A_BATCH = 0.99


def main():
    parser = _common.parser(__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    _common.print_machine(args.threads)
    images = [cloth.weave(np.random.default_rng([0, i]), (224, 224)) for i in range(args.images)]
    with threads.serial_blas():
        start = time.perf_counter()
        good = recipes.read_for_paper(
            images, Backbone(find_spec("lite0")), FeatureStore(1000), args.threads, lambda *a: None
        )
        read_s = time.perf_counter() - start
        fit = training.learn(
            good.kept,
            good.working_sizes_px[0],
            PaperSettings(epochs=args.epochs),
            groups=np.arange(len(good.kept)),
            area=None,
            seed=0,
            n_threads=args.threads,
            progress=lambda *a: None,
        )
    whole_s = time.perf_counter() - start
    epochs = np.array([row["seconds"] for row in fit.report])
    n_patches, channels = len(fit.model.centers), len(fit.model.weight)
    gflop = 2 * n_patches**2 * channels * args.images / 1e9
    authors_s = AUTHORS_SECONDS_A_BATCH * -(-args.images // 4) * args.epochs
    print(f"{args.images} images, {n_patches} patches and centers, {channels} channels, {args.epochs} epochs")
    print(f"features            {read_s:.1f} s")
    print(f"epoch               median {np.median(epochs):.2f} s, {epochs.min():.2f} to {epochs.max():.2f}")
    print(f"  its distances     {gflop:.0f} GFLOP, {gflop / np.median(epochs):.0f} GFLOP/s of the whole epoch")
    print(
        f"training            {epochs.sum():.0f} s; the authors' code {authors_s:.0f} s: {authors_s / epochs.sum():.1f} times"
    )
    print(f"whole fit           {whole_s:.0f} s, with features and held-out scores")
    print(f"peak RSS            {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
