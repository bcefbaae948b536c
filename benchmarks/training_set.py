"""What do few good images cost, and defective images among them?

    python benchmarks/training_set.py --data DATA --few 5,10,20,50,100,200
    python benchmarks/training_set.py --data DATA --dirty 0.05,0.1

``--few`` fits on these numbers of good images, drawn by the seed. ``--dirty`` mixes these shares of defective images
among the good images; they come from the test images and are left out of the test. A row of ``--dirty`` shows the fit
without defective images, the fit with them for ``outliers="keep"`` and for the default, and how many good and defective
images the default leaves out. The measures come from the script `--evaluate`.
"""

from __future__ import annotations

from pathlib import Path

import _common
import _sets
import numpy as np

from cfa_lite import CFA


class PartOfTest:
    """The test images of a data set for which `which` (n,) is true."""

    def __init__(self, test: _sets.TestSet, which: np.ndarray):
        self.test, self.at = test, np.flatnonzero(which)

    def measure(self, model: CFA) -> np.ndarray:
        scores, maps = [], []
        for result in model.inspect_many([self.test.paths[i] for i in self.at]):
            scores.append(result.score)
            maps.append(self.test.shrunk(result.full_map()))
        return self.test.measures(scores, maps, self.at)


def few(root: Path, test: _sets.TestSet, numbers: list[int], seeds: list[int], n_threads: int) -> None:
    given = _sets.train_images(root)
    for n in [n for n in numbers if n <= len(given)] or [len(given)]:
        found = []
        for seed in seeds:
            chosen = np.random.default_rng(seed).permutation(len(given))[:n]
            model = CFA(random_state=seed, threads=n_threads).fit([given[i] for i in sorted(chosen)])
            found.append(PartOfTest(test, np.ones(len(test.paths), bool)).measure(model))
        cells = [root.name, str(n), _sets.show(np.mean(found, axis=0)), _sets.show(np.ptp(found, axis=0))]
        print(f"| {' | '.join(cells)} |", flush=True)


def dirty(root: Path, test: _sets.TestSet, shares: list[float], seeds: list[int], n_threads: int) -> None:
    given = _sets.train_images(root)
    defects = np.flatnonzero(test.labels)
    for share in shares:
        n = min(max(1, round(share * len(given))), len(defects) // 3)
        found, left_out = [], np.zeros(2, int)
        for seed in seeds:
            mixed = np.random.default_rng(seed).choice(defects, n, replace=False)
            rest = np.ones(len(test.paths), bool)
            rest[mixed] = False
            part = PartOfTest(test, rest)
            defective = [test.paths[i] for i in mixed]
            clean = CFA(random_state=seed, threads=n_threads).fit(given)
            kept = CFA(random_state=seed, threads=n_threads, outliers="keep").fit(given + defective)
            default = CFA(random_state=seed, threads=n_threads).fit(given + defective)
            found.append([part.measure(model) for model in (clean, kept, default)])
            names = {path.name for path in defective}
            named = [entry["name"] in names for entry in default.fitted_.training["outliers"]]
            left_out += [named.count(False), named.count(True)]
        cells = [_sets.show(values) for values in np.mean(found, axis=0)]
        print(f"| {root.name} | {n} of {n + len(given)} | {' | '.join(cells)} |"
              f" {left_out[0]} good, {left_out[1]} of {n * len(seeds)} |", flush=True)  # fmt: skip


def shares(text: str) -> list[float]:
    """Parse "0.05,0.1" into [0.05, 0.1] for argparse."""
    return [float(part) for part in text.split(",")]


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--few", type=_common.numbers, metavar="5,10,...", help="numbers of good images")
    parser.add_argument("--dirty", type=shares, metavar="0.05,...", help="shares of defective images")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if not args.few and not args.dirty:
        parser.error("There is nothing to do. Use --few, --dirty or both.")
    evaluate = _sets.evaluate_module(args)
    sets = {name: _sets.TestSet(args.data / name, evaluate) for name in _sets.names(args)}
    _common.print_machine(args.threads)
    if args.few:
        print("\n| set | good images | mean | spread over seeds |\n|---|---|---|---|")
        for name, test in sets.items():
            few(args.data / name, test, args.few, args.seeds, args.threads)
    if args.dirty:
        print("\n| set | defective | clean fit | kept | default | left out |\n|---|---|---|---|---|---|")
        for name, test in sets.items():
            dirty(args.data / name, test, args.dirty, args.seeds, args.threads)


if __name__ == "__main__":
    main()
