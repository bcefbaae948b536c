"""What does it cost to keep only some dimensions of the whitened descriptors?

    python benchmarks/dimensions.py --data DATA --seeds 0

Networks with many channels would be faster with fewer dimensions. The question is put to Lite0: at every level, half or
a quarter of the dimensions are kept. "first" keeps the components with the largest variance, "random" projects onto
random directions. The table shows image AUROC / pixel AUROC / AUPRO from the script `--evaluate`, in the mean over the
seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import _sets
import numpy as np

from cfa_lite import CFA
from cfa_lite.method import whitening

Whitening = tuple[np.ndarray, np.ndarray]
SHARES = (0.5, 0.25)


def first(weight: np.ndarray, n_kept: int) -> np.ndarray:
    """Keep the components with the largest variance, which are the last columns."""
    return np.ascontiguousarray(weight[:, -n_kept:])


def random(weight: np.ndarray, n_kept: int) -> np.ndarray:
    """Project onto random orthogonal directions, and keep the mean squared length."""
    directions, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((len(weight), n_kept)))
    return (weight @ directions * np.sqrt(len(weight) / n_kept)).astype(np.float32)


def kept(share: float, how: Callable[[np.ndarray, int], np.ndarray]) -> Callable[..., Whitening]:
    """Return a whitening that keeps this share of its dimensions."""
    exact = whitening.shrunk_whitening

    def shortened(patches: np.ndarray, shrinkage: float) -> Whitening:
        mean, weight = exact(patches, shrinkage)
        return mean, how(weight, max(1, round(share * len(weight))))

    return shortened


def measured(train: list[Path], test: _sets.TestSet, seed: int, function: Callable[..., Whitening]) -> np.ndarray:
    exact, whitening.shrunk_whitening = whitening.shrunk_whitening, function
    try:
        model = CFA(random_state=seed).fit(train)
    finally:
        whitening.shrunk_whitening = exact
    scores, maps = [], []
    for result in model.inspect_many(test.paths):
        if result.map is None:
            sys.exit(f"{result.path} has no anomaly map: {result.message}")
        scores.append(result.raw_score)
        maps.append(test.shrunk(result.map, result.image_size_px))
    return test.measures(scores, maps)


def main() -> None:
    args = _sets.parser(__doc__).parse_args()
    evaluate = _sets.evaluate_module(args)
    ways = {"all": whitening.shrunk_whitening}
    ways |= {f"{how.__name__} {share:.0%}": kept(share, how) for how in (first, random) for share in SHARES}
    print(f"| set | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}")
    of_all = []
    for name in _sets.names(args):
        train, test = _sets.train_images(args.data / name), _sets.TestSet(args.data / name, evaluate)
        of_set = np.array([[measured(train, test, seed, way) for seed in args.seeds] for way in ways.values()])
        of_all.append(of_set.mean(axis=1))
        print(f"| {name} | {' | '.join(map(_sets.show, of_all[-1]))} |", flush=True)
    print(f"| **mean of sets** | {' | '.join(map(_sets.show, _sets.mean(np.array(of_all))))} |")


if __name__ == "__main__":
    main()
