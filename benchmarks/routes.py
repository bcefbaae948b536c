"""Is the score of an image the same by every route: as a path or an array, alone or in a batch, on 1 or 2 threads?

    python benchmarks/routes.py

Prints the largest difference of scores and maps from those of a path that is inspected alone on one thread. The images
are the demo's cloth.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import _cloth
import _common
import numpy as np
from PIL import Image

from cfa_lite import load


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--sizes", type=_cloth.sizes, default="256x256", metavar="WIDTHxHEIGHT,...")
    args = parser.parse_args()
    _common.print_machine("1 and 2")
    with tempfile.TemporaryDirectory() as folder:
        for size_px in args.sizes:
            compare(_cloth.product(Path(folder, str(size_px)), size_px))


def compare(product: _cloth.Product) -> None:
    one, two = (load(product.part, threads=n) for n in (1, 2))
    line = product.line
    arrays = [np.asarray(Image.open(path)) for path in line]
    by_route = {
        "path, alone, 2 threads": [two.inspect(path) for path in line],
        "path, batch, 1 thread": list(one.inspect_many(line)),
        "path, batch, 2 threads": list(two.inspect_many(line)),
        "path, batch in reverse, 2 threads": list(two.inspect_many(line[::-1]))[::-1],
        "array, alone, 1 thread": [one.inspect(array) for array in arrays],
        "array, alone, 2 threads": [two.inspect(array) for array in arrays],
        "array, batch, 2 threads": list(two.inspect_many(arrays)),
        "PIL image, alone, 1 thread": [one.inspect(Image.fromarray(array)) for array in arrays],
    }
    first = [one.inspect(path) for path in line]
    scores = [result.score for result in first]
    print(
        f"\n{product}: largest difference from the path alone on 1 thread, {len(line)} images,"
        f" scores {min(scores):.3f} to {max(scores):.3f}"
    )
    for route, results in by_route.items():
        of_scores = max(abs(a.score - b.score) for a, b in zip(first, results))
        of_maps = max(float(np.abs(a.map - b.map).max()) for a, b in zip(first, results))
        print(f"  {route:34s} score {of_scores:.1e}, map {of_maps:.1e}", flush=True)


if __name__ == "__main__":
    main()
