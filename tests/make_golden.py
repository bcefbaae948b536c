"""Makes tests/data/golden.cfa and its backbone, and prints what tests/test_golden.py expects.

    python tests/make_golden.py --overwrite

Once a version is released its golden model stays as it is: every later one must read it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny_backbone

from cfa_lite import CFA

DATA = Path(__file__).parent / "data"


def images(n):
    rng = np.random.default_rng(20)
    return [rng.integers(0, 255, (60, 72, 3)).astype(np.uint8) for _ in range(n)]


def main():
    if (DATA / "golden.cfa").exists() and "--overwrite" not in sys.argv:
        sys.exit("tests/data/golden.cfa is there; --overwrite makes it anew")
    network = tiny_backbone.write(DATA / "golden.onnx")
    mask = np.ones((60, 72), bool)
    mask[:, :20] = False
    model = CFA(backbone=network, n_centers=8, size=96, mask=mask, mm_per_pixel=0.1, group_by=r"(\d)$", threads=1)
    model.fit(images(8))
    model.fitted_ = replace(model.fitted_, backbone=network.name)  # independent of the path of the checkout
    model.adjust(sensitivity=0.9)
    model.save(DATA / "golden.cfa")
    result = model.inspect(images(9)[8])
    print(f"{result.raw_score=!r} {result.score=!r} {result.verdict=} {(DATA / 'golden.cfa').stat().st_size} bytes")


if __name__ == "__main__":
    main()
