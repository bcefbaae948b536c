"""Do memory, open files and the time per image stay the same over a long run? (Linux only)

    python benchmarks/soak.py --images 20000

Inspects images of the demo's cloth again and again by `inspect_many`, in one process. Memory is the resident set of the
process from the second tenth on, when all pools are filled. Its slope comes from a least-squares line. The script fails
if the memory grows by more than 1 MB per 1,000 images, or if a file stays open.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import _cloth
import _common
import numpy as np

from cfa_lite import CFA, threads

SIZE_PX = (256, 256)
N_FILES = 200
MAX_SLOPE_MB = 1.0  # per 1,000 images


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def n_handles() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=threads.available_cores())
    args = parser.parse_args()
    _common.print_machine(args.threads)
    with tempfile.TemporaryDirectory() as name:
        paths = _cloth.write(Path(name, "cloth"), N_FILES, SIZE_PX, seed=1)
        model = CFA(recipe="whitened", threads=args.threads).fit(paths[:20])
        n = args.images
        seconds, memory = np.empty(n), np.empty(n)
        handles = n_handles()
        start = time.perf_counter()
        for i, result in enumerate(model.inspect_many([paths[i % N_FILES] for i in range(n)])):
            assert result.status == "ok", result.message
            seconds[i], memory[i] = result.seconds, memory_mb()
        whole = time.perf_counter() - start
        left = n_handles() - handles
    tenth = n // 10
    slope = 1000 * np.polyfit(np.arange(tenth, n), memory[tenth:], 1)[0]
    print(f"\n{n} images in {whole:.0f} s; memory {memory[tenth]:.0f} MB after a tenth, {memory[-1]:.0f} MB at the end,"
          f" slope {slope:+.3f} MB per 1,000 images; files left open: {left}")  # fmt: skip
    for part, these in (("first tenth", seconds[:tenth]), ("last tenth", seconds[-tenth:])):
        p50, p95, p99 = 1000 * np.quantile(these, (0.5, 0.95, 0.99))
        print(f"  {part}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms")
    if slope > MAX_SLOPE_MB or left > 0:
        sys.exit(f"The memory grows by more than {MAX_SLOPE_MB} MB per 1,000 images, or a file was left open.")


if __name__ == "__main__":
    main()
