"""Which head tells known defects best: Fisher's directions, logistic regression, or distances to taught defects?

    python benchmarks/heads.py --data DATA --sets bsdata,mvtec_pill --images 5

For each data set, a model is fitted once, and the descriptors of all places of all images are kept. For each draw, some
defective images are labelled, without masks, and each head is fitted to their most anomalous places. The response of a
head is standardized, and raises the score map, as the product does with its own; good images are scored by heads that
were fitted without their fold. Each cell is image AUROC, and the share of defects above the limit at 1%, on the images
that were not labelled. `alone` is the image AUROC of the response without the score map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import _common
import _sets
import numpy as np
from sklearn.linear_model import LogisticRegression

from cfa_lite import threads
from cfa_lite.features import feature_maps, images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.features.manifest import find_spec
from cfa_lite.method import defect_directions, kmeans
from cfa_lite.method.defect_directions import Spread
from cfa_lite.teaching import places
from cfa_lite.teaching.good_images import GoodImages
from cfa_lite.teaching.leaving_out import START, Standard, robust_spread
from cfa_lite.training import extraction, fit
from cfa_lite.training.framing import Framing
from cfa_lite.training.held_out import HeldOutGood, Lesson
from cfa_lite.training.settings import Settings
from cfa_lite.training.training_set import Source

N_CENTERS = 256  # of normal patches, for heads that measure distances


@dataclass(frozen=True)
class Seen:
    """An image as the heads see it: descriptors (n, d) and highest score (n,) of its places, and the most anomalous."""

    descriptors: np.ndarray
    cells: np.ndarray
    used: np.ndarray


@dataclass(frozen=True)
class Normal:
    """Scaled descriptors (n, d) of normal patches with weights (n,) that sum to 1, and their spread."""

    rows: np.ndarray
    weights: np.ndarray
    spread: Spread
    centers: np.ndarray


Respond = Callable[[np.ndarray], np.ndarray]  # scaled descriptors (n, d) -> responses (n_directions, n)
Head = Callable[[list[np.ndarray], list[str], Normal], Respond]  # places of each labelled image, their kinds


def linear(weights: np.ndarray) -> Respond:
    return lambda x: (x @ weights.astype(np.float32)).T


def whitener(normal: Spread) -> np.ndarray:
    """Return the matrix (d, d) by which Fisher's discriminant is the difference of two points."""
    floor = defect_directions.RIDGE * normal.eigenvalues.mean()
    return np.asarray(normal.vectors / np.sqrt(normal.eigenvalues + floor), np.float32)


def prototypes_of(labelled: list[np.ndarray], kinds: list[str]) -> np.ndarray:
    """Return one prototype an image and one a kind with several images, as the product does."""
    of_images = [rows.mean(axis=0) for rows in labelled]
    several = [kind for kind in sorted(set(kinds)) if kinds.count(kind) > 1]
    return np.stack(
        of_images + [np.mean([p for p, k in zip(of_images, kinds) if k == kind], axis=0) for kind in several]
    )


def fisher(labelled: list[np.ndarray], kinds: list[str], normal: Normal) -> Respond:
    return linear(defect_directions.directions(prototypes_of(labelled, kinds), normal.spread))


def fisher_once(labelled: list[np.ndarray], kinds: list[str], normal: Normal) -> Respond:
    return linear(defect_directions.directions(np.concatenate(labelled).mean(axis=0)[None], normal.spread))


def fisher_of_levels(n_levels: int) -> Head:
    """Standardize the responses of each part of the descriptor on its own: the highest of all levels counts."""

    def head(labelled: list[np.ndarray], kinds: list[str], normal: Normal) -> Respond:
        d = normal.rows.shape[1]
        parts = np.array_split(np.arange(d), n_levels)
        weights = []
        for part in parts:
            spread = defect_directions.spread(np.ascontiguousarray(normal.rows[:, part]), normal.weights)
            found = np.zeros((d, len(prototypes_of(labelled, kinds))))
            found[part] = defect_directions.directions(prototypes_of(labelled, kinds)[:, part], spread)
            weights.append(found)
        return linear(np.concatenate(weights, axis=1))

    return head


