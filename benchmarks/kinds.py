"""Is the kind of a defect told rightly, and what is told of kinds that were never taught?

    python benchmarks/kinds.py --data DATA --seeds 0

For each data set in the layout of MVTec AD with three kinds of defects or more, a model is fitted once. In turn, each
kind is never taught: a copy of the model is taught some images of each other kind. Another copy is taught one kind
alone. The kind of the first region of each NG image that was not taught counts: right, wrong or unknown for taught
kinds, told or unknown for others.
"""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from pathlib import Path

import _sets
import numpy as np

from cfa_lite import CFA


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--images", type=int, default=5, help="taught images of each kind")
    parser.add_argument("--tested", type=int, default=25, help="other images of each kind, at most")
    parser.add_argument("--good", type=int, default=_sets.MAX_TRAIN, help="good images of each set, at most")
    args = parser.parse_args()
    print("| set | taught | kinds told, of | NG of taught kinds: right, wrong, unknown | NG of others: told, unknown |")
    print("|---|---|---|---|---|")
    total: dict[str, Counter[str]] = {"all but one": Counter(), "one": Counter()}
    for name in _sets.names(args):
        root = args.data / name
        kinds = sorted(path.name for path in (root / "test").iterdir() if path.name != "good")
        rng = np.random.default_rng(0)
        images = {kind: list(rng.permutation(sorted((root / "test" / kind).iterdir()))) for kind in kinds}
        images = {kind: some for kind, some in images.items() if len(some) > args.images}
        if len(images) < 3:
            continue
        for seed in args.seeds:
            model = CFA(random_state=seed).fit(_sets.train_images(root, args.good))
            for how, counts in total.items():
                here: Counter[str] = Counter()
                for kind in images:
                    taught = [other for other in images if (other == kind) == (how == "one")]
                    here += count(model, root, images, taught, args)
                print(f"| {name} | {how} | {row(here)} |", flush=True)
                counts += here
    for how, counts in total.items():
        print(f"| **all** | {how} | {row(counts)} |")


def count(
    model: CFA, root: Path, images: dict[str, list[Path]], taught: list[str], args: argparse.Namespace
) -> Counter[str]:
    """Teach a copy of the model, and count what is told of the other images."""
    n, tested = args.images, args.tested
    copied = copy.copy(model)
    copied.teach(_sets.train_images(root, args.good), {kind: images[kind][:n] for kind in taught})
    decision = copied.info()["training"]["known_defects"]
    found = Counter(kinds=len(taught), told_kinds=len(decision["told"]))
    for kind, some in images.items():
        for result in copied.inspect_many(some[n : n + tested]):
            if result.verdict != "NG":
                continue
            told = result.regions[0].kind
            if kind not in taught:
                found["unknown_other" if told in (None, "unknown") else "told_other"] += 1
            else:
                found["unknown" if told in (None, "unknown") else "right" if told == kind else "wrong"] += 1
    return found


def row(counts: Counter[str]) -> str:
    return (
        f"{counts['told_kinds']} of {counts['kinds']} | {counts['right']}, {counts['wrong']}, {counts['unknown']} |"
        f" {counts['told_other']}, {counts['unknown_other']}"
    )


if __name__ == "__main__":
    main()
