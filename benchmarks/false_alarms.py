"""Do the limits hold what they promise? Counts good test images above the limits, over random fits.

    python benchmarks/false_alarms.py --data DATA --seeds 0,1,2,3,4

    python benchmarks/false_alarms.py --data DATA --seeds 0 --share 1

Each seed fits on its own random four fifths of at most 200 good images, or another share of them, with groups as `fit`
finds them by default.
There is a row for each data set and each requested rate; the limit of each rate comes from the same fit. The columns:

promised              guaranteed rate, in the mean over the fits: the requested one, or the smallest that is possible
                      with so many groups and with outliers that do not count but are taken for good
above, of good        good test images above the limit, fit by fit
mean rate, interval   their mean rate, and the 95% interval (Clopper and Pearson) that the number of test images of a
                      single fit allows
excluded              whether the interval lies above the promise
found                 defective test images above the limit, in the mean over the fits
shifted               fits whose good test images score higher than the calibration images (Mann-Whitney, p < 0.001)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import _common
import _sets
import numpy as np
from scipy.stats import binomtest, mannwhitneyu

from cfa_lite import CFA
from cfa_lite.method import limits

RATES = (0.01, 0.02, 0.05)


def run(root: Path, test: _sets.TestSet, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return what one fit guarantees for each rate, and what is measured."""
    given = _sets.train_images(root)
    chosen = np.random.default_rng(seed).permutation(len(given))[: round(args.share * len(given))]
    model = CFA(random_state=seed, threads=args.threads, group_by=args.group_by).fit([given[i] for i in sorted(chosen)])
    scores = np.array([result.raw_score for result in model.inspect_many(test.paths)])
    held_out, groups = model.good_scores_.astype(float), model.fitted_.good_groups
    not_counted = model.fitted_.training["not_counted"]  # the last scores, if there are any
    counted = np.arange(len(held_out)) < len(held_out) - len(not_counted["images"] if not_counted else ())
    made = [limits.make_limits(held_out, groups, rate, rate, 0.0, "fit", counted) for rate in RATES]
    good, defective = scores[~test.labels], scores[test.labels]
    return {
        "promised": [one.promised_rate for one in made],
        "above": [int((good > one.threshold).sum()) for one in made],
        "found": [int((defective > one.threshold).sum()) for one in made],
        "shifted": mannwhitneyu(good, held_out, alternative="greater").pvalue < 0.001,
        "n": (len(held_out), len(np.unique(groups))),
    }


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.8, help="share of the good images that each seed fits on")
    parser.add_argument("--group-by", metavar="REGEX", help="as for cfa-lite fit")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    _common.print_machine(args.threads)
    print("\n| set | images, groups | requested | promised | above, of good | mean rate, interval | excluded |", end="")
    print(f" found | shifted |\n{'|---' * 9}|")
    for name in _sets.names(args):
        test = _sets.TestSet(args.data / name, evaluate)
        print_rows(name, test, [run(args.data / name, test, seed, args) for seed in args.seeds])


def print_rows(name: str, test: _sets.TestSet, fits: list[dict[str, Any]]) -> None:
    n_good, n_defective = int((~test.labels).sum()), int(test.labels.sum())
    for i, rate in enumerate(RATES):
        above, promised = [fit["above"][i] for fit in fits], float(np.mean([fit["promised"][i] for fit in fits]))
        interval = binomtest(round(float(np.mean(above))), n_good).proportion_ci(0.95, "exact")
        print(
            f"| {name} | {fits[0]['n'][0]}, {fits[0]['n'][1]} | {rate} | {promised:.3f} |"
            f" {', '.join(map(str, above))} of {n_good} |"
            f" {np.mean(above) / n_good:.3f}, {interval.low:.3f} to {interval.high:.3f} |"
            f" {'yes' if interval.low > promised else 'no'} |"
            f" {np.mean([fit['found'][i] for fit in fits]):.1f} of {n_defective} |"
            f" {sum(bool(fit['shifted']) for fit in fits)} of {len(fits)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
