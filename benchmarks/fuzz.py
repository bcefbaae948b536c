"""Does every damaged model and image end in one clear error, or in what was there?

    python benchmarks/fuzz.py --cases 10000

The damage is that of tests/damage.py, the law that of tests/test_fuzz.py; a case is its seed. A violation ends the run and
names it. Prints what was refused by kind, the slowest case, and how much the peak of memory grew.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import _common
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import damage
import test_fuzz
import tiny_backbone

from cfa_lite import CFA

MAX_GROWTH_MB = 300


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--bombs", type=int, default=20, help="members of 200 MB in 200 kB, on top")
    args = parser.parse_args()
    _common.print_machine(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(4)
        images = [rng.integers(0, 255, (60, 72, 3)).astype(np.uint8) for _ in range(5)]
        model = CFA(recipe="none", backbone=tiny_backbone.write(folder / "tiny.onnx"), n_centers=6, size=64, threads=1)
        model.fit(images).save(folder / "whole.cfa")
        whole, score = (folder / "whole.cfa").read_bytes(), model.inspect(images[0]).raw_score

        def archive(rng: np.random.Generator) -> tuple[str, bool]:
            kind, data = damage.of_archive(whole, rng)
            return kind, test_fuzz.check_archive(data, folder / "damaged.cfa", images[0], score)

        files = damage.images(np.random.default_rng(1))

        def image(rng: np.random.Generator) -> tuple[str, bool]:
            file = sorted(files)[rng.integers(len(files))]
            kind, data = damage.of_bytes(files[file], rng)
            return f"{file}, {kind}", test_fuzz.check_image(data, folder / file)

        def forged(rng: np.random.Generator) -> tuple[str, bool]:
            _, data = damage.forged(whole, rng)
            return "forged", test_fuzz.check_forged(data, folder / "forged.cfa", images[0])

        run("models", archive, args.cases)
        run("images", image, args.cases)
        run("models with checksums made anew", forged, args.cases // 10)
        bombs = [damage.bomb(whole, np.random.default_rng(seed)) for seed in range(2)]
        before = peak_mb()
        for data in bombs * (args.bombs // 2):
            assert test_fuzz.check_archive(data, folder / "damaged.cfa", images[0], score)
        print(f"\n{args.bombs} bombs refused; peak memory grew by {peak_mb() - before:.0f} MB")


def run(what, case, n_cases) -> None:
    refused, seen = Counter(), Counter()
    slowest, before = (0.0, 0), peak_mb()
    for seed in range(n_cases):
        start = time.perf_counter()
        try:
            kind, was_refused = case(np.random.default_rng(seed))
        except BaseException:
            print(f"{what}: the law does not hold for seed {seed}", file=sys.stderr)
            raise
        slowest = max(slowest, (time.perf_counter() - start, seed))
        seen[kind] += 1
        refused[kind] += was_refused
    growth = peak_mb() - before
    print(f"\n{n_cases} damaged {what}: {refused.total()} refused, {n_cases - refused.total()} as whole ones; slowest"
          f" {1000 * slowest[0]:.0f} ms (seed {slowest[1]}); peak memory grew by {growth:.0f} MB")  # fmt: skip
    print("  " + "; ".join(f"{kind} {refused[kind]}/{n}" for kind, n in sorted(seen.items())), flush=True)
    assert growth < MAX_GROWTH_MB


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
