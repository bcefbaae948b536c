"""How well are defects found and shown on data sets in the MVTec AD layout?

    python benchmarks/accuracy.py ../shared/data
    python benchmarks/accuracy.py ../shared/data --sets hk_star,elpv_poly --seeds 0 -- --shrinkage 0.2

Runs evaluate.py, which measures independently of this project, for every set (folder that holds train/good) and
seed, one after another; what stands after -- goes to ``cfa-lite fit``. Measures are the mean over seeds and, in
brackets, the largest less the smallest; what follows them is of the last seed. The JSON line of each run goes to
stderr as soon as it is known, the table to stdout at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
    ours, fit_options = sys.argv[1:], []
    if "--" in ours:  # argparse would mix what follows it with the positional arguments
        fit_options = ours[ours.index("--") + 1 :]
        ours = ours[: ours.index("--")]
    args = _sets.parser(__doc__).parse_args(ours)
    evaluate = _sets.evaluate_path(args)
    records = {
        name: [run(evaluate, args.data / name, ["--seed", str(seed), *fit_options]) for seed in args.seeds]
        for name in _sets.names(args)
    }
    _common.print_machine("as given for fit, all cores else" if "--threads" in fit_options else "all cores")
    print(f"fit        seeds {', '.join(map(str, args.seeds))}; options: {' '.join(fit_options) or 'none'}\n")
    print_table(records)


def run(evaluate: Path, data_set: Path, fit_options: list[str]) -> dict:
    """The measures of one fit. Its options come before the set: argparse refuses fit's after them otherwise."""
    command = [sys.executable, evaluate, "--command", _common.cfa_lite_command(), data_set, "--", *fit_options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stderr}")
    line = done.stdout.strip().splitlines()[-1]
    print(line, file=sys.stderr, flush=True)
    return json.loads(line)


def print_table(records: dict[str, list[dict]]) -> None:
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
