"""How much do a few labeled defects teach, and is anything lost?

    python benchmarks/known_defects.py --data DATA                            # 5 images at random, no masks
    python benchmarks/known_defects.py --data DATA --images 1,3,5,10,20 --masks
    python benchmarks/known_defects.py --data DATA --one-kind                 # images of one kind, others unseen

For each data set in the layout of MVTec AD, a model is fitted once. For each draw, a copy of it is taught some of the
defective test images, which then count in no measure. The table compares the copy with the untaught model on the same
images: image AUROC, the share of defects found at the limit, the share of good test images above it, and AUPRO. With
--one-kind, image AUROC is shown for the taught kind and for all others. Means over the draws.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from pathlib import Path

import _common
import _sets
import numpy as np

from cfa_lite import CFA
from cfa_lite.results import Inspection


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--images", type=_common.numbers, default=[5], metavar="1,5,...", help="labeled images")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--masks", action="store_true", help="with the masks of the defects")
    parser.add_argument(
        "--one-kind", action="store_true", help="all labeled images are of one kind, a new one per draw"
    )
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    _common.print_machine("all cores")
    shown = ("taught kind", "other kinds") if args.one_kind else ("image AUROC", "found", "false alarms", "AUPRO")
    print(f"draws {args.draws}; seeds {args.seeds}; {'with' if args.masks else 'without'} masks\n")
    print(f"| set | labeled | share | {' | '.join(shown)} |\n|---|---|---|{'---|' * len(shown)}")
    changes: dict[int, list[np.ndarray]] = defaultdict(list)
    for name in _sets.names(args):
        root = args.data / name
        test = _sets.TestSet(root, evaluate)
        kinds = np.array([path.parent.name for path in test.paths])
        for n_labeled in args.images:
            rows, shares = [], []
            for seed in args.seeds:
                model = CFA(random_state=seed).fit(_sets.train_images(root))
                before = list(model.inspect_many(test.paths))
                for draw in range(args.draws):
                    labeled = drawn(kinds, n_labeled, draw, args.one_kind)
                    if labeled is None:
                        continue
                    taught = teach(model, root, test, labeled, args.masks)
                    after = list(taught.inspect_many(test.paths))
                    rows.append([
                        one_kind(test, kinds, labeled, r) if args.one_kind else measures(test, labeled, r)
                        for r in (before, after)
                    ])  # fmt: skip
                    shares.append(taught.info()["training"]["known_defects"]["weight"])
            if rows:
                mean = np.mean(rows, axis=0)
                changes[n_labeled].append(mean)
                cells = [f"{a:.3f} -> {b:.3f}" for a, b in mean.T]
                print(f"| {name} | {n_labeled} | {np.mean(shares):.2f} | {' | '.join(cells)} |", flush=True)
    for n_labeled, of_sets in changes.items():
        cells = [f"{a:.3f} -> {b:.3f}" for a, b in np.nanmean(of_sets, axis=0).T]
        print(f"| **mean of {len(of_sets)} sets** | {n_labeled} | | {' | '.join(cells)} |")


def drawn(kinds: np.ndarray, n: int, draw: int, one_kind: bool) -> np.ndarray | None:
    """Return the positions of the images that are labeled, or None if there are too few."""
    rng, pool = np.random.default_rng(draw), np.flatnonzero(kinds != "good")
    if one_kind:
        several = [kind for kind in np.unique(kinds) if kind != "good" and np.sum(kinds == kind) > n]
        if len(several) < 2:
            return None
        pool = np.flatnonzero(kinds == several[draw % len(several)])
    return rng.permutation(pool)[:n] if len(pool) > n else None


def teach(model: CFA, root: Path, test: _sets.TestSet, labeled: np.ndarray, with_masks: bool) -> CFA:
    """Return a copy of the model that was taught the labeled images."""
    defects, masks = defaultdict(list), defaultdict(list)
    for path in (test.paths[i] for i in labeled):
        defects[path.parent.name].append(path)
        mask = root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
        masks[path.parent.name].append(mask if with_masks and mask.is_file() else None)
    taught = copy.copy(model)
    taught.teach(_sets.train_images(root), defects, masks=masks)
    return taught


def measures(test: _sets.TestSet, labeled: np.ndarray, results: list[Inspection]) -> list[float]:
    """Return image AUROC, the shares above the limit of defective and good images, and AUPRO."""
    rest = np.setdiff1d(np.arange(len(results)), labeled)
    is_ng = np.array([results[i].verdict == "NG" for i in rest])
    maps = [test.shrunk(results[i].map, results[i].image_size_px) for i in rest]
    auroc, _, aupro = test.measures(np.array([results[i].raw_score for i in rest]), maps, rest)
    defective = test.labels[rest]
    return [auroc, is_ng[defective].mean(), is_ng[~defective].mean(), aupro]


def one_kind(test: _sets.TestSet, kinds: np.ndarray, labeled: np.ndarray, results: list[Inspection]) -> list[float]:
    """Return the image AUROC of the taught kind and of all others."""
    kind, rest = kinds[labeled[0]], np.setdiff1d(np.arange(len(results)), labeled)
    scores = np.array([result.raw_score for result in results])
    found = []
    for chosen in (kinds[rest] == kind, kinds[rest] != kind):
        at = rest[chosen | ~test.labels[rest]]
        found.append(test._evaluate.auroc(test.labels[at], scores[at]))
    return found


if __name__ == "__main__":
    main()
