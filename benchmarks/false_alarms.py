"""Do the limits hold what they promise? Good test images above them, over random fits.

    python benchmarks/false_alarms.py ../shared/data --seeds 0,1,2,3,4

Each seed fits on its own random four fifths of at most 200 good images. A row: the promised rate (mean over fits),
good test images above the limit in each fit, their mean rate with the 95 % interval that a single fit's number of test
images allows, and how many fits' good test images score higher than those of the fit (Mann and Whitney, p < .001).
Once for NG (1 % asked) and once for NG and UNSURE (5 % asked). Defects found at both limits are listed beside them.
"""

from __future__ import annotations

import _common
import _sets
import numpy as np
from scipy.stats import binomtest, mannwhitneyu

from cfa_lite import CFA

SHARE = 0.8


def run(root, test, seed, threads, group_by):
    """Promised and measured of one fit: (NG, NG or UNSURE) each, p-value of a shift, independent groups."""
    given = _sets.train_images(root)
    chosen = np.random.default_rng(seed).permutation(len(given))[: round(SHARE * len(given))]
    model = CFA(seed=seed, threads=threads, group_by=group_by).fit([given[i] for i in sorted(chosen)])
    scores = np.array([result.score for result in model.inspect_many(test.paths)])
    limits, good = model.limits_, scores[~test.labels]
    unsure = limits.unsure_threshold / limits.threshold
    held = model.good_scores_ / limits.threshold
    return {
        "promised": (limits.promised_rate, limits.promised_unsure_rate),
        "above": (int((good > 1).sum()), int((good > unsure).sum())),
        "found": (int((scores[test.labels] > 1).sum()), int((scores[test.labels] > unsure).sum())),
        "shifted": mannwhitneyu(good, held, alternative="greater").pvalue < 0.001,
        "n": (limits.n_images, limits.n_groups),
    }


def main():
    parser = _sets.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--group-by", metavar="REGEX", help="images taken together, by their names")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    _common.print_machine(args.threads)
    print("\n| set | images, groups | limit | promised | above, of good | mean rate, interval | found | shifted |")
    print("|---|---|---|---|---|---|---|---|")
    for name in _sets.names(args):
        test = _sets.TestSet(args.data / name, evaluate)
        fits = [run(args.data / name, test, seed, args.threads, args.group_by) for seed in args.seeds]
        n_good, n_bad = int((~test.labels).sum()), int(test.labels.sum())
        for i, limit in enumerate(("NG", "NG or UNSURE")):
            above = [fit["above"][i] for fit in fits]
            interval = binomtest(round(float(np.mean(above))), n_good).proportion_ci(0.95, "exact")
            print(
                f"| {name} | {fits[0]['n'][0]}, {fits[0]['n'][1]} | {limit} |"
                f" {np.mean([fit['promised'][i] for fit in fits]):.3f} | {', '.join(map(str, above))} of {n_good} |"
                f" {np.mean(above) / n_good:.3f}, {interval.low:.3f} to {interval.high:.3f} |"
                f" {np.mean([fit['found'][i] for fit in fits]):.1f} of {n_bad} |"
                f" {sum(bool(fit['shifted']) for fit in fits)} of {len(fits)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
