"""How long does the published recipe train, and how much memory does it need?

    python benchmarks/published_speed.py
    python benchmarks/published_speed.py --epochs 3 --images 40

By default: 200 images of 224x224 pixels from cfa_lite.demo (grid 56x56, 176 channels, gamma 1), 30 epochs, 2 threads.
The code of the authors takes 0.99 s for a batch of 4 on two cores (measured before this project began, 12 batches),
which makes 1,480 s for the same training. The number of operations counts the distances only: 2 x patches x centers x
channels for each image.
"""

from __future__ import annotations

import sys
import time

import _common
import numpy as np

from cfa_lite import threads
from cfa_lite.demo import cloth
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.features.manifest import find_spec
from cfa_lite.published import fit
from cfa_lite.published.scorer import PublishedScorer
from cfa_lite.published.settings import PublishedSettings
from cfa_lite.training.settings import Promise
from cfa_lite.training.training_set import Source

AUTHORS_SECONDS_A_BATCH = 0.99
MAX_MEMORY_MB = 1000


def no_progress(phase: str, done: int, total: int) -> None:
    pass


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    _common.print_machine(args.threads)
    images = [cloth.weave(np.random.default_rng([0, i]), (224, 224)) for i in range(args.images)]
    backbone = Backbone(find_spec("lite0"))
    with threads.serial_blas(), FeatureStore(MAX_MEMORY_MB) as store:
        start = time.perf_counter()
        good = fit.read(Source(images), backbone, store, args.threads, no_progress)
        read_s = time.perf_counter() - start
        found = fit.fit(
            good, backbone.spec, PublishedSettings(epochs=args.epochs), Promise(),
            random_state=0, n_threads=args.threads, progress=no_progress,
        )  # fmt: skip
        whole_s = time.perf_counter() - start
    scorer = found.fit.product.scorer
    assert isinstance(scorer, PublishedScorer)
    epochs = np.array([row["seconds"] for row in found.report])
    n_patches, n_channels = scorer.centers.shape
    gflop = 2 * n_patches**2 * n_channels * args.images / 1e9
    authors_s = AUTHORS_SECONDS_A_BATCH * -(-args.images // 4) * args.epochs
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(f"{args.images} images, {n_patches} patches and centers, {n_channels} channels, {args.epochs} epochs")
    print(f"features            {read_s:.1f} s")
    print(f"epoch               median {np.median(epochs):.2f} s, {epochs.min():.2f} to {epochs.max():.2f}")
    print(f"  distances         {gflop:.0f} GFLOP, {gflop / np.median(epochs):.0f} GFLOP/s over the whole epoch")
    train_s = float(epochs.sum())
    ratio = authors_s / train_s
    print(f"training            {train_s:.0f} s; the code of the authors {authors_s:.0f} s, {ratio:.1f} times")
    print(f"whole fit           {whole_s:.0f} s, with features and held-out scores")
    print(f"peak RSS            {peak:.0f} MB")


if __name__ == "__main__":
    main()
