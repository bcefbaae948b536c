"""How long do one image, many images, the start and a fit take? Where does the time go, and how much memory is used?

    python benchmarks/speed.py
    python benchmarks/speed.py --sizes 256x256 --threads 1 --parts score --rounds 200
    python benchmarks/speed.py --parts many

The parts are:

score    `inspect` compared with its backbone (the network at the same two scales), and by stage
batch    a folder: several images at once, and one after the other
routes   whether a score is the same by every route
cold     whole processes from their start
memory   peak memory of ``cfa-lite score``
fit      a fit of 200 images: the command, and by phase
many     ``cfa-lite fit`` on 2,000 images; it takes minutes and is left out by default

The images are the demo's cloth, PNG files in a temporary folder, processed at their own size. The alternatives take
turns. A ratio is computed within a round; its median and its 10th and 90th percentiles are shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import _cloth
import _common
import fit_phases
import numpy as np
import routes
from PIL import Image

from cfa_lite import load, threads
from cfa_lite.base.detector import Detector
from cfa_lite.features import image_checks, images, patches
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec
from cfa_lite.inference import inspection, levels
from cfa_lite.inference.scorer import Scorer
from cfa_lite.method import anomaly_map, neighbors

PARTS = ("score", "batch", "routes", "cold", "memory", "fit", "many")
N_GOOD, N_MANY = 200, 2000  # images of the parts fit and many
RUNS = 3  # of each command
STARTS = 7
WHOLE = "inspect"

# The stages of an inspection. The time in a nested stage counts for that one only, so all stages and the rest add up to
# the time of inspect.
STAGES: tuple[_common.Watched, ...] = (
    ("read the file", images, "read"),
    ("resize, to float", images, "to_pixels"),
    ("image statistics", image_checks, "measure"),
    ("halve", images, "halve"),
    ("network", Backbone, "_run"),
    ("around network", Backbone, "maps"),
    ("pool", patches, "pool"),
    ("describe, nearest", neighbors, "distances"),
    ("around distances", levels, "tile_measures"),
    ("levels to one map", anomaly_map, "weighted_map"),
    ("background off", anomaly_map, "remove_background"),
    ("position means off", anomaly_map, "remove_position_mean"),
    ("map to score", anomaly_map, "to_score"),
    ("around combined", Scorer, "combined"),
    ("judge", inspection, "judge"),
    ("BLAS threads", threads, "serial_blas"),
    ("around inspect", inspection, "inspect"),
)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument(
        "--sizes", type=_cloth.sizes, default="224x224,256x256,448x448,4096x256", metavar="WIDTHxHEIGHT,..."
    )
    parser.add_argument("--threads", type=_common.numbers, default=[1, 2], metavar="1,2")
    parser.add_argument("--rounds", type=int, default=50, help="rounds of score; batch has a fifth (default: 50)")
    parser.add_argument("--parts", type=parts, default=[p for p in PARTS if p != "many"], metavar=",".join(PARTS))
    args = parser.parse_args()
    _common.check_table(STAGES)
    most = max(args.threads)
    _common.print_machine(f"{', '.join(map(str, args.threads))}; {most} for fit and batch")
    with tempfile.TemporaryDirectory() as name:
        folder, products = Path(name), []
        if set(args.parts) - {"fit", "many"}:
            products = [_cloth.product(folder / f"{w}x{h}", (h, w)) for h, w in args.sizes]
        for product in products:
            for n_threads in args.threads if "score" in args.parts else ():
                score(product, n_threads, args.rounds)
            if "batch" in args.parts:
                batch(product, most, max(2, args.rounds // 5))
            if "routes" in args.parts:
                routes.compare(product)
        if "cold" in args.parts:
            cold(next((p for p in products if p.size_px == fit_phases.SIZE_PX), products[0]))
        if "memory" in args.parts:
            memory(products, args.threads)
        if "fit" in args.parts:
            good = _cloth.write(folder / "good", N_GOOD, fit_phases.SIZE_PX)
            fit_phases.command(good, most, "count", RUNS)
            fit_phases.phases(good, most, "count", RUNS)
        if "many" in args.parts:
            good = _cloth.write(folder / "many", N_MANY, fit_phases.SIZE_PX, seed=1)
            fit_phases.command(good, most, "count", 1)


def parts(text: str) -> list[str]:
    """Parse "score,cold" into ["score", "cold"] for argparse."""
    found = text.split(",")
    unknown = set(found) - set(PARTS)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}"
        )
    return found


def score(product: _cloth.Product, n_threads: int, rounds: int) -> None:
    model = load(product.part, threads=n_threads)
    pixels = [images.to_pixels(images.read(path), product.size_px) for path in product.line]
    scales = [(whole, images.halve(whole)) for whole in pixels]
    arrays = [np.asarray(Image.open(path)) for path in product.line]
    calls: list[dict[str, float]] = []

    def alone(network: Backbone) -> Callable[[], object]:
        return _common.in_turn(scales, lambda both: [network.maps(one, n_threads) for one in both])

    def by_stage(path: Path) -> None:
        clocks = _common.Clocks(n_threads)
        with clocks.watching(STAGES):
            start = time.perf_counter()
            model.inspect(path)
            calls.append({**clocks.spent, WHOLE: time.perf_counter() - start})

    h, w = product.size_px
    seconds = _common.interleaved(
        {
            f"backbone alone, {w}x{h} and {w // 2}x{h // 2}": alone(model.open_backbone()),
            "inspect of a path": _common.in_turn(product.line, model.inspect),
            "inspect of an array": _common.in_turn(arrays, model.inspect),
            "inspect of a path, with clocks": _common.in_turn(product.line, by_stage),
            "backbone lite2 alone": alone(Backbone(find_spec("lite2"))),
        },
        rounds,
    )
    title = f"{product}: inspect against its backbone, {counted(n_threads)}, {rounds} rounds"
    _common.print_interleaved(title, seconds)
    print_stages(calls[-rounds:])


def print_stages(calls: list[dict[str, float]]) -> None:
    """Print the median seconds of each stage, and its share of the whole call."""
    print("\n  by stage, medians of the calls with clocks")
    names = [name for name, _, _ in STAGES]
    for call in calls:
        call["all stages"] = sum(call.get(name, 0.0) for name in names)
        call["rest"] = call[WHOLE] - call["all stages"]
    for name in [*names, "all stages", "rest", WHOLE]:
        seconds = np.array([call.get(name, 0.0) for call in calls])
        share = np.median(seconds / [call[WHOLE] for call in calls])
        uncalled = "" if any(name in call for call in calls) else "  never called"
        print(f"  {name:20s} {np.median(seconds) * 1e3:8.3f} ms  {share:6.1%}{uncalled}", flush=True)


def batch(product: _cloth.Product, n_threads: int, rounds: int) -> None:
    """Compare several images at once, each on one thread, with one image after the other on all threads."""
    one, several = load(product.part, threads=1), load(product.part, threads=n_threads)
    folder = product.line[0].parent

    def one_by_one(model: Detector) -> Callable[[], object]:
        return lambda: [model.inspect(path) for path in product.line]

    seconds = _common.interleaved(
        {
            f"inspect_many, {n_threads} at once": lambda: list(several.inspect_many(folder)),
            f"inspect, one by one, {counted(n_threads)}": one_by_one(several),
            "inspect, one by one, 1 thread": one_by_one(one),
        },
        rounds,
    )
    each = {name: taken / len(product.line) for name, taken in seconds.items()}
    _common.print_interleaved(f"{product}: a folder, ms an image, {len(product.line)} images, {rounds} rounds", each)


def cold(product: _cloth.Product) -> None:
    """Time whole processes in turn, after one run of each that fills the caches of kernels and files."""
    command = _common.cfa_lite_command()
    starts = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "cfa-lite --help": [command, "--help"],
        f"cfa-lite score, one image of {product}": [command, "score", product.part, product.line[0]],
    }
    rounds = [{name: _common.run_measured(parts)[0] for name, parts in starts.items()} for _ in range(STARTS + 1)]
    seconds = {name: np.array([one[name] for one in rounds[1:]]) for name in starts}
    _common.print_interleaved(f"cold start, whole processes, {STARTS} rounds", seconds)


def memory(products: list[_cloth.Product], n_threads: list[int]) -> None:
    print(f"\npeak memory of cfa-lite score, {_cloth.N_LINE} images, highest of {RUNS} runs")
    for product in products:
        for n in n_threads:
            command = [_common.cfa_lite_command(), "score", product.part, *product.line, "--threads", str(n)]
            peak_mb = max(_common.run_measured(command)[1] for _ in range(RUNS))
            print(f"  {product!s:10s} {counted(n):10s} {peak_mb:5.0f} MB", flush=True)


def counted(n_threads: int) -> str:
    return f"{n_threads} thread{'s' * (n_threads > 1)}"


if __name__ == "__main__":
    main()
