"""What do the presets cost in accuracy, and what do they save?

    python benchmarks/presets.py --data DATA --seeds 0,1
    python benchmarks/presets.py --data DATA --seeds 0 --sizes 256x2,384x3 --turned    # working size and scales instead

For each data set and preset, the table shows image AUROC / pixel AUROC / AUPRO from the script `--evaluate`, in the
mean over the seeds. Three alternatives change only the working size or the number of centers. The times are those of
`inspect` on one thread, for the demo's cloth at 256x256 pixels, from a PNG file and from an array. All models take
turns. With --sizes no times are measured; with --turned, parts are also turned by random angles (image AUROC only).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _cloth
import _common
import _sets
import decisions
import numpy as np
from PIL import Image

from cfa_lite import CFA
from cfa_lite.parameters import PRESETS

ALTERNATIVES: dict[str, dict[str, Any]] = {
    "float32, 192": {"size": 192},
    "balanced, 192": {"preset": "balanced", "size": 192},
    "balanced, 224, 128 centers": {"preset": "balanced", "size": 224, "n_centers": 128},
}
ALL: dict[str, dict[str, Any]] = {**{preset: {"preset": preset} for preset in PRESETS}, **ALTERNATIVES}
SIZE_PX = (256, 256)
N_GOOD = 30  # enough for all centers in every level


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="rounds of timing (default: 60)")
    parser.add_argument(
        "--sizes", type=sizes, metavar="256x2,384x3,...", help="working size and number of scales instead of presets"
    )
    parser.add_argument("--turned", action="store_true", help="also sets of parts, turned by random angles")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    _common.print_machine("all for accuracy, 1 for time")
    tried = args.sizes or ALL
    if not args.sizes:
        times(args.rounds)
    print(f"\n| set | {' | '.join(tried)} |\n|---|{'---|' * len(tried)}")
    of_all = []
    names = _sets.names(args)
    turned = [name for name in names if args.turned and name in decisions.TURNED]
    for name, is_turned in [(name, False) for name in names] + [(name, True) for name in turned]:
        train, test = _sets.train_images(args.data / name), _sets.TestSet(args.data / name, evaluate)
        if is_turned:
            train, name = turn(train, test), f"{name}, turned"
        of_set = np.array([[measured(train, test, seed, params) for seed in args.seeds] for params in tried.values()])
        print(f"{name}, seeds in order: {of_set.round(4).tolist()}", file=sys.stderr, flush=True)
        of_all.append(of_set.mean(axis=1))
        print(f"| {name} | {' | '.join(map(_sets.show, of_all[-1]))} |", flush=True)
    print(f"| **mean of sets** | {' | '.join(map(_sets.show, _sets.mean(np.array(of_all))))} |")


def sizes(text: str) -> dict[str, dict[str, Any]]:
    """Read working sizes with numbers of scales, such as "256x2"."""
    pairs = [one.split("x") for one in text.split(",")]
    return {f"{size}, {n_scales} scales": {"size": int(size), "n_scales": int(n_scales)} for size, n_scales in pairs}


def turn(train: list[Path], test: _sets.TestSet) -> list[Image.Image]:
    """Turn the test images by random angles, and return the good images turned; masks are left out."""
    rng = np.random.default_rng(5)
    turned = [decisions.turned(path, rng.uniform(0, 360)) for path in train]
    test.images, test.masks = [decisions.turned(path, rng.uniform(0, 360)) for path in test.paths], None
    return turned


def measured(train: Sequence[Path | Image.Image], test: _sets.TestSet, seed: int, params: dict[str, Any]) -> np.ndarray:
    model = CFA(random_state=seed, **params).fit(train)
    scores, maps = [], []
    for result in model.inspect_many(test.images):
        if result.map is None:
            sys.exit(f"{result.path} has no anomaly map: {result.message}")
        scores.append(result.raw_score)
        maps.append(test.shrunk(result.map, result.image_size_px))
    return test.measures(scores, maps)


def times(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        good = _cloth.write(Path(name, "good"), N_GOOD, SIZE_PX)
        line = _cloth.write(Path(name, "line"), 10, SIZE_PX, seed=1)
        arrays = [np.asarray(Image.open(path)) for path in line]
        models = {label: CFA(threads=1, **params).fit(good) for label, params in ALL.items()}
        for kind, items in (("a PNG file", line), ("an array", arrays)):
            calls = {label: _common.in_turn(items, model.inspect) for label, model in models.items()}
            _common.print_interleaved(f"inspect of {kind}", _common.interleaved(calls, rounds))


if __name__ == "__main__":
    main()
