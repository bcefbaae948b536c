"""How long do cfa-lite and scikit-learn take for K-means of equal inertia, and does the warm-up help?

    python benchmarks/kmeans.py
    python benchmarks/kmeans.py --threads 1

`fit` runs several K-means at the same time, each on one thread. This script runs one K-means on all threads, unless
``--threads`` says otherwise. The points are whitened patch features of woven cloth (cfa_lite.demo): 65,536 for each of
three levels with 24, 40 and 112 dimensions. There are 256 centers and seeds 0 to 4. All rows take turns for each seed.
The seconds are those of the whole call, with the choice of the first centers and the last assignment. The inertia is
computed in float64 by the same code for all rows, and shown relative to the lowest inertia of all runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import _common
import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits

from cfa_lite import threads
from cfa_lite.demo.cloth import weave
from cfa_lite.features import feature_maps, images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_maps import MapKey
from cfa_lite.features.manifest import find_spec
from cfa_lite.method import kmeans as own_kmeans
from cfa_lite.method import neighbors, whitening
from cfa_lite.training import cross_fit

SHRINKAGE = 0.1
SIZE_PX = (256, 256)
_PAUSE_SECONDS = 0.2  # threads of BLAS and OpenMP spin for a while after their work and would slow the next run
TARGET = "sklearn KMeans, max_iter=10"  # the others have to reach its inertia

Run = Callable[[np.ndarray, int], tuple[np.ndarray, int]]  # points, seed -> centers, iterations


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--points", type=int, default=cross_fit.N_PATCHES)
    parser.add_argument("--centers", type=int, default=256)
    parser.add_argument("--images", type=int, default=256, help="256 images give every level 65,536 patches")
    parser.add_argument("--seeds", type=_common.numbers, default=[0, 1, 2, 3, 4], metavar="0,1,...")
    parser.add_argument("--threads", type=int, default=threads.available_cores())
    args = parser.parse_args()
    _common.print_machine(args.threads)
    families, ablation = alternatives(args.centers, args.threads)
    runs = {name: run for rows in (*families.values(), ablation) for name, run in rows.items()}
    for points in make_points(args.images, args.points, args.threads):
        print(f"\n{len(points)} x {points.shape[1]} points, {args.centers} centers, {len(args.seeds)} seeds")
        seconds, inertia, n_iterations = measure(points, runs, args.seeds, args.threads)
        print_table(families, ablation, seconds, inertia, n_iterations)
        print_equal_inertia(families, seconds, inertia)


def make_points(n_images: int, n_points: int, n_threads: int) -> list[np.ndarray]:
    """Return descriptors (n, d) float32 of the pooled levels of the full scale, as `fit` makes them."""
    backbone = Backbone(find_spec("lite0"))

    def one(i: int) -> dict[MapKey, np.ndarray]:
        loaded = images.read(weave(np.random.default_rng(i), SIZE_PX))
        return feature_maps.from_pixels(images.to_pixels(loaded, SIZE_PX), backbone)

    maps: list[feature_maps.FeatureMaps] = list(threads.ordered_map(one, range(n_images), n_threads))
    keys = [key for key in feature_maps.level_keys(len(backbone.spec.outputs)) if key.pooled and key.divisor == 1]
    made = []
    for rows, _ in cross_fit.draw_samples(maps, keys, None, 0, n_threads).values():
        rows = np.random.default_rng(0).permutation(rows)[:n_points]
        made.append(whitening.describe(rows, *whitening.shrunk_whitening(rows, SHRINKAGE)))
    return made


def alternatives(n_centers: int, n_threads: int) -> tuple[dict[str, dict[str, Run]], dict[str, Run]]:
    """Return the rows of the table by implementation, and the rows that leave out or change the warm-up."""

    def ours(**options: float) -> Run:
        def run(points: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
            rng = np.random.default_rng(seed)
            found = own_kmeans.kmeans(points, n_centers, rng, n_threads=n_threads, **options)
            return found.centers, found.n_iterations

        return run

    def sklearn(**options: int) -> Run:
        def run(points: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
            found = KMeans(n_centers, n_init=1, algorithm="lloyd", random_state=seed, **options).fit(points)
            return found.cluster_centers_, found.n_iter_

        return run

    def sklearn_seeded_as_ours(max_iter: int) -> Run:
        # scikit-learn's seeding sees all points and tries several a center; this tells seeding from iterating
        def run(points: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
            n_seen = min(len(points), max(own_kmeans._SEED_POINTS * n_centers, own_kmeans._MIN_SEED_POINTS))
            seen = points[np.random.default_rng(seed).choice(len(points), n_seen, replace=False)]
            seeds, _ = kmeans_plusplus(seen, n_centers, random_state=seed, n_local_trials=1)
            found = KMeans(n_centers, init=seeds, n_init=1, algorithm="lloyd", max_iter=max_iter).fit(points)
            return found.cluster_centers_, found.n_iter_

        return run

    def mini_batch(**options: int | None) -> Run:
        def run(points: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
            found = MiniBatchKMeans(n_centers, n_init=1, random_state=seed, **options).fit(points)
            return found.cluster_centers_, found.n_iter_

        return run

    def no_warm_up(points: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
        usual = own_kmeans._WARM_UP
        own_kmeans._WARM_UP = ()
        try:
            return ours(max_iterations=5, tolerance=0.0)(points, seed)
        finally:
            own_kmeans._WARM_UP = usual

    def half_the_points(points: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
        # like kmeans.kmeans, but never on more than half of the points
        rng = np.random.default_rng(seed)
        points = points[rng.permutation(len(points))]
        with threads.serial_blas():
            n_seen = max(own_kmeans._SEED_POINTS * n_centers, own_kmeans._MIN_SEED_POINTS)
            centers = own_kmeans.seeds(points[:n_seen], n_centers, rng)
            half = points[: len(points) // 2]
            for _ in range(10):
                centers = own_kmeans._means(half, *neighbors.nearest(half, centers, n_threads), n_centers)
        return centers, 10

    families = {
        "ours": {
            "ours, default (max_iterations=2)": ours(),
            "ours, max_iterations=5": ours(max_iterations=5),
            "ours, max_iterations=10": ours(max_iterations=10),
            "ours, max_iterations=100": ours(max_iterations=100),
            "ours, max_iterations=10, tolerance=0": ours(max_iterations=10, tolerance=0.0),
            "ours, max_iterations=20, tolerance=0": ours(max_iterations=20, tolerance=0.0),
            "ours, max_iterations=100, tolerance=1e-4": ours(max_iterations=100, tolerance=1e-4),
        },
        "sklearn KMeans": {
            "sklearn KMeans, max_iter=5": sklearn(max_iter=5),
            TARGET: sklearn(max_iter=10),
            "sklearn KMeans, max_iter=300": sklearn(max_iter=300),
        },
        "sklearn KMeans, seeded as ours": {
            "sklearn KMeans, seeded as ours, max_iter=5": sklearn_seeded_as_ours(5),
            "sklearn KMeans, seeded as ours, max_iter=10": sklearn_seeded_as_ours(10),
            "sklearn KMeans, seeded as ours, max_iter=20": sklearn_seeded_as_ours(20),
        },
        "MiniBatchKMeans": {
            "MiniBatchKMeans, batch_size=1024": mini_batch(batch_size=1024),
            "MiniBatchKMeans, batch_size=4096": mini_batch(batch_size=4096),
            # the defaults stop early; these two go over the points ten times
            "MiniBatchKMeans, batch_size=1024, 10 epochs": mini_batch(
                batch_size=1024, max_iter=10, max_no_improvement=None
            ),
            "MiniBatchKMeans, batch_size=4096, 10 epochs": mini_batch(
                batch_size=4096, max_iter=10, max_no_improvement=None
            ),
        },
    }
    ablation = {
        "warm-up: none, 5 iterations on all points": no_warm_up,
        "warm-up: none, 10 iterations on half the points": half_the_points,
    }
    return families, ablation


def measure(
    points: np.ndarray, runs: dict[str, Run], seeds: list[int], n_threads: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return seconds, inertia and iterations (seeds,) of every row."""
    seconds, inertia, n_iterations = ({name: np.empty(len(seeds)) for name in runs} for _ in range(3))
    with threadpool_limits(limits=n_threads):  # ours limits BLAS to one thread and runs blocks in parallel
        for run in runs.values():
            run(points[: min(len(points), 8192)], 0)  # compiles kernels and starts thread pools
        for i, seed in enumerate(seeds):
            for name, run in runs.items():
                time.sleep(_PAUSE_SECONDS)
                start = time.perf_counter()
                centers, n_iterations[name][i] = run(points, seed)
                seconds[name][i] = time.perf_counter() - start
                inertia[name][i] = inertia_of(points, centers)
    return seconds, inertia, n_iterations


