"""How wide can the zone of UNSURE be with few good images? Counts good and defective test images in it.

    python benchmarks/unsure.py --data DATA --seeds 0,1 --images 25,40

Each seed fits on its own random good images, each image a group of its own, so that the number of groups is known.
UNSURE starts at the second, third, ... highest held-out score and ends at the limit, the highest. A new good image is
in such a zone, or above it, with a probability of k / (n + 1) at most: the column "promised". The other columns are
shares of the test images, in the mean over the sets: good and defective ones above the limit, and in each zone.
"""

from __future__ import annotations

from collections import defaultdict

import _common
import _sets
import numpy as np

from cfa_lite import CFA

RANKS = (2, 3, 4, 5)


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--images", type=_common.numbers, default=[25, 40], metavar="25,40", help="good images")
    parser.add_argument("--tested", type=int, default=100, help="test images of each kind, good and defective, at most")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    _common.print_machine(args.threads)
    zones = " | ".join(f"good, defects from the {k}." for k in RANKS)
    print(f"\n| set | good images | good NG | defects NG | {zones} |\n{'|---' * (4 + len(RANKS))}|")
    rows = defaultdict(list)
    for name in _sets.names(args):
        given = _sets.train_images(args.data / name)
        test = _sets.TestSet(args.data / name, evaluate)
        tested = [np.flatnonzero(test.labels == label) for label in (False, True)]
        rng = np.random.default_rng(0)
        tested = [rng.permutation(at)[: args.tested] for at in tested]
        for n in (n for n in args.images if n <= len(given)):
            of_seeds = []
            for seed in args.seeds:
                chosen = np.random.default_rng(seed).permutation(len(given))[:n]
                model = CFA(random_state=seed, threads=args.threads, group_by="none", outliers="count")
                model.fit([given[i] for i in sorted(chosen)])
                limits = np.sort(model.good_scores_)[::-1][: max(RANKS)]
                scores = [
                    np.array([result.raw_score for result in model.inspect_many([test.paths[i] for i in at])])
                    for at in tested
                ]
                of_seeds.append([
                    *((s > limits[0]).mean() for s in scores),
                    *(((s > limits[k - 1]) & (s <= limits[0])).mean() for k in RANKS for s in scores),
                ])  # fmt: skip
            rows[n].append(np.mean(of_seeds, axis=0))
            print(f"| {name} | {n} | {shown(rows[n][-1])} |", flush=True)
    for n, of_sets in rows.items():
        print(f"| **mean of {len(of_sets)} sets** | {n} | {shown(np.mean(of_sets, axis=0))} |")
        print(f"| promised | {n} | {1 / (n + 1):.3f} | | {' | '.join(f'{k / (n + 1):.3f} with NG' for k in RANKS)} |")


def shown(row: np.ndarray) -> str:
    zones = [f"{good:.3f}, {defects:.3f}" for good, defects in row[2:].reshape(-1, 2)]
    return " | ".join([f"{row[0]:.3f}", f"{row[1]:.3f}", *zones])


if __name__ == "__main__":
    main()