def logistic(strength: float) -> Head:
    """Logistic regression on whitened descriptors; defects and normal patches have the same weight."""

    def head(labelled: list[np.ndarray], kinds: list[str], normal: Normal) -> Respond:
        matrix, rows = whitener(normal.spread), np.concatenate(labelled)
        x = np.concatenate([normal.rows, rows]) @ matrix
        y = np.arange(len(x)) >= len(normal.rows)
        weight = np.concatenate([normal.weights, np.full(len(rows), 1 / len(rows))]) * len(x) / 2
        found = LogisticRegression(C=strength / len(x), max_iter=200).fit(x, y, weight)
        return linear(matrix @ found.coef_.T)

    return head


def squares(x: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray((x**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2 * x @ points.T)


def to_nearest(x: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(squares(x, points), 0).min(axis=1))


def nearest(share: float, each_place: bool) -> Head:
    """Squared distance to the nearest normal center, times a share, minus that to the nearest taught defect."""

    def head(labelled: list[np.ndarray], kinds: list[str], normal: Normal) -> Respond:
        matrix = whitener(normal.spread)
        taught = (np.concatenate(labelled) if each_place else prototypes_of(labelled, kinds)) @ matrix
        centers = normal.centers @ matrix

        def respond(x: np.ndarray) -> np.ndarray:
            points = x @ matrix
            return (share * to_nearest(points, centers) - to_nearest(points, taught))[None]

        return respond

    return head


def hyperspheres(n_steps: int, rate: float, margin: float) -> Head:
    """The loss of coupled hyperspheres with the labelled places as hard negatives.

    A linear map is trained by gradients: normal patches are drawn into a sphere around their nearest center, labelled
    places are pushed out of the spheres of all centers by a margin. The response is the distance to the nearest center.
    """

    def head(labelled: list[np.ndarray], kinds: list[str], normal: Normal) -> Respond:
        matrix = whitener(normal.spread)
        good, bad, centers = normal.rows @ matrix, np.concatenate(labelled) @ matrix, normal.centers @ matrix
        weight = np.eye(good.shape[1], dtype=np.float32)
        rng = np.random.default_rng(0)
        radius_sq = float(np.quantile(to_nearest(good, centers), 0.5))
        for _ in range(n_steps):
            batch = good[rng.choice(len(good), 1024, p=normal.weights)]
            gradient = np.zeros_like(weight)
            for rows, sign, bound in ((batch, 1, radius_sq), (bad, -1, (1 + margin) * radius_sq)):
                squared = squares(rows @ weight, centers @ weight)
                at = squared.argmin(axis=1)
                active = sign * (squared[np.arange(len(rows)), at] - bound) > 0
                difference = (rows - centers[at])[active]
                gradient += sign * difference.T @ (difference @ weight) / len(rows)
            weight -= np.float32(rate / max(np.abs(gradient).max(), 1e-9)) * gradient
        mapped = centers @ weight
        return lambda x: to_nearest(x @ matrix @ weight, mapped)[None]

    return head


HEADS: dict[str, Head] = {
    "Fisher, image and kind": fisher,
    "Fisher, one direction": fisher_once,
    "Fisher, levels apart": fisher_of_levels(6),
    "logistic, strong": logistic(0.01),
    "logistic": logistic(1.0),
    "nearest defect": nearest(0.0, False),
    "nearest defect or center": nearest(1.0, False),
    "nearest place or center": nearest(1.0, True),
    "nearest defect or half of center": nearest(0.5, False),
    "hyperspheres": hyperspheres(100, 0.01, 3.0),
}


class Problem:
    """A data set with the places of all images, and good images that are scored as unseen ones."""

    def __init__(self, root: Path, seed: int, n_threads: int, evaluate):
        self.test_set = _sets.TestSet(root, evaluate)
        self.kinds = [path.parent.name for path in self.test_set.paths]
        self.auroc, self.n_threads = evaluate.auroc, n_threads
        backbone = Backbone(find_spec("lite0"))
        framing = Framing(extraction.WORKING_AREA_PX, feature_maps.unit_px(backbone), one_size=False)
        with threads.serial_blas(), FeatureStore(3000) as store:
            good = extraction.read(
                Source(_sets.train_images(root)), framing, backbone, store, n_defects=extraction.N_DEFECTS,
                random_state=seed, n_threads=n_threads,
            )  # fmt: skip

            def teach(held_out: HeldOutGood) -> Lesson:
                self.read_good(held_out, seed)
                return Lesson(None, np.array([held_out.score_map(i).max() for i in range(len(held_out.fold_of))]),
                              [None] * len(held_out.fold_of), (), {})  # type: ignore[list-item] # fmt: skip

            settings = Settings(random_state=seed, n_threads=n_threads)
            scorer = fit.fit(good, backbone.spec, settings, teach).product.scorer

            def see(path: Path) -> Seen:
                loaded = images.read(path)
                size_px = scorer.working_size(loaded.size_px, backbone)
                maps = feature_maps.from_pixels(images.to_pixels(loaded, size_px), backbone)
                return self.seen(maps, scorer.score_map(scorer.distances(maps), size_px), scorer.levels, size_px)

            self.tests: list[Seen] = list(threads.ordered_map(see, self.test_set.paths, n_threads))

    @staticmethod
    def seen(maps, score_map: np.ndarray, levels, size_px: tuple[int, int]) -> Seen:
        grid = places.grid_of(maps, levels, size_px)
        every = np.arange(grid[0] * grid[1])
        used = places.most_anomalous(score_map, grid, None, places.N_USED)
        cells = places.cells(score_map, grid).max(axis=1)
        return Seen(places.descriptors(maps, levels, grid, every), cells, used)

    def read_good(self, held_out: HeldOutGood, seed: int) -> None:
        kept, sizes = held_out.images.kept, held_out.images.working_sizes_px
        levels = held_out.scorer.levels

        def see(i: int) -> Seen:
            return self.seen(kept[i].maps, held_out.score_map(i), levels, sizes[i])

        self.good: list[Seen] = list(threads.ordered_map(see, range(len(kept)), self.n_threads))
        images_ = GoodImages(held_out.images, held_out.fold_of, held_out.score_map, levels, seed, self.n_threads,
                             lambda *_: None)  # fmt: skip
        sample = images_.sample()
        self.fold_of = held_out.fold_of
        self.scales = sample.descriptors[~sample.is_hard].std(axis=0) + np.float32(1e-3)
        scaled = sample.descriptors / self.scales
        weights = np.where(sample.is_hard, 1 / sample.is_hard.sum(), 1 / (~sample.is_hard).sum())

        def without(fold: int | None) -> Normal:
            kept = np.ones(len(scaled), bool) if fold is None else self.fold_of[sample.owner] != fold
            rows, shares = scaled[kept], weights[kept] / weights[kept].sum()
            centers = kmeans.kmeans(rows[::2], N_CENTERS, np.random.default_rng(seed)).centers
            return Normal(rows, shares, defect_directions.spread(rows, shares), centers)

        self.normals = list(threads.ordered_map(without, [None, *range(int(self.fold_of.max()) + 1)], self.n_threads))

    def labelled(self, n: int, draw: int) -> np.ndarray:
        return np.random.default_rng(draw).permutation(np.flatnonzero(self.test_set.labels))[:n]

    def untaught(self, rest: np.ndarray) -> list[float]:
        good = np.array([one.cells.max() for one in self.good])
        scores = np.array([self.tests[i].cells.max() for i in rest])
        return self.measures(scores, good, rest)

    def run(self, head: Head, chosen: np.ndarray, rest: np.ndarray) -> list[float]:
        """Return image AUROC, share found at the limit, false alarms, and image AUROC of the response alone."""
        rows = [self.tests[i].descriptors[self.tests[i].used] / self.scales for i in chosen]
        kinds = [self.kinds[i] for i in chosen]
        fitted = list(threads.ordered_map(lambda normal: head(rows, kinds, normal), self.normals, self.n_threads))

        def respond(one: Seen, fold: int | None) -> np.ndarray:
            return fitted[0 if fold is None else fold + 1](one.descriptors / self.scales)

        of_good = [respond(one, int(fold)) for one, fold in zip(self.good, self.fold_of)]
        of_test = [respond(self.tests[i], None) for i in rest]
        single = Standard.of(np.array([one.max(axis=1) for one in of_good]))

        def standardized(responses: list[np.ndarray]) -> list[np.ndarray]:
            return [single.apply(one[:, :, None])[:, :, 0].max(axis=0) for one in responses]

        good, test = standardized(of_good), standardized(of_test)
        joint = Standard.of(np.array([[one.max()] for one in good]))
        gain = (1 - 0.5 ** len(chosen)) * robust_spread(np.array([one.cells.max() for one in self.good]))

        def score(one: Seen, response: np.ndarray) -> float:
            return float((one.cells + gain * np.maximum(joint.apply_all(response) - START, 0)).max())

        good_scores = np.array([score(one, r) for one, r in zip(self.good, good)])
        scores = np.array([score(self.tests[i], r) for i, r in zip(rest, test)])
        alone = self.auroc(self.test_set.labels[rest], np.array([r.max() for r in test]))
        return [*self.measures(scores, good_scores, rest), alone]

    def measures(self, scores: np.ndarray, good: np.ndarray, rest: np.ndarray) -> list[float]:
        limit = np.sort(good)[-max(1, int(0.01 * (len(good) + 1)))]
        defective = self.test_set.labels[rest]
        is_ng = scores > limit
        return [self.auroc(defective, scores), is_ng[defective].mean(), is_ng[~defective].mean()]


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--images", type=_common.numbers, default=[5], metavar="1,5,...", help="labeled images")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--heads", type=lambda text: text.split(";"), default=list(HEADS), metavar="A;B")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    n_threads = threads.resolve(None)
    _common.print_machine(n_threads)
    of_sets: dict[int, list[np.ndarray]] = {n: [] for n in args.images}
    for name in _sets.names(args):
        problem = Problem(args.data / name, args.seeds[0], n_threads, evaluate)
        for n in args.images:
            rows = []
            with threads.serial_blas():
                for draw in range(args.draws):
                    chosen = problem.labelled(n, draw)
                    rest = np.setdiff1d(np.arange(len(problem.tests)), chosen)
                    untaught = [*problem.untaught(rest), np.nan]
                    rows.append([untaught, *(problem.run(HEADS[head], chosen, rest) for head in args.heads)])
            of_sets[n].append(np.mean(rows, axis=0))
            show(f"{name}, {n} labelled", ["untaught", *args.heads], of_sets[n][-1])
    for n, found in of_sets.items():
        show(f"mean of {len(found)} sets, {n} labelled", ["untaught", *args.heads], np.mean(found, axis=0))
        worst = np.array(found)[:, :, 0] - np.array(found)[:, :1, 0]
        print("worst set against untaught: " + ", ".join(f"{w:+.3f}" for w in worst.min(axis=0)))


def show(title: str, heads: list[str], rows: np.ndarray) -> None:
    print(f"\n| {title} | image AUROC | found | false alarms | alone |\n|---|---|---|---|---|")
    for head, values in zip(heads, rows):
        print(f"| {head} | " + " | ".join("-" if np.isnan(v) else f"{v:.3f}" for v in values) + " |", flush=True)


if __name__ == "__main__":
    main()
