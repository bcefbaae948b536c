"""What does a fit take, as a command and by phase, and what does holding images back cost?

    python benchmarks/fit_phases.py --images 200

The command: seconds and peak memory of the whole process. By phase: seconds of its tasks over the threads, which is what it
would take if every thread were always at work; the rest is waiting, and what is not in the tables below. "Held back" is what
is done only so that good images are scored by what has not seen them: levels of all but a fold, their training, and the
distances of the images. Images are the demo's cloth, 256x256 pixels.
"""

from __future__ import annotations

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
from cfa_lite.features import feature_cache, images
from cfa_lite.method import limits
from cfa_lite.training import adaptation, cross_fit, fit, held_out, near_duplicates

SIZE_PX = (256, 256)

# Tasks of threads.ordered_map, by the name of the function that does one.
TASKS: dict[str, Callable[[Any], str]] = {
    "read": lambda i: "read, features",
    "sample": lambda key: "sample",
    "CrossFit.start": lambda task: "start, held out" if task[1] >= 0 else "start",
    "CrossFit.train": lambda task: "train, held out" if task[1] >= 0 else "train",
    "CrossFit.held_out": lambda i: "distances, held out",
    "_keep_what_helps": lambda defect: "synthetic defects checked",
    "Finishing": lambda i: "scores and peaks",
}
# What one thread does alone, or beside those tasks.
ALONE: tuple[_common.Watched, ...] = (
    ("sizes of images", images, "size_of"),
    ("features put away", feature_cache.FeatureStore, "keep"),
    ("near-duplicates", near_duplicates, "find"),
    ("all alike", fit, "_all_alike"),
    ("values of a level", cross_fit.CrossFit, "values"),
    ("how rare defects are", adaptation, "rareness"),
    ("far out", limits, "find_outliers"),
    ("maps of those left out", fit, "_left_out"),
    ("maps of the most unlike", held_out.Finishing, "held_out"),
    ("limits", limits, "limits"),
)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--threads", type=int, default=threads.available_cores())
    parser.add_argument("--outliers", default="count", help="keep: no level is learnt twice")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    _common.print_machine(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        good = _cloth.write(Path(folder, "good"), args.pictures, SIZE_PX)
        command(good, args.threads, args.outliers, args.rounds)
        phases(good, args.threads, args.outliers, args.rounds)


def command(good: list[Path], n_threads: int, outliers: str, rounds: int) -> None:
    """Print what `cfa-lite fit` takes of a folder that holds these images."""
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
    CFA(threads=n_threads).fit(good[:8])  # kernels are compiled
    wholes, found = [], []
    for _ in range(rounds):
        clocks = _common.Clocks(n_threads)
        with clocks.watching(ALONE), watching_tasks(clocks):
            start = time.perf_counter()
            CFA(threads=n_threads, outliers=outliers).fit(good)
            wholes.append(time.perf_counter() - start)
        held_out = sum(seconds for name, seconds in clocks.spent.items() if "held out" in name)
        found.append({**clocks.spent, "rest": wholes[-1] - sum(clocks.spent.values()), "all held out": held_out})
    whole = float(np.median(wholes))
    print(f"\nfit of {len(good)} images, {n_threads} threads, {rounds} rounds: {whole:.2f} s"
          f" ({min(wholes):.2f} to {max(wholes):.2f})")  # fmt: skip
    for name in found[0]:
        seconds = np.median([spent[name] for spent in found])
        print(f"  {name:<28s}{seconds:7.2f} s  {seconds / whole:6.1%}", flush=True)


@contextmanager
def watching_tasks(clocks: _common.Clocks) -> Iterator[None]:
    """Count the seconds of every task of a fit under its phase."""
    ordered_map = threads.ordered_map

    def watched(function: Callable, items: Iterable[Any], n_threads: int) -> Iterator[Any]:
        for name, name_of in TASKS.items():
            if getattr(function, "__qualname__", "").startswith(name + "."):
                function = clocks.counted(function, name_of)
        return ordered_map(function, items, n_threads)  # blocks within a task are of the task

    threads.ordered_map = watched
    try:
        yield
    finally:
        threads.ordered_map = ordered_map
    lost = [name for name, name_of in TASKS.items() if not clocks.spent.keys() & {name_of(("", f)) for f in (-1, 0)}]
    assert not lost, f"no task is called {', '.join(lost)} any more: bring the table up to date"


if __name__ == "__main__":
    main()
