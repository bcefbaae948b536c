"""How well are defects found and outlined on data sets in the layout of MVTec AD?

    python benchmarks/accuracy.py --data DATA
    python benchmarks/accuracy.py --data DATA --sets hk_star,elpv_poly --seeds 0 -- --shrinkage 0.2

For each data set (a folder that holds train/good) and seed, the script `--evaluate` runs the command ``cfa-lite`` and
measures the results independently of this project. Options after ``--`` go to ``cfa-lite fit``. The table shows the
mean of each measure over the seeds and, in brackets, the range. The other columns are those of the last seed. The JSON
line of each run goes to stderr at once, and the table to stdout at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import _common
import _sets
import numpy as np

MEASURES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
OF_LAST_SEED = {
    "false_alarms": "false alarms",
    "found": "found",
    "fit_s": "fit, s",
    "score_ms_per_image": "score, ms",
    "model_kb": "model, kB",
    "peak_mb": "peak, MB",
}


def main() -> None:
    ours: list[str] = sys.argv[1:]
    fit_options: list[str] = []
    if "--" in ours:
        fit_options = ours[ours.index("--") + 1 :]
        ours = ours[: ours.index("--")]
    args = _sets.parser(__doc__).parse_args(ours)
    evaluate = _sets.evaluate_path(args)
    records = {
        name: [run(evaluate, args.data / name, ["--seed", str(seed), *fit_options]) for seed in args.seeds]
        for name in _sets.names(args)
    }
    _common.print_machine("as in the options of fit" if "--threads" in fit_options else "all cores")
    print(f"fit        seeds {', '.join(map(str, args.seeds))}; options: {' '.join(fit_options) or 'none'}\n")
    print_table(records)


def run(evaluate: Path, data_set: Path, fit_options: list[str]) -> dict[str, Any]:
    """Return the measures of one fit."""
    # argparse in the script accepts its own options only before the data set
    command = [sys.executable, evaluate, "--command", _common.cfa_lite_command(), data_set, "--", *fit_options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with exit code {done.returncode}.\n{done.stderr}")
    line = done.stdout.strip().splitlines()[-1]
    print(line, file=sys.stderr, flush=True)
    record: dict[str, Any] = json.loads(line)
    return record


def print_table(records: dict[str, list[dict[str, Any]]]) -> None:
    print(f"| set | fit on / scored | {' | '.join([*MEASURES.values(), *OF_LAST_SEED.values()])} |")
    print("|---|---|" + "---|" * (len(MEASURES) + len(OF_LAST_SEED)))
    means: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for name, runs in records.items():
        cells = [name, f"{runs[-1]['n_train']} / {runs[-1]['n_test']}"]
        for measure, of_sets in means.items():
            values = [found[measure] for found in runs if measure in found]
            if values:
                of_sets.append(float(np.mean(values)))
            cells.append(f"{np.mean(values):.4f} ({max(values) - min(values):.4f})" if values else "-")
        cells += [str(runs[-1].get(key, "-")) for key in OF_LAST_SEED]
        print(f"| {' | '.join(cells)} |")
    cells = [f"{np.mean(of_sets):.4f} of {len(of_sets)}" if of_sets else "-" for of_sets in means.values()]
    print(f"| **mean of sets** | | {' | '.join(cells)} |{' |' * len(OF_LAST_SEED)}")


if __name__ == "__main__":
    main()
