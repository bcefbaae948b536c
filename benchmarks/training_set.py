"""What few good images cost, and what defective ones among them.

    python benchmarks/training_set.py ../shared/data --few 5,10,20,50,100,200
    python benchmarks/training_set.py ../shared/data --dirty 0.05,0.1

--few: fits on so many good images, drawn by the seed. --dirty: such a share of the set's own test defects is mixed
among the good images and taken out of the test; a row shows the clean fit on the same test, the dirty fit with and
without `outliers="keep"`, and how many good and defective images were left out. Measures are those of evaluate.py.
"""

from __future__ import annotations

import _common
import _sets
import numpy as np

from cfa_lite import CFA


class PartOfTest:
    """A set's test images without some of them."""

    def __init__(self, test, which):
        self.test, self.at = test, np.flatnonzero(which)

    def measure(self, model):
        scores, maps = [], []
        for result in model.inspect_many([self.test.paths[i] for i in self.at]):
            scores.append(result.score)
            maps.append(self.test.shrunk(result.full_map()))
        return self.test.measures(scores, maps, self.at)


def few(root, test, numbers, seeds, threads):
    given = _sets.train_images(root)
    for n in [n for n in numbers if n <= len(given)] or [len(given)]:
        found = []
        for seed in seeds:
            chosen = np.random.default_rng(seed).permutation(len(given))[:n]
            model = CFA(seed=seed, threads=threads).fit([given[i] for i in sorted(chosen)])
            found.append(PartOfTest(test, np.ones(len(test.paths), bool)).measure(model))
        print(
            f"| {root.name} | {n} | {_sets.show(np.mean(found, axis=0))} | {_sets.show(np.ptp(found, axis=0))} |",
            flush=True,
        )


def dirty(root, test, shares, seeds, threads):
    given = _sets.train_images(root)
    defects = np.flatnonzero(test.labels)
    for share in shares:
        found, left_out = [], np.zeros(2, int)
        for seed in seeds:
            n = min(max(1, round(share * len(given))), len(defects) // 3)
            mixed = np.random.default_rng(seed).choice(defects, n, replace=False)
            rest = np.ones(len(test.paths), bool)
            rest[mixed] = False
            part = PartOfTest(test, rest)
            bad = [test.paths[i] for i in mixed]
            clean = CFA(seed=seed, threads=threads).fit(given)
            kept = CFA(seed=seed, threads=threads, outliers="keep").fit(given + bad)
            default = CFA(seed=seed, threads=threads).fit(given + bad)
            found.append([part.measure(model) for model in (clean, kept, default)])
            names = {path.name for path in bad}
            named = [entry["name"] in names for entry in default.training_.get("outliers", [])]
            left_out += [named.count(False), named.count(True)]
        cells = [_sets.show(m) for m in np.mean(found, axis=0)]
        print(f"| {root.name} | {n} of {n + len(given)} | {' | '.join(cells)} |"
              f" {left_out[0]} good, {left_out[1]} of {n * len(seeds)} |", flush=True)  # fmt: skip


def main():
    parser = _sets.parser(__doc__)
    parser.add_argument("--few", type=_common.numbers)
    parser.add_argument("--dirty", type=lambda text: [float(part) for part in text.split(",")])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
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
