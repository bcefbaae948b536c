"""Does every damaged model or image give either one clear error or the original result?

    python benchmarks/fuzz.py --cases 10000

tests/damage.py makes the damage, and tests/test_fuzz.py checks the result. The number of a case is its seed. The first
violation ends the run and names the seed. The script prints how many files were refused by kind of damage, the slowest
case, and the growth of the peak memory.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
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
    parser.add_argument("--bombs", type=int, default=20, help="models with a member of 200 MB in 200 kB")
    args = parser.parse_args()
    _common.print_machine(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(4)
        images = [rng.integers(0, 255, (60, 72, 3)).astype(np.uint8) for _ in range(5)]
        network = tiny_backbone.write(folder / "tiny.onnx")
        model = CFA(recipe="whitened", backbone=network, n_centers=6, size=64, threads=1)
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
        run("models with new checksums", forged, args.cases // 10)
        bombs = [damage.bomb(whole, np.random.default_rng(seed)) for seed in range(2)]
        before = peak_mb()
        for data in bombs * (args.bombs // 2):
            assert test_fuzz.check_archive(data, folder / "damaged.cfa", images[0], score)
        print(f"\n{args.bombs} bombs refused; peak memory grew by {peak_mb() - before:.0f} MB")


def run(kind_of_file: str, case: Callable[[np.random.Generator], tuple[str, bool]], n_cases: int) -> None:
    refused: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    slowest, before = (0.0, 0), peak_mb()
    for seed in range(n_cases):
        start = time.perf_counter()
        try:
            kind, was_refused = case(np.random.default_rng(seed))
        except BaseException:
            print(f"{kind_of_file}: the check fails for seed {seed}", file=sys.stderr)
            raise
        slowest = max(slowest, (time.perf_counter() - start, seed))
        seen[kind] += 1
        refused[kind] += was_refused
    growth = peak_mb() - before
    n_refused = sum(refused.values())
    print(f"\n{n_cases} damaged {kind_of_file}: {n_refused} refused, {n_cases - n_refused} accepted; slowest"
          f" {1000 * slowest[0]:.0f} ms (seed {slowest[1]}); peak memory grew by {growth:.0f} MB")  # fmt: skip
    print("  " + "; ".join(f"{kind} {refused[kind]}/{n}" for kind, n in sorted(seen.items())), flush=True)
    assert growth < MAX_GROWTH_MB


def peak_mb() -> float:
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
