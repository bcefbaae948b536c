"""What do the presets cost in accuracy, and what do they save?

    python benchmarks/presets.py --data DATA --seeds 0,1

For each data set and preset, the table shows image AUROC / pixel AUROC / AUPRO from the script `--evaluate`, in the
mean over the seeds. Three alternatives change only the working size or the number of centers. The times are those of
`inspect` on one thread, for the demo's cloth at 256x256 pixels, from a PNG file and from an array. All models take
turns.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import _cloth
import _common
import _sets
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
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    _common.print_machine("all for accuracy, 1 for time")
    times(args.rounds)
    print(f"\n| set | {' | '.join(ALL)} |\n|---|{'---|' * len(ALL)}")
    of_all = []
    for name in _sets.names(args):
        train, test = _sets.train_images(args.data / name), _sets.TestSet(args.data / name, evaluate)
        of_set = np.array([[measured(train, test, seed, params) for seed in args.seeds] for params in ALL.values()])
        print(f"{name}, seeds in order: {of_set.round(4).tolist()}", file=sys.stderr, flush=True)
        of_all.append(of_set.mean(axis=1))
        print(f"| {name} | {' | '.join(map(_sets.show, of_all[-1]))} |", flush=True)
    print(f"| **mean of sets** | {' | '.join(map(_sets.show, _sets.mean(np.array(of_all))))} |")


def measured(train: list[Path], test: _sets.TestSet, seed: int, params: dict[str, Any]) -> np.ndarray:
    model = CFA(random_state=seed, **params).fit(train)
    scores, maps = [], []
    for result in model.inspect_many(test.paths):
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
