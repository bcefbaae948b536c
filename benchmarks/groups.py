"""Which groups are found in the file names of good images, and are any found in shuffled names?

    python benchmarks/groups.py --data DATA

One row for each data set, from at most 200 good images: the number of patterns, the pattern found with its groups,
p-value and rise, the time of the search, and how many of 1,000 shuffles of the names group images or tell a pattern.
"""

from __future__ import annotations

import time
from pathlib import Path

import _common
import _sets
import numpy as np

from cfa_lite.features import feature_maps
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.features.manifest import find_spec
from cfa_lite.training import extraction, grouping, name_patterns, near_duplicates
from cfa_lite.training.framing import Framing
from cfa_lite.training.training_set import Source

N_SHUFFLES = 1000


def distances_and_names(root: Path, n_threads: int) -> tuple[np.ndarray, list[str]]:
    """Return the distances between the good images (n, n), as `fit` measures them, and their names."""
    backbone = Backbone(find_spec("lite0"))
    framing = Framing(extraction.WORKING_AREA_PX, feature_maps.unit_px(backbone), False, enlarges=False)
    source = Source(_sets.train_images(root), None, None, True)
    with FeatureStore(2000.0) as store:
        images = extraction.read(source, framing, backbone, store, n_threads=n_threads)
        coarsest = max(images.kept[0].maps)
        maps = [image.maps[coarsest] for image in images.kept]
        return np.sqrt(near_duplicates.distances_sq(maps)), list(images.names)


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    _common.print_machine(args.threads)
    print("\n| set | images | patterns | found | groups | p | rise | ms | shuffled: grouped, told |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in _sets.names(args):
        distances, names = distances_and_names(args.data / name, args.threads)
        start = time.perf_counter()
        found = grouping.find_pattern(distances, names)
        ms = 1000 * (time.perf_counter() - start)
        strong = []
        for seed in range(N_SHUFFLES):
            order = np.random.default_rng(seed).permutation(len(names))
            by_chance = grouping.find_pattern(distances, [names[i] for i in order])
            strong += [by_chance.is_strong] if by_chance else []
        cells = ["none", "", "", ""]
        if found:
            cells = [f"`{found.pattern}`", str(found.n_groups), f"{found.p_value:.0e}", f"{found.rise:.2f}"]
            cells[0] += "" if found.is_strong else ", only told"
        n_patterns = len(list(name_patterns.candidates(names)))
        print(
            f"| {name} | {len(names)} | {n_patterns} | {' | '.join(cells)} | {ms:.0f} |"
            f" {sum(strong)}, {len(strong) - sum(strong)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
