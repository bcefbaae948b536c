"""What do defective images among the good ones cost, and what do rules that leave images out of the limits save?

    python benchmarks/defects_among_good.py --data DATA --results FOLDER            # fits, and writes the scores
    python benchmarks/defects_among_good.py --data DATA --results FOLDER --tables   # compares the rules of limits

Each seed draws defective test images, 5% of the number of good images, puts them among the good ones and leaves them
out of the test. A model is fitted without them and with them. Rules that differ in the limits only share these fits:
the held-out score of each image, whether the fit learned from it, and the scores of the test images are written to
FOLDER, one file per data set and seed. `--tables` reads them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import _common
import _sets
import numpy as np

from cfa_lite import CFA
from cfa_lite.method import limits
from cfa_lite.training import completion, fit

SHARE = 0.05
RATE = 0.01
RULES = ("count", "drop", "3", "4", "5", "6")  # numbers: interquartile ranges above the upper quartile
COLUMNS = (
    "rule", "found, clean fit", "found", "false alarms", "left out of the limits", "false alarms, clean fit",
    "left out, clean fit",
)  # fmt: skip


class Recorder:
    """Keep what the limits of the last fit are computed from. Its `CFA` must count outliers, as by default."""

    def __init__(self) -> None:
        self._costliest, self._clean = completion.costliest, fit.clean
        completion.costliest, fit.clean = self._scores, self._cleaned
        self.last: dict[str, Any] = {}

    def _cleaned(self, started: Any, settings: Any) -> Any:
        found = self._clean(started, settings)
        self.last = {"outliers": list(found.outliers.names)}
        return found

    def _scores(self, scores: np.ndarray, groups: np.ndarray, names: list[str], promise: Any) -> Any:
        self.last |= {"names": list(names), "scores": scores.tolist(), "groups": np.asarray(groups).tolist()}
        return self._costliest(scores, groups, names, promise)


def run(
    given: list[Path], mixed: list[Path], test: _sets.TestSet, recorder: Recorder, n_threads: int
) -> dict[str, Any]:
    """Return the scores of one fit on `given` and `mixed`, and of the test images."""
    model = CFA(threads=n_threads).fit([*given, *mixed])
    defective = {str(path) for path in mixed}
    results = list(model.inspect_many(test.paths))
    return {
        "scores": recorder.last["scores"],
        "groups": recorder.last["groups"],
        "defective": [name in defective for name in recorder.last["names"]],
        "not_learned": [name in recorder.last["outliers"] for name in recorder.last["names"]],
        "limit": model.limits_.threshold,
        "promised": model.limits_.promised_rate,
        "n_skipped": len(model.skipped_),
        "test": [result.raw_score for result in results],
        "valid": [result.status == "ok" for result in results],
        "labels": test.labels.tolist(),
        "used": [str(path) in defective for path in test.paths],
    }


def measure(root: Path, args: argparse.Namespace, recorder: Recorder) -> None:
    test = _sets.TestSet(root, _NoMasks())
    given, defects = _sets.train_images(root), np.flatnonzero(test.labels)
    n = min(max(1, round(SHARE * len(given))), len(defects) // 3)
    draws: list[tuple[str, np.ndarray]] = [("clean", np.zeros(0, int))]
    draws += [(str(seed), np.random.default_rng(seed).choice(defects, n, replace=False)) for seed in args.seeds]
    for label, drawn in draws:
        path = args.results / f"{root.name}_{label}.json"
        if not path.is_file():
            found = run(given, [test.paths[i] for i in drawn], test, recorder, args.threads)
            path.write_text(json.dumps(found), encoding="utf-8")
            print(f"{root.name} {label}: {len(found['scores'])} images", flush=True)


class _NoMasks:
    """Stands for evaluate.py where no masks are needed."""

    @staticmethod
    def mask_of(root: Path, path: Path) -> np.ndarray:
        return np.zeros((1, 1), bool)


def excluded(found: dict[str, Any], rule: str) -> np.ndarray:
    """Return which images (n,) of a fit a rule leaves out of the limits: "count", "drop", or a number of ranges."""
    scores = np.array(found["scores"])
    if rule == "count":
        return np.zeros(len(scores), bool)
    return np.array(found["not_learned"]) if rule == "drop" else limits.find_outliers(scores, float(rule))


def judged(found: dict[str, Any], rule: str, used: np.ndarray) -> list[float]:
    """Return the share of defects found, good test images above the limit, and good and defective images left out."""
    out, labels, test = excluded(found, rule), np.array(found["labels"]), np.array(found["test"])
    limit, _ = limits.bound(np.array(found["scores"])[~out], np.array(found["groups"])[~out], RATE)
    defective = np.array(found["defective"])
    return [
        float(np.mean(test[labels & ~used] > limit)), float(np.mean(test[~labels] > limit)),
        int(np.sum(out & ~defective)), int(np.sum(out & defective)),
    ]  # fmt: skip


def print_tables(args: argparse.Namespace) -> None:
    """Print the rules side by side. Each is compared with the fit without defects that counts every image."""
    print(f"\n| set | {' | '.join(COLUMNS)} |\n{'|---' * (len(COLUMNS) + 1)}|")
    means: dict[str, list[list[float]]] = {rule: [] for rule in RULES}
    for name in _sets.names(args):
        clean, *dirty = _read(args.results, name, ["clean", *map(str, args.seeds)])
        if not dirty:
            continue
        n_good = int(np.sum(~np.array(clean["labels"])))
        for rule in RULES:
            rows = []
            for one in dirty:
                used = np.array(one["used"])
                found, alarms, n_out, n_found = judged(one, rule, used)
                reference = judged(clean, "count", used)[0]
                rows.append([reference, found, alarms * n_good, n_out, n_found, sum(one["defective"])])
            reference, found, alarms, n_out, n_found, n_mixed = np.mean(rows, axis=0)
            of_clean = judged(clean, rule, np.zeros(len(clean["labels"]), bool))
            means[rule].append([reference, found, min(1.0, found / reference) if reference > 0 else np.nan])
            print(
                f"| {name} | {rule} | {reference:.3f} | {found:.3f} | {alarms:.1f} of {n_good} |"
                f" {n_out:.1f} good, {n_found:.1f} of {n_mixed:.0f} | {of_clean[1] * n_good:.0f} of {n_good} |"
                f" {of_clean[2]:.0f} of {len(clean['scores'])} |"
            )
    for rule, values in means.items():
        reference, found, _ = np.mean(values, axis=0)
        ratios = np.array(values)[:, 2]
        print(
            f"| **mean of {len(values)} sets** | {rule} | {reference:.3f} | {found:.3f}: {found / reference:.2f} times;"
            f" sets at most 1: {np.nanmean(ratios):.2f}, worst {np.nanmin(ratios):.2f} | | | | |"
        )


def _read(folder: Path, name: str, labels: list[str]) -> list[dict[str, Any]]:
    paths = [folder / f"{name}_{label}.json" for label in labels]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--tables", action="store_true", help="compare the rules by the scores in FOLDER")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.tables:
        print_tables(args)
        return
    args.results.mkdir(parents=True, exist_ok=True)
    _common.print_machine(args.threads)
    recorder = Recorder()
    for name in _sets.names(args):
        measure(args.data / name, args, recorder)


if __name__ == "__main__":
    main()
