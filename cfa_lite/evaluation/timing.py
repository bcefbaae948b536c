"""How long an image takes on this computer, by a fitted model and by each preset."""

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

from .. import presets
from ..errors import CfaLiteError
from ..estimator import CFA
from ..features.backbone import Backbone, find_spec
from ..fitted import Level
from ..inference import scorer
from ..presets import PRESETS
from ..report import outputs

N_IMAGES = 16
MIN_ROUNDS, MAX_ROUNDS = 5, 40
MAX_SECONDS = 30.0  # after the fewest rounds
STARTS = 3
_AT_ONCE = 4  # images a thread, of a folder
_FAR = 1e9  # a limit that no image exceeds


@dataclass(frozen=True)
class Timing:
    """Milliseconds an image, from its file to its verdict.

    Attributes
    ----------
    preset : str
    fitted : bool
        Whether this is the model itself; otherwise one of like shape that holds random numbers.
    n_threads : int
    at_once : bool
        Whether several images of a folder were worked at once, each on one thread.
    median, slow : float
        `slow` is what 95 of 100 images take at most; of a folder, 95 of 100 rounds.
    """

    preset: str
    fitted: bool
    n_threads: int
    at_once: bool
    median: float
    slow: float

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


def compared(model: CFA, images: Sequence[Path], n_threads: Sequence[int]) -> list[Timing]:
    """Time the model and the other presets, in turn, so that what slows the computer slows all of them.

    A recipe whose size is published has no presets.
    """
    speeds = [speed for speed in PRESETS if speed == model.speed or model.recipe != "paper"]
    models = {speed: model if speed == model.speed else stand_in(model, speed) for speed in speeds}
    ways = [(speed, n, False) for speed in models for n in n_threads]
    ways += [(speed, n, True) for speed in models for n in n_threads if n > 1]
    taken: dict[tuple[str, int, bool], list[float]] = {way: [] for way in ways}
    start = time.perf_counter()
    before = model.threads
    try:
        for done in range(MAX_ROUNDS + 1):
            for speed, n, at_once in ways:
                one = models[speed]
                one.threads = n
                some = [images[(done + i) % len(images)] for i in range(_AT_ONCE * n if at_once else 1)]
                began = time.perf_counter()
                for _ in one.inspect_many(some) if at_once else [one.inspect(some[0])]:
                    pass
                if done:  # the first round fills caches
                    taken[speed, n, at_once].append((time.perf_counter() - began) * 1000 / len(some))
            if done >= MIN_ROUNDS and time.perf_counter() - start > MAX_SECONDS:
                break
    finally:
        model.threads = before
    return [
        Timing(speed, speed == model.speed, n, at_once, float(np.median(ms)), float(np.quantile(ms, 0.95)))
        for (speed, n, at_once), ms in taken.items()
    ]


def stand_in(model: CFA, speed: str) -> CFA:
    """A model that takes as long as one fitted with preset `speed` would; its levels hold random numbers.

    What was given by hand at the fit stands. No image is NG by it, so its regions take no time.
    """
    used, own, wanted = presets.resolved(model.get_params()), asdict(PRESETS[model.speed]), asdict(PRESETS[speed])
    changed = {name: value for name, value in wanted.items() if used[name] == own[name]}
    other = CFA(**(model.get_params() | {"speed": speed} | changed))
    settings = presets.resolved(other.get_params())
    network = Backbone(find_spec(settings["backbone"]))
    rng = np.random.default_rng(0)
    keys = scorer.level_keys(len(network.spec.outputs))
    levels = []
    for key in keys:
        c = network.spec.outputs[key.output][1]
        weight = rng.standard_normal((c, c), np.float32) / np.float32(c**0.5)
        centers = rng.standard_normal((settings["n_centers"], c), np.float32)
        levels.append(Level(key, np.zeros(c, np.float32), weight, centers, 1.0, 2 / len(keys) if key.pooled else 0.0))
    learnt = model._learnt()
    fixed = "size" not in changed or model.smallest_defect is not None
    other._adopt(
        replace(
            learnt,
            levels=levels,
            limits=replace(learnt.limits, threshold=_FAR, unsure_threshold=_FAR),
            scale=learnt.scale * (1 if fixed else settings["size"] / used["size"]),
        )
    )
    other._open_backbone = network
    return other


def draw(model: CFA, folder: Path) -> list[Path]:
    """PNG files of the size that the model's good images have; what they show does not matter."""
    made = model.training_
    h, w = (sum(sides) // 2 for sides in zip(made["smallest_px"], made["largest_px"]))
    rng = np.random.default_rng(0)
    channels = () if made["looks"]["all_grey"] else (3,)
    slope = np.linspace(60, 180, w).reshape(1, w, *(1 for _ in channels))
    paths = []
    for i in range(N_IMAGES):
        paths.append(folder / f"{i}.png")
        outputs.write_image(
            Image.fromarray((slope + rng.normal(0, 8, (h, w, *channels))).clip(0, 255).astype(np.uint8)), paths[-1]
        )
    return paths


def cold_start(part: Path, image: Path, backbone: Path | None) -> float:
    """Seconds of a whole ``cfa-lite score`` of one image, with everything compiled: median of some.

    Raises
    ------
    CfaLiteError
        If it fails.
    """
    moved = [] if backbone is None else ["--backbone", os.fspath(backbone)]
    command = [sys.executable, "-m", "cfa_lite", "score", os.fspath(part), os.fspath(image), *moved]
    taken = []
    for _ in range(STARTS + 1):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        taken.append(time.perf_counter() - start)
        if done.returncode:
            raise CfaLiteError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return float(np.median(taken[1:]))


def within(timings: Sequence[Timing], budget_ms: float) -> Timing | None:
    """The one to take: within the budget for 95 of 100 images, on the fewest threads, of these the most accurate."""
    fitting = [t for t in timings if not t.at_once and t.slow <= budget_ms]
    return min(fitting, key=lambda t: (t.n_threads, list(PRESETS).index(t.preset)), default=None)
