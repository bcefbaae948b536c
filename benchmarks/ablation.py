"""What does each ingredient of the default recipe contribute, over all data sets?

    python benchmarks/ablation.py --data DATA
    python benchmarks/ablation.py --data DATA --sets hk_star --seeds 0

For each data set and seed, one model is fitted with trained descriptors and one without. Every other row changes what
is done with the same distances. The measures come from the script `--evaluate`, on maps that are resized to the size of
the image. Outliers are not left out.

Differences are to the row `adapted`, for each data set in the mean over the seeds. The table shows their mean, their
standard error over the seeds (the mean over the data sets), and the data set with the lowest difference. The published
recipe is in benchmarks/published.py, because it takes 20 times as long.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import _common
import _sets
import numpy as np

from cfa_lite import threads
from cfa_lite.features import feature_maps, images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.features.manifest import find_spec
from cfa_lite.inference.levels import Level
from cfa_lite.inference.scorer import Scorer
from cfa_lite.method import anomaly_map
from cfa_lite.training import extraction, fit
from cfa_lite.training.framing import Framing
from cfa_lite.training.settings import Ingredients, Settings
from cfa_lite.training.training_set import Source

MAX_MEMORY_MB = 2000
Change = Callable[[Scorer], Scorer]


def unchanged(scorer: Scorer) -> Scorer:
    return scorer


def setting(**values: object) -> Change:
    return lambda scorer: replace(scorer, **values)  # type: ignore[arg-type]


def evenly(scorer: Scorer) -> Scorer:
    """Give each pooled level the same weight. The weights sum to 1, as the position means expect."""
    n_pooled = sum(level.key.pooled for level in scorer.levels)
    return replace(
        scorer, levels=tuple(replace(level, score_weight=level.key.pooled / n_pooled) for level in scorer.levels)
    )


def whitened(scorer: Scorer) -> Scorer:
    return replace(evenly(scorer), position_mean=None, map_smoothing=anomaly_map.SMOOTHING_SHARE, map_unit=1.0)


def only(chosen: Callable[[Level], bool]) -> Change:
    """Keep the levels that `chosen` accepts, and scale the weights of the score that remain to a sum of 1."""

    def change(scorer: Scorer) -> Scorer:
        kept = [level for level in scorer.levels if chosen(level)]
        total = sum(level.score_weight for level in kept)
        return replace(scorer, levels=tuple(replace(level, score_weight=level.score_weight / total) for level in kept))

    return change


WHITENED, NOT_BROUGHT = "whitened, map not brought to the score", "map not brought to the score"
PLAIN_MAPS = (WHITENED, NOT_BROUGHT)
# name: (whether the descriptors are trained, change of the fitted scorer)
ROWS: dict[str, tuple[bool, Change]] = {
    "adapted": (True, unchanged),
    WHITENED: (False, whitened),
    "descriptors not trained": (False, unchanged),
    "levels weighted evenly": (True, evenly),
    "no position means": (True, setting(position_mean=None)),
    "map smoothed as the score": (True, setting(map_smoothing=anomaly_map.SMOOTHING_SHARE)),
    NOT_BROUGHT: (True, unchanged),
    "background left": (True, setting(background_share=0.0)),
    "half the background off": (True, setting(background_share=0.5)),
    "working size alone": (True, only(lambda level: level.key.divisor == 1)),
    "half size alone": (True, only(lambda level: level.key.divisor == 2)),
    "map of pooled levels": (True, only(lambda level: level.key.pooled)),  # the others have no weight in the score
}


class Ablation:
    """A data set whose training features are extracted once for each seed, and the measures of each row."""

    def __init__(self, root: Path, backbone: Backbone, n_threads: int, evaluate: ModuleType):
        self.backbone, self.n_threads = backbone, n_threads
        self.test = _sets.TestSet(root, evaluate)
        self.source = Source(_sets.train_images(root))

    def run(self, seed: int) -> np.ndarray:
        """Return the measures (rows, 3) for a seed."""
        framing = Framing(extraction.WORKING_AREA_PX, feature_maps.unit_px(self.backbone), one_size=False)
        found: dict[str, np.ndarray] = {}
        with threads.serial_blas(), FeatureStore(MAX_MEMORY_MB) as store:
            good = extraction.read(
                self.source, framing, self.backbone, store,
                n_defects=extraction.N_DEFECTS, random_state=seed, n_threads=self.n_threads,
            )  # fmt: skip
            for is_trained in (True, False):
                ingredients = Ingredients(without_outliers=False, trained=is_trained)
                settings = Settings(ingredients=ingredients, random_state=seed, n_threads=self.n_threads)
                scorer = fit.fit(good, self.backbone.spec, settings).product.scorer
                assert isinstance(scorer, Scorer)
                changed = {name: change(scorer) for name, (trained, change) in ROWS.items() if trained == is_trained}
                found.update(self.measure(scorer, changed))
        return np.array([found[name] for name in ROWS])

    def measure(self, fitted: Scorer, changed: dict[str, Scorer]) -> dict[str, np.ndarray]:
        """Return the measures of each changed scorer. All of them share the distances of the fitted one."""

        def one(path: Path) -> list[tuple[float, np.ndarray | None]]:
            loaded = images.read(path)
            size_px = fitted.working_size(loaded.size_px, self.backbone)
            maps = feature_maps.from_pixels(images.to_pixels(loaded, size_px), self.backbone)
            distances = fitted.distances(maps)
            answers = []
            for name, scorer in changed.items():
                score = scorer.score(distances, size_px)
                if name in PLAIN_MAPS:
                    shown = scorer._plain_map(distances, size_px)
                else:
                    shown = scorer.map_with_peak(distances, size_px, score)
                answers.append((score, self.test.shrunk(shown, loaded.size_px)))
            return answers

        by_row = zip(*threads.ordered_map(one, self.test.paths, self.n_threads))
        return {name: self.test.measures(*zip(*answers)) for name, answers in zip(changed, by_row)}


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backbone", default="lite0", metavar="NAME|PATH")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    backbone = Backbone(find_spec(args.backbone))
    _common.print_machine(args.threads)
    print_table({name: measured(name, backbone, args, evaluate) for name in _sets.names(args)})


def measured(name: str, backbone: Backbone, args: Namespace, evaluate: ModuleType) -> np.ndarray:
    """Return the measures (seeds, rows, 3) of a data set."""
    ablation = Ablation(args.data / name, backbone, args.threads, evaluate)
    found = np.array([ablation.run(seed) for seed in args.seeds])
    means = zip(ROWS, found.mean(axis=0))
    print(f"<!-- {name}: " + "; ".join(f"{row} {show(values)}" for row, values in means) + " -->", flush=True)
    return found


def show(values: Iterable[float]) -> str:
    return "/".join("-" if np.isnan(v) else f"{v:.4f}" for v in values)


def print_table(by_set: dict[str, np.ndarray]) -> None:
    means = np.array([found.mean(axis=0) for found in by_set.values()])  # (sets, rows, measures)
    print("\n| | mean of sets | difference | its error over seeds | worst sets |\n|---|---|---|---|---|")
    for r, row in enumerate(ROWS):
        differences = means[:, r] - means[:, 0]
        errors = np.array([(f[:, r] - f[:, 0]).std(axis=0) / len(f) ** 0.5 for f in by_set.values()])
        worst = []
        for m, measure in enumerate(_sets.MEASURES):
            if np.isfinite(differences[:, m]).any():
                at = int(np.nanargmin(differences[:, m]))
                worst.append(f"{differences[at, m]:+.4f} {measure} {list(by_set)[at]}")
        cells = [row, show(_sets.mean(means[:, r]))]
        cells += ["", "", ""] if r == 0 else [
            "/".join("-" if np.isnan(v) else f"{v:+.4f}" for v in _sets.mean(differences)),
            show(_sets.mean(errors)), ", ".join(worst),
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |")
    print("\n| set | " + " | ".join(list(ROWS)[:2]) + " |\n|---|---|---|")
    for name, rows in zip(by_set, means):
        print(f"| {name} | {show(rows[0])} | {show(rows[1])} |")


if __name__ == "__main__":
    main()
