"""What does each ingredient of the default recipe give, over all sets?

    python benchmarks/ablation.py ../shared/data
    python benchmarks/ablation.py ../shared/data --sets hk_star --seeds 0

One fit with trained descriptors and one without, a set and seed; every other row changes what is done with the same
distances. Measures are those of evaluate.py on maps brought to the images' size. A row's differences are to
`adapted`, set by set in the mean over seeds: their mean, the worst set, and the standard error of the mean over seeds
of the difference of a set, in the mean over sets. Recipe `paper` is in benchmarks/paper.py: 20 times the time.
"""

from dataclasses import replace

import _common
import _sets
import numpy as np

from cfa_lite import threads
from cfa_lite.features import images
from cfa_lite.features.backbone import Backbone, find_spec
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.fitted import Finish
from cfa_lite.inference import scorer
from cfa_lite.method import anomaly_map
from cfa_lite.training import fit, recipes

BACKGROUND = 0.25


def evenly(levels):
    """The same weight for each pooled level; they add up to 1, as the position means expect."""
    n_pooled = sum(lv.key.pooled for lv in levels)
    return [replace(lv, score_weight=lv.key.pooled / n_pooled) for lv in levels]


def only(chosen):
    """Levels that `chosen` keeps; what is left of the score's weights is scaled to 1."""

    def change(levels, finish):
        kept = [lv for lv in levels if chosen(lv)]
        total = sum(lv.score_weight for lv in kept)
        return [replace(lv, score_weight=lv.score_weight / total) for lv in kept], finish

    return change


def pooled_map(levels, finish):  # unpooled levels have no weight in the score
    return [lv for lv in levels if lv.key.pooled], finish


NONE = Finish(anomaly_map.SMOOTHING_SHARE)
NOT_BROUGHT = ("none", "map not brought to the score")
# name: (descriptors trained, change of levels and finish, share of the background removed)
ROWS = {
    "adapted": (True, lambda levels, finish: (levels, finish), BACKGROUND),
    "none": (False, lambda levels, finish: (evenly(levels), NONE), BACKGROUND),
    "descriptors not trained": (False, lambda levels, finish: (levels, finish), BACKGROUND),
    "levels weighted evenly": (True, lambda levels, finish: (evenly(levels), finish), BACKGROUND),
    "no position means": (True, lambda levels, finish: (levels, replace(finish, position_mean=None)), BACKGROUND),
    "map smoothed as the score": (
        True,
        lambda levels, finish: (levels, replace(finish, map_smoothing=anomaly_map.SMOOTHING_SHARE)),
        BACKGROUND,
    ),
    "map not brought to the score": (True, lambda levels, finish: (levels, finish), BACKGROUND),
    "background left": (True, lambda levels, finish: (levels, finish), 0.0),
    "half the background off": (True, lambda levels, finish: (levels, finish), 0.5),
    "working size alone": (True, only(lambda lv: lv.key.divisor == 1), BACKGROUND),
    "half size alone": (True, only(lambda lv: lv.key.divisor == 2), BACKGROUND),
    "map of pooled levels": (True, pooled_map, BACKGROUND),
}


class Ablation:
    """A set's features, kept once, and the measures of each row for a seed."""

    def __init__(self, root, network, n_threads, evaluate, store):
        self.network, self.n_threads, self.store = network, n_threads, store
        self.test = _sets.TestSet(root, evaluate)
        self.given = _sets.train_images(root)

    def run(self, seed):
        quiet = lambda *a: None  # noqa: E731
        good = recipes.read(self.given, self.network, self.store, seed, True, self.n_threads, quiet)
        found = {}
        for trained in (True, False):
            learnt = fit.learn(
                good, self.network.spec.sha256, n_centers=256, shrinkage=0.1, background=BACKGROUND,
                ingredients=fit.Ingredients(without_outliers=False, trained=trained), promise=fit.Promise(), seed=seed, n_threads=self.n_threads, progress=quiet,
            ).learnt  # fmt: skip
            rows = {name: row[1:] for name, row in ROWS.items() if row[0] == trained}
            found |= self.measure(learnt, rows)
        return np.array([found[name] for name in ROWS])

    def measure(self, learnt, rows):
        """Measures of rows (change, background) on the same distances."""
        changed = {name: (*change(learnt.levels, learnt.finish), share) for name, (change, share) in rows.items()}

        def one(path):
            bands = images.read(path)
            w, h = bands[0].size
            size_px = images.working_size((h, w), learnt.scale, scorer.unit_px(self.network))
            maps = scorer.maps_of_pixels(images.to_pixels(bands, size_px), self.network)
            distances = scorer.distance_maps(maps, learnt.levels, None, size_px)

            def answer(name, how):
                if name not in NOT_BROUGHT:
                    raw = scorer.combine(distances, *how, size_px)
                    return float(raw.max()), raw
                score = scorer.score_map(distances, *how, size_px).max()
                return float(score), scorer.shown_map(distances, *how, size_px)

            answers = [answer(name, how) for name, how in changed.items()]
            return [(score, self.test.shrunk(shown, (h, w))) for score, shown in answers]

        by_row = zip(*threads.ordered_map(one, self.test.paths, self.n_threads))
        return {name: self.test.measures(*zip(*results)) for name, results in zip(changed, by_row)}


def main():
    parser = _sets.parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backbone", default="lite0")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    network = Backbone(find_spec(args.backbone))
    _common.print_machine(args.threads)
    by_set = {}
    for name in _sets.names(args):
        with threads.serial_blas(), FeatureStore(2000) as store:
            ablation = Ablation(args.data / name, network, args.threads, evaluate, store)
            by_set[name] = np.array([ablation.run(seed) for seed in args.seeds])  # (seeds, rows, measures)
        means = by_set[name].mean(axis=0)
        print(f"<!-- {name}: " + "; ".join(f"{row} {show(m)}" for row, m in zip(ROWS, means)) + " -->", flush=True)
    print_table(by_set)


def show(values):
    return "/".join("-" if np.isnan(v) else f"{v:.4f}" for v in values)


def print_table(by_set):
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
        cells = [row, show(np.nanmean(means[:, r], axis=0))]
        cells += ["", "", ""] if r == 0 else [
            "/".join(f"{v:+.4f}" for v in np.nanmean(differences, axis=0)),
            show(np.nanmean(errors, axis=0)), ", ".join(worst),
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |")
    print("\n| set | " + " | ".join(list(ROWS)[:2]) + " |\n|---|---|---|")
    for name, rows in zip(by_set, means):
        print(f"| {name} | {show(rows[0])} | {show(rows[1])} |")


if __name__ == "__main__":
    main()
