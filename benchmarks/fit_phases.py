"""Where does the time of a fit go, and what do held-out scores cost?

    python benchmarks/fit_phases.py --images 200

First come the seconds and the peak memory of the whole command ``cfa-lite fit``. Then come the phases of `CFA.fit`: the
seconds of the tasks of a phase, divided by the number of threads. "rest" is waiting, and everything that is in no table
below. "held out" marks the work that exists only so that good images are scored by models that have not seen them:
levels that are fitted without a fold, their training, and the distances of the images. The images are the demo's cloth
at 256x256 pixels.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _cloth
import _common
import numpy as np

from cfa_lite import CFA, threads
from cfa_lite.features import feature_cache
from cfa_lite.method import limits
from cfa_lite.training import adaptation, completion, cross_fit, grouping, held_out, steps
from cfa_lite.training.cross_fit import Task

SIZE_PX = (256, 256)


def _with_fold(phase: str) -> Callable[[Task], str]:
    return lambda task: phase if task[1] is None else f"{phase}, held out"


# Labels of the tasks that run on several threads, by the function that passes them to threads.ordered_map.
TASKS: dict[str, Callable[[Any], str]] = {
    "_sizes": lambda i: "sizes of images",
    "read": lambda i: "read, features",
    "draw_samples": lambda key: "sample",
    "CrossFit._start": _with_fold("start"),
    "CrossFit._train": _with_fold("train"),
    "CrossFit.held_out": lambda i: "distances, held out",
    "adapt": lambda defect: "synthetic defects checked",
    "HeldOutImages": lambda i: "scores and peaks",
}
# What a single thread does, or what happens within those tasks.
ALONE: tuple[_common.Watched, ...] = (
    ("features stored", feature_cache.FeatureStore, "keep"),
    ("groups", grouping, "find"),
    ("all images equal", steps, "all_equal"),
    ("values of a level", cross_fit.CrossFit, "values"),
    ("rareness of defects", adaptation, "rareness"),
    ("outliers", limits, "find_outliers"),
    ("maps of outliers", completion, "_outlier_maps"),
    ("maps of the highest scores", held_out.HeldOutImages, "held_out"),
    ("limits", limits, "make_limits"),
)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--threads", type=int, default=threads.available_cores())
    parser.add_argument("--outliers", default="count", choices=("count", "drop", "keep"),
                        help="as for cfa-lite fit; with keep, no level is fitted twice")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    _common.print_machine(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        good = _cloth.write(Path(folder, "good"), args.images, SIZE_PX)
        command(good, args.threads, args.outliers, args.rounds)
        phases(good, args.threads, args.outliers, args.rounds)


def command(good: list[Path], n_threads: int, outliers: str, rounds: int) -> None:
    """Print seconds and peak memory of `cfa-lite fit` on the folder of these images."""
    folder = good[0].parent
    part = folder.parent / "fit.cfa"
    line = [_common.cfa_lite_command(), "fit", folder, "-o", part, "--threads", str(n_threads), "--outliers", outliers]
    seconds, peak_mb = np.array([_common.run_measured(line) for _ in range(rounds)]).T
    print(f"\ncfa-lite fit, {len(good)} images, {n_threads} threads, whole process, {rounds} runs")
    print(f"  seconds    median {np.median(seconds):.2f}, {seconds.min():.2f} to {seconds.max():.2f}")
    print(f"  peak RSS   median {np.median(peak_mb):.0f} MB, {peak_mb.min():.0f} to {peak_mb.max():.0f}")
    print(f"  model      {part.stat().st_size / 1000:.0f} kB", flush=True)


def phases(good: list[Path], n_threads: int, outliers: str, rounds: int) -> None:
    """Print where the time of `CFA.fit` goes."""
    _common.check_table(ALONE)
    CFA(threads=n_threads).fit(good[:8])  # compiles the kernels
    wholes, found = [], []
    for _ in range(rounds):
        clocks = _common.Clocks(n_threads)
        with clocks.watching(ALONE), watching_tasks(clocks):
            start = time.perf_counter()
            CFA(threads=n_threads, outliers=outliers).fit(good)
            wholes.append(time.perf_counter() - start)
        for_held_out = sum(seconds for name, seconds in clocks.spent.items() if "held out" in name)
        found.append({**clocks.spent, "rest": wholes[-1] - sum(clocks.spent.values()), "all held out": for_held_out})
    whole = float(np.median(wholes))
    print(f"\nfit of {len(good)} images, {n_threads} threads, {rounds} rounds: {whole:.2f} s"
          f" ({min(wholes):.2f} to {max(wholes):.2f})")  # fmt: skip
    for name in found[0]:
        seconds = np.median([spent[name] for spent in found])
        print(f"  {name:<28s}{seconds:7.2f} s  {seconds / whole:6.1%}", flush=True)


@contextmanager
def watching_tasks(clocks: _common.Clocks) -> Iterator[None]:
    """Measure the seconds of every task of a fit, by phase."""
    ordered_map = threads.ordered_map

    def watched(function: Callable, items: Iterable[Any], n_threads: int) -> Iterator[Any]:
        for name, name_of in TASKS.items():
            if getattr(function, "__qualname__", "").startswith(name + "."):
                function = clocks.counted(function, name_of)
        return ordered_map(function, items, n_threads)

    threads.ordered_map = watched
    try:
        yield
    finally:
        threads.ordered_map = ordered_map
    missing = [
        name for name, name_of in TASKS.items() if not clocks.spent.keys() & {name_of(("", fold)) for fold in (None, 0)}
    ]
    if missing:
        sys.exit(f"No task came from {', '.join(missing)}. Update the table of the script.")


if __name__ == "__main__":
    main()
