"""Do the limits hold what they guarantee? Counts good test images above the limits, over random fits.

    python benchmarks/false_alarms.py --data DATA --seeds 0,1,2,3,4

Each seed fits on its own random four fifths of at most 200 good images. There are two rows for each data set: one for
NG, with a requested rate of 0.01, and one for NG or UNSURE, with a requested rate of 0.05. The columns are:

promised              guaranteed rate, in the mean over the fits
above, of good        good test images above the limit, fit by fit
mean rate, interval   their mean rate, and the 95% interval that the number of test images of a single fit allows
found                 defective test images above the limit, in the mean over the fits
shifted               fits whose good test images score higher than the calibration images (Mann-Whitney, p < 0.001)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _common
import _sets
import numpy as np
from scipy.stats import binomtest, mannwhitneyu

from cfa_lite import CFA

SHARE = 0.8


def run(root: Path, test: _sets.TestSet, seed: int, n_threads: int, group_by: str | None) -> dict[str, Any]:
    """Return what one fit guarantees and what is measured; pairs are for NG, and for NG or UNSURE."""
    given = _sets.train_images(root)
    chosen = np.random.default_rng(seed).permutation(len(given))[: round(SHARE * len(given))]
    model = CFA(random_state=seed, threads=n_threads, group_by=group_by).fit([given[i] for i in sorted(chosen)])
    scores = np.array([result.score for result in model.inspect_many(test.paths)])
    limits, good = model.limits_, scores[~test.labels]
    unsure_from = limits.unsure_threshold / limits.threshold
    held_out = model.good_scores_ / limits.threshold
    return {
        "promised": (limits.promised_rate, limits.promised_unsure_rate),
        "above": (int((good > 1).sum()), int((good > unsure_from).sum())),
        "found": (int((scores[test.labels] > 1).sum()), int((scores[test.labels] > unsure_from).sum())),
        "shifted": mannwhitneyu(good, held_out, alternative="greater").pvalue < 0.001,
        "n": (limits.n_images, limits.n_groups),
    }


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--group-by", metavar="REGEX", help="as for cfa-lite fit")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    _common.print_machine(args.threads)
    print("\n| set | images, groups | limit | promised | above, of good | mean rate, interval | found | shifted |")
    print("|---|---|---|---|---|---|---|---|")
    for name in _sets.names(args):
        test = _sets.TestSet(args.data / name, evaluate)
        print_rows(name, test, [run(args.data / name, test, seed, args.threads, args.group_by) for seed in args.seeds])


def print_rows(name: str, test: _sets.TestSet, fits: list[dict[str, Any]]) -> None:
    n_good, n_defective = int((~test.labels).sum()), int(test.labels.sum())
    for i, limit in enumerate(("NG", "NG or UNSURE")):
        above = [fit["above"][i] for fit in fits]
        interval = binomtest(round(float(np.mean(above))), n_good).proportion_ci(0.95, "exact")
        print(
            f"| {name} | {fits[0]['n'][0]}, {fits[0]['n'][1]} | {limit} |"
            f" {np.mean([fit['promised'][i] for fit in fits]):.3f} | {', '.join(map(str, above))} of {n_good} |"
            f" {np.mean(above) / n_good:.3f}, {interval.low:.3f} to {interval.high:.3f} |"
            f" {np.mean([fit['found'][i] for fit in fits]):.1f} of {n_defective} |"
            f" {sum(bool(fit['shifted']) for fit in fits)} of {len(fits)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
