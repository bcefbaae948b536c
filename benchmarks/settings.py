"""Could a product decide more of its settings from its good images, by the check that decides about position means?

    python benchmarks/settings.py --data DATA
    python benchmarks/settings.py --data DATA --sets bsdata --seeds 0

For each data set and seed, the default is compared with one changed setting at a time: by synthetic defects, as `fit`
compares scores with and without position means, and by the image AUROC of the test images, which `fit` never sees.
Position means are used as the default decides. Outliers are not left out, so that both have the same good images.

Parts are also measured at any angle; see benchmarks/decisions.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import _common
import _sets
import decisions
import numpy as np

from cfa_lite import threads
from cfa_lite.features import feature_maps, images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.features.manifest import find_spec
from cfa_lite.inference.levels import DistanceMaps
from cfa_lite.inference.scorer import Scorer
from cfa_lite.method import anomaly_map
from cfa_lite.training import extraction, fit, separation
from cfa_lite.training.extraction import NormalImage
from cfa_lite.training.framing import Framing
from cfa_lite.training.held_out import HeldOutImages
from cfa_lite.training.separation import DefectScores
from cfa_lite.training.settings import Ingredients, Settings
from cfa_lite.training.steps import scorer_of
from cfa_lite.training.training_set import Source, TrainingSet

Tests = list[tuple[DistanceMaps, tuple[int, int]]]
BOUNDS = (0, 1, 2)  # a changed setting is taken if it gains more than this number of standard errors


@dataclass(frozen=True)
class Change:
    """Settings of one row; the defaults are those of the product."""

    shrinkage: float = 0.1
    background_share: float = 0.25
    smoothing: float = 1.0  # of the score map, as a share of the default


DEFAULT = Change()
CHANGES = {
    "shrinkage 1": Change(shrinkage=1.0),
    "shrinkage 10": Change(shrinkage=10.0),
    "no background removed": Change(background_share=0.0),
    "smoothed half as much": Change(smoothing=0.5),
    "smoothed twice as much": Change(smoothing=2.0),
    "shrinkage 10, no background removed": Change(shrinkage=10.0, background_share=0.0),
}


@contextmanager
def smoothed(share: float) -> Iterator[None]:
    """Multiply the smoothing of the score map by a share."""
    default = anomaly_map.SMOOTHING_SHARE
    anomaly_map.SMOOTHING_SHARE = default * share
    try:
        yield
    finally:
        anomaly_map.SMOOTHING_SHARE = default


@dataclass(frozen=True)
class Adapted:
    """A product that was adapted at one shrinkage, with the distances of all images."""

    scorer: Scorer
    held_out: HeldOutImages
    defects: DefectScores
    tests: Tests

    @classmethod
    def of(cls, good: TrainingSet[NormalImage], tests: list, shrinkage: float, seed: int, n_threads: int) -> Adapted:
        settings = Settings(
            shrinkage=shrinkage, ingredients=Ingredients(without_outliers=False), random_state=seed, n_threads=n_threads
        )
        started = fit.start(good, np.arange(len(good.kept)), settings)
        adapted = fit.adapt(fit.clean(started, settings), settings)
        scorer = scorer_of(started, adapted.fitted, adapted.distances, settings)
        held_out = replace(started.held_out(settings), distances=adapted.distances)
        defects = DefectScores.measure(good.kept, started.cross, adapted.fitted, held_out)
        measured = threads.ordered_map(lambda test: (scorer.distances(test[0]), test[1]), tests, n_threads)
        return cls(scorer, held_out, defects, list(measured))

    def scores(self, change: Change, is_corrected: bool | None = None) -> tuple[bool, list[np.ndarray]]:
        """Return whether position means are used, and the scores of good images, synthetic defects and test images.

        By default the product decides about position means.
        """
        scorer = replace(self.scorer, background_share=change.background_share)
        with smoothed(change.smoothing):
            means = self.held_out.position_means(scorer)
            if is_corrected is None:
                decision = self.defects.check_position_means(scorer, means)
                is_corrected = decision is None or decision.kept
            used = means if is_corrected else None
            final = replace(scorer, position_mean=means.of_all()) if is_corrected else scorer
            test = np.array([final.score(distances, size_px) for distances, size_px in self.tests])
            return is_corrected, [self.held_out.scores(scorer, used), self.defects.scores(scorer, used), test]


def run(root: Path, is_turned: bool, seed: int, n_threads: int, evaluate) -> dict[str, tuple[float, float, float]]:
    """Return for each change the gain by the check, its standard error, and the difference of the image AUROC."""
    test_set, rng = _sets.TestSet(root, evaluate), np.random.default_rng(5)
    train: list = [decisions.turned(p, rng.uniform(0, 360)) if is_turned else p for p in _sets.train_images(root)]
    test = [decisions.turned(p, rng.uniform(0, 360)) if is_turned else p for p in test_set.paths]
    backbone = Backbone(find_spec("lite0"))
    framing = Framing(extraction.WORKING_AREA_PX, feature_maps.unit_px(backbone), one_size=False)
    with threads.serial_blas(), FeatureStore(2000) as store:
        good = extraction.read(
            Source(train), framing, backbone, store, n_defects=extraction.N_DEFECTS, random_state=seed,
            n_threads=n_threads,
        )  # fmt: skip

        def maps_of(image: images.ImageLike) -> tuple:
            loaded = images.read(image)
            size_px = images.working_size(loaded.size_px, good.scale, framing.unit_px)
            return feature_maps.from_pixels(images.to_pixels(loaded, size_px), backbone), size_px

        tests = list(threads.ordered_map(maps_of, test, n_threads))
        adapted = {
            shrinkage: Adapted.of(good, tests, shrinkage, seed, n_threads)
            for shrinkage in sorted({change.shrinkage for change in CHANGES.values()} | {DEFAULT.shrinkage})
        }
        is_corrected, (of_good, of_defects, of_test) = adapted[DEFAULT.shrinkage].scores(DEFAULT)
        found = {}
        for name, change in CHANGES.items():
            _, (new_good, new_defects, new_test) = adapted[change.shrinkage].scores(change, is_corrected)
            check = separation.compare(of_good, of_defects, new_good, new_defects)
            truth = evaluate.auroc(test_set.labels, new_test) - evaluate.auroc(test_set.labels, of_test)
            found[name] = check.gain, check.gain_error, truth
    return found


def main() -> None:
    args = _sets.parser(__doc__).parse_args()
    evaluate = _sets.evaluate_module(args)
    n_threads = threads.resolve(None)
    _common.print_machine(n_threads)
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CHANGES}
    for name in _sets.names(args):
        for is_turned in (False, True) if name in decisions.TURNED else (False,):
            for seed in args.seeds:
                found = run(args.data / name, is_turned, seed, n_threads, evaluate)
                cells = [f"{gain:+.3f} ({error:.3f}) {truth:+.3f}" for gain, error, truth in found.values()]
                print(f"| {name}{', turned' * is_turned} | {seed} | {' | '.join(cells)} |", flush=True)
                for change, row in found.items():
                    rows[change].append(row)
    print("\n| change | always | sign right | " + " | ".join(f"taken beyond {b} errors" for b in BOUNDS) + " |")
    print("|---|---|---|" + "---|" * len(BOUNDS))
    for change, of_sets in rows.items():
        gain, error, truth = np.array(of_sets).T
        differs = np.abs(truth) > 0.0015
        right = ((gain > 0) == (truth > 0))[differs]
        cells = []
        for bound in BOUNDS:
            taken = gain > bound * error
            result = np.where(taken, truth, 0)
            cells.append(f"{taken.sum()} of {len(taken)}: {result.mean():+.4f}, worst {result.min():+.3f}")
        print(f"| {change} | {truth.mean():+.4f} | {right.sum()} of {differs.sum()} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
