"""Which stages each recipe is made of: the one place that tells the recipes apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from . import decision, fitting, images, paper, pipeline
from .arguments import PaperSettings
from .backbone import Backbone
from .feature_store import FeatureStore
from .fitting import Framing, Progress
from .images import ImageLike
from .level import Learnt
from .pipeline import RawMaps

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
    good = fitting.read(
        given,
        Framing(fitting.WORKING_AREA_PX, pipeline.unit_px(network), one_size=False),
        lambda bands, size_px: pipeline.feature_maps(bands, size_px, network),
        lambda maps: dict(zip(maps, store.keep(list(maps.values())))),
        n_threads,
        progress,
    )
    learnt = fitting.learn(
        good,
        network.spec.sha256,
        n_centers=params["n_centers"],
        shrinkage=params["shrinkage"],
        background=params["background_share"],
        seed=params["seed"],
        n_threads=n_threads,
        progress=progress,
    )
    return learnt, good.skipped, []


def read_for_paper(
    given: list[ImageLike], network: Backbone, store: FeatureStore, n_threads: int, progress: Progress
) -> fitting.GoodPictures[paper.Pooled]:
    """Pooled maps of training pictures, all at one size of 224x224 pixels of area in the median picture's proportions."""
    return fitting.read(
        given,
        Framing(PAPER_AREA_PX, network.unit_px, one_size=True),
        lambda bands, size_px: paper.pooled_maps(bands, size_px, network),
        store.keep,
        n_threads,
        progress,
    )


def _learn_paper(
    params: Mapping[str, Any],
    good: fitting.GoodPictures[paper.Pooled],
    backbone_sha256: str,
    n_threads: int,
    progress: Progress,
) -> tuple[Learnt, list[dict[str, float]]]:
    fit = paper.learn(
        good.maps,
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
        training=fitting.provenance(good, fit.held_back_scores) | {"epochs": epochs},
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
    return pipeline.raw_maps(bands, size, network, learnt.levels, background, n_threads)
