"""Where does the time of a fit go, and what does holding pictures back cost?

    python benchmarks/fit_phases.py --pictures 200

Each phase's seconds, summed over its tasks and divided by the threads: what it would take if every thread were always
at work. "Held back" is what is done only so that good pictures are scored by what has not seen them: levels of all but a
fold, their training, and the distances of the pictures. Pictures are the demo's cloth, 256x256 pixels.
"""

from __future__ import annotations

import time
from collections import defaultdict

import _common
import numpy as np

from cfa_lite import CFA, demo, threads

SIZE_PX = (256, 256)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--threads", type=int, default=threads.available_cores())
    parser.add_argument("--atypical", default="count", help="keep: no level is learnt twice")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    _common.print_machine(args.threads)
    pictures = [demo.weave(np.random.default_rng([0, i]), SIZE_PX) for i in range(args.pictures)]
    CFA(threads=args.threads).fit(pictures[:8])  # kernels are compiled
    spent: defaultdict[str, float] = defaultdict(float)
    watch(spent)
    wholes, rounds = [], []
    for _ in range(args.rounds):
        spent.clear()
        start = time.perf_counter()
        CFA(threads=args.threads, atypical=args.atypical).fit(pictures)
        wholes.append(time.perf_counter() - start)
        rounds.append({name: seconds / args.threads for name, seconds in spent.items()})
    whole = float(np.median(wholes))
    print(f"\nfit of {args.pictures} pictures {SIZE_PX[0]}x{SIZE_PX[1]}, {args.threads} threads, {args.rounds} rounds:"
          f" {whole:.2f} s ({min(wholes):.2f} to {max(wholes):.2f})")  # fmt: skip
    for name in rounds[0]:
        seconds = [found[name] for found in rounds]
        print(f"  {name:<28s}{np.median(seconds):6.2f} s  {np.median(seconds) / whole:5.0%}")
    held_back = [sum(s for name, s in found.items() if "held back" in name) for found in rounds]
    print(f"  all that is held back       {np.median(held_back):6.2f} s  {np.median(held_back) / whole:5.0%}")


def watch(spent: defaultdict[str, float]) -> None:
    """Count the seconds of every task of a fit under its phase."""

    def counted(call, name_of):
        def run(*args, **options):
            start = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                spent[name_of(*args)] += time.perf_counter() - start

        return run

    ordered_map = threads.ordered_map
    phases = {  # by the name of the function that does a task
        "CrossFit.start": lambda task: "start, held back" if task[1] >= 0 else "start",
        "CrossFit.train": lambda task: "train, held back" if task[1] >= 0 else "train",
        "CrossFit.held_back": lambda i: "distances, held back",
        "sample": lambda key: "sample",
        "_keep_what_helps": lambda defect: "made-up defects checked",
        "Finishing": lambda i: "scores and peaks",
        "read": lambda i: "read, features",
    }

    def watched(call, tasks, n_threads):
        for function, name_of in phases.items():
            if call.__qualname__.startswith(function):
                return ordered_map(counted(call, name_of), tasks, n_threads)
        return ordered_map(call, tasks, n_threads)  # blocks within a task

    threads.ordered_map = watched


if __name__ == "__main__":
    main()