def inertia_of(points: np.ndarray, centers: np.ndarray) -> float:
    centers = centers.astype(np.float64)
    total = 0.0
    with threads.serial_blas():
        for start in range(0, len(points), 4096):
            part = points[start : start + 4096].astype(np.float64)
            least = ((centers**2).sum(1) - 2 * part @ centers.T).min(1)
            total += float((least + (part**2).sum(1)).sum())
    return total


def print_table(
    families: dict[str, dict[str, Run]],
    ablation: dict[str, Run],
    seconds: dict[str, np.ndarray],
    inertia: dict[str, np.ndarray],
    n_iterations: dict[str, np.ndarray],
) -> None:
    best = min(values.min() for values in inertia.values())
    print("\n| | seconds, median (min to max) | inertia / lowest, median (min to max) | iterations |")
    print("|---|---|---|---|")
    for rows in (*families.values(), ablation):
        for name in rows:
            took, share = seconds[name], inertia[name] / best
            print(
                f"| {name} | {np.median(took):.3f} ({took.min():.3f} to {took.max():.3f})"
                f" | {np.median(share):.4f} ({share.min():.4f} to {share.max():.4f})"
                f" | {np.median(n_iterations[name]):.0f} |"
            )


def print_equal_inertia(
    families: dict[str, dict[str, Run]], seconds: dict[str, np.ndarray], inertia: dict[str, np.ndarray]
) -> None:
    """Print the fastest setting of each implementation whose median inertia is not above that of TARGET."""
    limit = np.median(inertia[TARGET])
    ours = None
    print(f"\nseconds to reach the inertia of {TARGET}:")
    for family, rows in families.items():
        reaching = [name for name in rows if np.median(inertia[name]) <= limit]
        if not reaching:
            nearest = min(rows, key=lambda name: np.median(inertia[name]))
            print(f"  {family}: not reached ({nearest}: {np.median(inertia[nearest]) / limit - 1:+.2%})")
            continue
        fastest = min(reaching, key=lambda name: np.median(seconds[name]))
        took = float(np.median(seconds[fastest]))
        ours = ours or (took if family == "ours" else None)
        times = f", {took / ours:.2f} times as long as ours" if ours and family != "ours" else ""
        print(f"  {family}: {took:.3f} s by {fastest}{times}", flush=True)


if __name__ == "__main__":
    main()
