"""How often is a decision that a product's good images make the right one, and what does a wrong one cost?

    python benchmarks/decisions.py --data DATA
    python benchmarks/decisions.py --data DATA --sets bsdata --seeds 0

For each data set and seed, one model is fitted with position means and one without. Their image AUROC on the test
images is the truth, which `fit` never sees. The decision is that of `fit`, by synthetic defects.

Each data set is also measured with every image turned by a random angle, if it shows parts (`--turned`): corners are
filled with the median of the border. This makes parts at any angle out of parts that lie still.
"""

from __future__ import annotations

from pathlib import Path

import _common
import _sets
import numpy as np
from PIL import Image

from cfa_lite import threads
from cfa_lite.features import feature_maps, images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.feature_cache import FeatureStore
from cfa_lite.features.feature_maps import FeatureMaps
from cfa_lite.features.manifest import find_spec
from cfa_lite.inference.scorer import Scorer
from cfa_lite.training import extraction, fit, separation
from cfa_lite.training.framing import Framing
from cfa_lite.training.separation import Decision
from cfa_lite.training.settings import Settings
from cfa_lite.training.training_set import Source

TURNED = ("mvtec_pill", "l4v_cookies", "bsdata")
Tests = list[tuple[FeatureMaps, tuple[int, int]]]


def turned(path: Path, angle: float) -> Image.Image:
    """Turn an image and fill the corners with the median of its border."""
    image = Image.open(path).convert("RGB")
    values = np.asarray(image)
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    fill = tuple(int(value) for value in np.median(border, axis=0))
    return image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=fill)


def measured(fitted: Scorer, tests: Tests, labels: np.ndarray, n_threads: int, auroc) -> float:
    def score(test: tuple[FeatureMaps, tuple[int, int]]) -> float:
        return fitted.score(fitted.distances(test[0]), test[1])

    return auroc(labels, np.array(list(threads.ordered_map(score, tests, n_threads))))


def run(root: Path, is_turned: bool, seed: int, n_threads: int, evaluate) -> tuple[float, float, Decision]:
    """Return the image AUROC with and without position means, and the decision of `fit`."""
    test_set, rng = _sets.TestSet(root, evaluate), np.random.default_rng(5)
    train: list = [turned(p, rng.uniform(0, 360)) if is_turned else p for p in _sets.train_images(root)]
    test = [turned(p, rng.uniform(0, 360)) if is_turned else p for p in test_set.paths]
    backbone = Backbone(find_spec("lite0"))
    unit_px = feature_maps.unit_px(backbone)
    decided: list[Decision] = []

    with threads.serial_blas(), FeatureStore(2000) as store:
        framing = Framing(extraction.WORKING_AREA_PX, unit_px, one_size=False)
        good = extraction.read(
            Source(train), framing, backbone, store, n_defects=extraction.N_DEFECTS, random_state=seed,
            n_threads=n_threads,
        )  # fmt: skip

        def of_test(image: images.ImageLike) -> tuple[FeatureMaps, tuple[int, int]]:
            loaded = images.read(image)
            size_px = images.working_size(loaded.size_px, good.scale, unit_px)
            return feature_maps.from_pixels(images.to_pixels(loaded, size_px), backbone), size_px

        tests = list(threads.ordered_map(of_test, test, n_threads))
        found = []
        decide = separation.compare
        for kept in (True, False):

            def forced(*scores: np.ndarray, kept: bool = kept) -> Decision:
                decided.append(decide(*scores))
                return Decision(kept, decided[-1].gain, decided[-1].gain_error)

            separation.compare = forced
            product = fit.fit(good, backbone.spec, Settings(random_state=seed, n_threads=n_threads)).product
            assert isinstance(product.scorer, Scorer)
            found.append(measured(product.scorer, tests, test_set.labels, n_threads, evaluate.auroc))
        separation.compare = decide
    return found[0], found[1], decided[0]


def main() -> None:
    parser = _sets.parser(__doc__)
    parser.add_argument("--turned", type=lambda text: text.split(","), default=list(TURNED), metavar="A,B")
    args = parser.parse_args()
    evaluate = _sets.evaluate_module(args)
    n_threads = threads.resolve(None)
    _common.print_machine(n_threads)
    print("| data set | seed | with | without | difference | check | its error | right | chosen |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    for name in _sets.names(args):
        for is_turned in (False, True) if name in args.turned else (False,):
            for seed in args.seeds:
                with_means, without, decision = run(args.data / name, is_turned, seed, n_threads, evaluate)
                chosen = with_means if decision.kept else without
                is_right = chosen == max(with_means, without)
                rows.append((with_means, without, chosen, is_right))
                print(
                    f"| {name}{', turned' * is_turned} | {seed} | {with_means:.4f} | {without:.4f} |"
                    f" {with_means - without:+.4f} | {decision.gain:+.4f} | {decision.gain_error:.4f} |"
                    f" {'yes' if is_right else 'no'} | {chosen:.4f} |",
                    flush=True,
                )
    always, never, chosen, right = np.array(rows, float).T
    lost = np.maximum(always, never) - chosen
    print(
        f"\nMean image AUROC: always {always.mean():.4f}, never {never.mean():.4f}, decided {chosen.mean():.4f};"
        f" {int(right.sum())} of {len(rows)} right; a wrong decision cost {lost[right == 0].mean():.4f} in the mean and"
        f" {lost.max():.4f} at most."
        if len(rows) > right.sum()
        else f"\nAll {len(rows)} decisions were right."
    )


if __name__ == "__main__":
    main()
