"""Which rule for the core of a region outlines defects best?

    python benchmarks/outlines.py --data DATA
    python benchmarks/outlines.py --data DATA --sets hk_star --seeds 0 --false-alarm-rate 0.05

For each data set with masks and each seed, one model is fitted. In each test image that is NG and has a mask, every
rule draws the cores of all regions. The table has the mean intersection over union (IoU) with the mask, at the size of
the image, and below it the median of the areas, drawn divided by true. The column `limit` is the regions themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import _common
import _sets
import numpy as np
from PIL import Image
from scipy import ndimage

from cfa_lite import CFA, threads

# Values of the map in a region, and the median of the map -> the level above which the core lies.
Rule = Callable[[np.ndarray, float], float]


def share_of_peak(share: float) -> Rule:
    return lambda values, median: share * values.max()


def otsu(values: np.ndarray, median: float) -> float:
    """Divide the values so that the variance between both parts is largest."""
    ordered = np.sort(values.astype(np.float64))
    n_low = np.arange(1, len(ordered))
    if not len(n_low):
        return 0.0
    low = np.cumsum(ordered)[:-1]
    between = n_low * (len(ordered) - n_low) * (low / n_low - (ordered.sum() - low) / (len(ordered) - n_low)) ** 2
    return float(ordered[between.argmax()])


RULES: dict[str, Rule] = {
    "limit": lambda values, median: 1.0,
    "0.4 of the peak": share_of_peak(0.4),
    "half of the peak": share_of_peak(1 / 2),
    "0.6 of the peak": share_of_peak(0.6),
    "two thirds of the peak": share_of_peak(2 / 3),
    "three quarters of the peak": share_of_peak(3 / 4),
    "half way from the median to the peak": lambda values, median: (median + values.max()) / 2,
    "half way from the limit to the peak": lambda values, median: (1 + values.max()) / 2,
    "Otsu": otsu,
}


def drawn(score_map: np.ndarray) -> dict[str, np.ndarray]:
    """Return the cores of all regions as masks (h, w), by rule."""
    labels, n = ndimage.label(score_map > 1, np.ones((3, 3)))
    median = float(np.median(score_map))
    levels = {name: np.full(n + 1, np.inf, np.float32) for name in RULES}
    for label in range(1, n + 1):
        values = score_map[labels == label]
        below_peak = np.nextafter(values.max(), np.float32(0))
        for name, rule in RULES.items():
            levels[name][label] = min(max(1.0, rule(values, median)), below_peak)
    return {name: score_map > of_region[labels] for name, of_region in levels.items()}


def measured(root: Path, seed: int, rate: float, n_threads: int) -> np.ndarray:
    """Return IoU and ratio of areas (n_images, n_rules, 2) of a data set."""
    model = CFA(random_state=seed, threads=n_threads, false_alarm_rate=rate).fit(_sets.train_images(root))
    paths = sorted(p for folder in (root / "test").iterdir() if folder.name != "good" for p in folder.iterdir())
    found = []
    for path, result in zip(paths, model.inspect_many(paths)):
        mask_path = root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
        if result.map is None or result.verdict != "NG" or not mask_path.is_file():
            continue
        mask = np.asarray(Image.open(mask_path).convert("L")) > 127
        if not mask.any():
            continue
        cores = [
            np.asarray(Image.fromarray(core).resize(mask.shape[::-1], Image.Resampling.NEAREST))
            for core in drawn(result.map).values()
        ]
        found.append([((core & mask).sum() / (core | mask).sum(), core.sum() / mask.sum()) for core in cores])
    return np.array(found).reshape(-1, len(RULES), 2)


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--false-alarm-rate", type=float, default=0.01)
    args = parser.parse_args()
    n_threads = threads.resolve(None)
    _common.print_machine(n_threads)
    sets = [name for name in _sets.names(args) if (args.data / name / "ground_truth").is_dir()]
    print(f"| set | NG images | {' | '.join(RULES)} |\n|---|---|{'---|' * len(RULES)}")
    means = []
    for name in sets:
        runs = [measured(args.data / name, seed, args.false_alarm_rate, n_threads) for seed in args.seeds]
        found = np.concatenate(runs)
        if not len(found):
            print(f"| {name} | 0 | {'- | ' * len(RULES)}", flush=True)
            continue
        means.append(found[:, :, 0].mean(axis=0))
        row(name, f"{len(found) / len(runs):.0f}", means[-1], "{:.3f}")
        row("area", "", np.median(found[:, :, 1], axis=0), "{:.2f}")
    row(f"**mean of {len(means)} sets**", "", np.mean(means, axis=0), "{:.3f}")


def row(name: str, n: str, values: np.ndarray, form: str) -> None:
    print(f"| {name} | {n} | {' | '.join(map(form.format, values))} |", flush=True)


if __name__ == "__main__":
    main()
