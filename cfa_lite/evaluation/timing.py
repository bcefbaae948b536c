"""Time per image on this computer, by a fitted model and by each preset."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import parameters
from ..base.detector import Detector
from ..errors import CfaLiteError
from ..estimator import CFA
from ..features import feature_maps
from ..features.backbone import Backbone
from ..features.feature_maps import LevelKey
from ..features.manifest import find_spec
from ..inference.levels import Level
from ..method import cells
from ..parameters import PRESETS
from ..training.framing import Framing

N_IMAGES = 16
MIN_ROUNDS, MAX_ROUNDS = 5, 40
MAX_SECONDS = 30.0  # no further round starts after this, once MIN_ROUNDS are done
STARTS = 3
_AT_ONCE = 4  # images per thread when several are inspected at once
_UNREACHABLE = 1e9  # a limit that no image exceeds


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image, from its file to its verdict.

    Attributes
    ----------
    preset : str
    fitted : bool
        Whether the model itself was timed, or one of the same shape that holds random numbers.
    n_threads : int
    at_once : bool
        Whether several images were inspected at once, each on one thread.
    median, slow : float
        Median and 95th percentile over the images; over the rounds if several images were inspected at once.
    """

    preset: str
    fitted: bool
    n_threads: int
    at_once: bool
    median: float
    slow: float

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, JSON types only."""
        return asdict(self)


def compared(model: Detector, images: Sequence[Path], n_threads: Sequence[int]) -> list[Timing]:
    """Time the model and the other presets in turn, so that a slow phase of the computer affects all of them.

    `PublishedCFA` has no presets; it is timed alone, under the preset name "published".
    """
    models: dict[str, Detector] = {"published": model}
    if isinstance(model, CFA):
        models = {preset: model if preset == model.preset else stand_in(model, preset) for preset in PRESETS}
    ways = [(preset, n, False) for preset in models for n in n_threads]
    ways += [(preset, n, True) for preset in models for n in n_threads if n > 1]
    taken: dict[tuple[str, int, bool], list[float]] = {way: [] for way in ways}
    start, before = time.perf_counter(), model.threads
    try:
        for done in range(MAX_ROUNDS + 1):
            for preset, n, at_once in ways:
                one = models[preset]
                one.threads = n
                some = [images[(done + i) % len(images)] for i in range(_AT_ONCE * n if at_once else 1)]
                began = time.perf_counter()
                for _ in one.inspect_many(some) if at_once else [one.inspect(some[0])]:
                    pass
                if done:  # the first round fills caches
                    taken[preset, n, at_once].append((time.perf_counter() - began) * 1000 / len(some))
            if done >= MIN_ROUNDS and time.perf_counter() - start > MAX_SECONDS:
                break
    finally:
        model.threads = before
    return [
        Timing(preset, models[preset] is model, n, at_once, float(np.median(ms)), float(np.quantile(ms, 0.95)))
        for (preset, n, at_once), ms in taken.items()
    ]


def stand_in(model: CFA, preset: str) -> CFA:
    """Return a model that takes as long as one that was fitted with `preset`; its levels hold random numbers.

    Parameters that were given explicitly at the fit are kept. No image is NG, so regions take no time.
    """
    used, own = parameters.resolved(model._table_params()), asdict(PRESETS[model.preset])
    wanted = asdict(PRESETS[preset])
    return stand_in_with(model, preset, {name: value for name, value in wanted.items() if used[name] == own[name]})


def stand_in_with(model: CFA, preset: str, changed: dict[str, Any]) -> CFA:
    """Return a stand-in for `preset` of which only the parameters `changed` differ from those of the model."""
    other = CFA(**(model._table_params() | {"preset": preset} | changed))
    settings = parameters.resolved(other._table_params())
    backbone = Backbone(find_spec(settings["backbone"]))
    keys = feature_maps.level_keys(len(backbone.spec.outputs), settings["n_scales"])
    rng = np.random.default_rng(0)
    levels = tuple(_random_level(key, backbone, settings["n_centers"], 2 / len(keys), rng) for key in keys)
    product = model.fitted_
    scale = product.scorer.scale
    if "size" in changed and model.smallest_defect is None:
        scale = Framing(settings["size"] ** 2, 1, False, enlarges=False).scale([usual_size(model)])
    other._adopt(
        replace(
            product,
            scorer=replace(product.scorer, levels=levels, scale=scale),  # type: ignore[type-var]
            limits=replace(product.limits, threshold=_UNREACHABLE, unsure_threshold=_UNREACHABLE),
        ),
        backbone,
    )
    return other


def _random_level(
    key: LevelKey, backbone: Backbone, n_centers: int, score_weight: float, rng: np.random.Generator
) -> Level:
    c = backbone.spec.outputs[key.output].channels
    weight = rng.standard_normal((c, c), np.float32) / np.float32(c**0.5)
    centers = rng.standard_normal((n_centers, c), np.float32)
    found = cells.fit(centers, centers)
    return Level(key, np.zeros(c, np.float32), weight, centers, 1.0, score_weight if key.pooled else 0.0, found)


def usual_size(model: Detector) -> tuple[int, int]:
    """Return the height and width halfway between the smallest and the largest good image."""
    good = model.fitted_.statistics
    h, w = (sum(sides) // 2 for sides in zip(good.smallest_px, good.largest_px))
    return h, w


def draw(model: Detector, folder: Path) -> list[Path]:
    """Write PNG files of the size of the model's good images. Their content does not matter."""
    good = model.fitted_.statistics
    h, w = usual_size(model)
    rng = np.random.default_rng(0)
    channels = () if good.all_gray else (3,)
    slope = np.linspace(60, 180, w).reshape(1, w, *(1 for _ in channels))
    paths = []
    for i in range(N_IMAGES):
        paths.append(folder / f"{i}.png")
        values = (slope + rng.normal(0, 8, (h, w, *channels))).clip(0, 255).astype(np.uint8)
        Image.fromarray(values).save(paths[-1])
    return paths


def cold_start(part: Path, image: Path, backbone: Path | None) -> float:
    """Return the seconds of a whole ``cfa-lite score`` of one image, with everything compiled: the median of a few.

    Raises
    ------
    CfaLiteError
        If the command fails.
    """
    moved = [] if backbone is None else ["--backbone", os.fspath(backbone)]
    command = [sys.executable, "-m", "cfa_lite", "score", os.fspath(part), os.fspath(image), *moved]
    taken = []
    for _ in range(STARTS + 1):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        taken.append(time.perf_counter() - start)
        if done.returncode:
            raise CfaLiteError(f"{' '.join(command)} failed with exit code {done.returncode}: {done.stderr.strip()}")
    return float(np.median(taken[1:]))


def is_within(timing: Timing, budget_ms: float) -> bool:
    """Tell whether 95% of the images are within the budget, by the one decimal that is shown."""
    return not timing.at_once and round(timing.slow, 1) <= budget_ms


def within(timings: Sequence[Timing], budget_ms: float) -> Timing | None:
    """Select a timing within the budget for 95% of the images: the fewest threads, then the most accurate preset."""
    order = list(PRESETS)
    fitting = [t for t in timings if is_within(t, budget_ms)]
    return min(fitting, key=lambda t: (t.n_threads, order.index(t.preset) if t.preset in order else 0), default=None)
