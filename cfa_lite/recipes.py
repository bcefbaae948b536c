"""Which stages each recipe is made of: the one place that tells the recipes apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from . import decision, fitting, good_pictures, images, made_up, paper, pipeline
from .arguments import PaperSettings
from .backbone import Backbone
from .feature_store import FeatureStore
from .fitting import Seen
from .good_pictures import Framing, GoodPictures, Progress
from .images import ImageLike
from .level import Learnt
from .pipeline import FeatureMaps, RawMaps

N_DEFECTS = 64  # made-up ones, over all good pictures
_DEFECTS = 20  # stream of chance
PAPER_AREA_PX = 224 * 224  # published: every picture is resized to 224x224


def learn(
    params: Mapping[str, Any],
    given: list[ImageLike],
    network: Backbone,
    store: FeatureStore,
    n_threads: int,
    progress: Progress,
) -> tuple[Learnt, list[tuple[str, str]], list[dict[str, float]]]:
    """Fit `CFA` arguments `params` on pictures; also names and reasons of those left out, and the training report.

    Raises
    ------
    ImageError, ValueError
        See `CFA.fit`.
    """
    if params["recipe"] == "paper":
        pooled = read_for_paper(given, network, store, n_threads, progress)
        learnt, report = _learn_paper(params, pooled, network.spec.sha256, n_threads, progress)
        return learnt, pooled.skipped, report
    ingredients = fitting.NO_ADAPTATION
    if params["recipe"] == "adapted":
        ingredients = fitting.Ingredients(without_atypical=not params["keep_atypical"])
    good = read(given, network, store, params["seed"], ingredients.trained, n_threads, progress)
    learnt = fitting.learn(
        good,
        network.spec.sha256,
        n_centers=params["n_centers"],
        shrinkage=params["shrinkage"],
        background=params["background_share"],
        ingredients=ingredients,
        seed=params["seed"],
        n_threads=n_threads,
        progress=progress,
    )
    return learnt, good.skipped, []


def read(
    given: list[ImageLike],
    network: Backbone,
    store: FeatureStore,
    seed: int,
    with_defects: bool,
    n_threads: int,
    progress: Progress,
) -> GoodPictures[Seen]:
    """Feature maps of good pictures at their scale, and of about `N_DEFECTS` made-up defects painted on them."""

    def extract(i: int, bands: list[Image.Image], size_px: tuple[int, int]) -> Seen:
        pixels = images.to_pixels(bands, size_px)
        seen = Seen(pipeline.maps_of_pixels(pixels, network))
        rng = np.random.default_rng([seed, _DEFECTS, i])
        n_painted = ((i + 1) * N_DEFECTS) // len(given) - (i * N_DEFECTS) // len(given) if with_defects else 0
        for _ in range(n_painted):
            painted, mask = made_up.paint(pixels, rng)
            seen.painted.append((pipeline.maps_of_pixels(painted, network), mask))
        return seen

    def keep(seen: Seen) -> Seen:
        return Seen(_kept(seen.maps, store), [(_kept(maps, store), mask) for maps, mask in seen.painted])

    framing = Framing(fitting.WORKING_AREA_PX, pipeline.unit_px(network), one_size=False)
    return good_pictures.read(given, framing, extract, keep, n_threads, progress)


def _kept(maps: FeatureMaps, store: FeatureStore) -> FeatureMaps:
    return dict(zip(maps, store.keep(list(maps.values()))))


def read_for_paper(
    given: list[ImageLike], network: Backbone, store: FeatureStore, n_threads: int, progress: Progress
) -> GoodPictures[paper.Pooled]:
    """Pooled maps of training pictures, all at one size of 224x224 pixels of area in the median picture's proportions."""
    return good_pictures.read(
        given,
        Framing(PAPER_AREA_PX, network.unit_px, one_size=True),
        lambda i, bands, size_px: paper.pooled_maps(bands, size_px, network),
        store.keep,
        n_threads,
        progress,
    )


def _learn_paper(
    params: Mapping[str, Any],
    good: GoodPictures[paper.Pooled],
    backbone_sha256: str,
    n_threads: int,
    progress: Progress,
) -> tuple[Learnt, list[dict[str, float]]]:
    fit = paper.learn(
        good.kept,
        good.working_sizes_px[0],
        PaperSettings.of(params),
        seed=params["seed"],
        n_threads=n_threads,
        progress=progress,
    )
    limit = decision.limit(fit.held_back_scores)
    # Seconds stay out of what is saved: the same fit gives the same file.
    epochs = [{k: v for k, v in row.items() if k != "seconds"} for row in fit.report]
    learnt = Learnt(
        levels=[],
        threshold=limit,
        map_threshold=limit,  # one map serves for both
        scale=good.scale,
        backbone_sha256=backbone_sha256,
        training=good_pictures.provenance(good, fit.held_back_scores) | {"epochs": epochs},
        paper=fit.model,
    )
    return learnt, fit.report


def raw_maps(learnt: Learnt, background: float, bands: list[Image.Image], network: Backbone, n_threads: int) -> RawMaps:
    """Both maps of a picture (bands of images.read) by what was learnt."""
    if learnt.paper is not None:
        height, width = learnt.training["working_px"]
        pooled = paper.pooled_maps(bands, (height, width), network, n_threads)
        return paper.raw_maps(pooled, learnt.paper, (height, width))
    w, h = bands[0].size
    size = images.working_size((h, w), learnt.scale, pipeline.unit_px(network))
    assert learnt.finish is not None
    return pipeline.raw_maps(bands, size, network, learnt.levels, learnt.finish, background, n_threads)
