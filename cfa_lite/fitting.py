"""Learning a product: feature maps of good pictures -> fitted levels, and the scores that good pictures get."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import onnxruntime
import PIL
from PIL import Image

from . import decision, descriptor, images, memory_bank, pipeline, threads
from ._version import __version__
from .errors import ImageError
from .images import ImageLike
from .level import Learnt, Level, LevelKey
from .patches import sample_positions
from .pipeline import FeatureMaps

N_PATCHES = 65536  # learnt from at each level
MIN_PATCHES_PER_CENTER = 4

T = TypeVar("T")  # what is kept of a picture

WORKING_AREA_PX = 256 * 256

Progress = Callable[[str, int, int], None]

# One stream of chance for each purpose, so that a change to one does not move the others.
_POSITIONS, _FOLDS, _CENTERS = range(3)


@dataclass(frozen=True)
class GoodPictures(Generic[T]):
    """Training pictures as far as they could be used.

    `maps`, `sizes_px` and `working_sizes_px` have one entry a picture used; `scale` is working pixels a
    picture pixel; `skipped` holds name and message of each picture left out.
    """

    maps: list[T]
    sizes_px: list[tuple[int, int]]
    working_sizes_px: list[tuple[int, int]]
    scale: float
    skipped: list[tuple[str, str]]


@dataclass(frozen=True)
class Framing:
    """How a recipe sees pictures: the median area they are brought to, the unit of their sides, and whether
    all get one size (published) or one scale."""

    area_px: int
    unit_px: int
    one_size: bool


def read(
    given: list[ImageLike],
    framing: Framing,
    extract: Callable[[list[Image.Image], tuple[int, int]], T],
    keep: Callable[[T], T],
    n_threads: int,
    progress: Progress,
) -> GoodPictures[T]:
    """Read all pictures at the one scale that brings their median area to `framing.area_px`.

    `extract` makes of a picture's bands and working size what is kept of it, `keep` puts that where there is room.

    Raises
    ------
    ImageError
        If fewer than 2 pictures can be used.
    """
    names = [images.name_of(image, i) for i, image in enumerate(given)]
    skipped: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for i, image in enumerate(given):
        try:
            sizes[i] = images.size_of(image, names[i])
        except ImageError as error:
            skipped[i] = str(error)
    _check_count(len(given), skipped)
    scale = float(np.sqrt(framing.area_px / np.median([h * w for h, w in sizes.values()])))
    middle = sorted(sizes.values(), key=lambda size: size[0] * size[1])[len(sizes) // 2]
    working = {
        i: images.working_size(middle if framing.one_size else size, scale, framing.unit_px)
        for i, size in sizes.items()
    }

    def extract_one(i: int) -> T | ImageError:
        try:
            bands = images.read(given[i], names[i])
        except ImageError as error:
            return error
        return extract(bands, working[i])

    maps: dict[int, T] = {}
    for done, (i, found) in enumerate(zip(sizes, threads.ordered_map(extract_one, sizes, n_threads)), 1):
        if isinstance(found, ImageError):
            skipped[i] = str(found)
        else:
            maps[i] = keep(found)
        progress("reading", done, len(sizes))
    _check_count(len(given), skipped)
    return GoodPictures(
        maps=list(maps.values()),
        sizes_px=[sizes[i] for i in maps],
        working_sizes_px=[working[i] for i in maps],
        scale=scale,
        skipped=[(names[i], skipped[i]) for i in sorted(skipped)],
    )


def _check_count(n_given: int, skipped: dict[int, str]) -> None:
    n_usable = n_given - len(skipped)
    if n_usable < 2:
        reasons = "".join(f"\n  {message}" for message in list(skipped.values())[:3])
        raise ImageError(
            f"{n_usable} of {n_given} pictures can be used; at least 2 good ones are needed, 20 or more are"
            f" better.{reasons}"
        )


def learn(
    good: GoodPictures[FeatureMaps],
    backbone_sha256: str,
    *,
    n_centers: int,
    shrinkage: float,
    background: float,
    seed: int,
    n_threads: int,
    progress: Progress,
) -> Learnt:
    """Fit every level on all pictures, and on all but each fold to score that fold.

    Descriptor and bank are both learnt anew for each fold, so no good picture is scored by anything
    that has seen it; only `distance_mean`, one number a level, is shared.

    Raises
    ------
    ImageError
        If the pictures do not differ.
    """
    maps = good.maps
    keys = pipeline.level_keys(len(maps[0]) // len(pipeline.DIVISORS))
    fold_of = decision.folds(len(maps), np.random.default_rng([seed, _FOLDS]))
    n_folds = int(fold_of.max()) + 1
    samples = _sample(maps, keys, seed, n_threads)

    tasks = [(k, fold) for k in range(len(keys)) for fold in range(-1, n_folds)]

    def fit_one(task: tuple[int, int]) -> Level:
        k, fold = task
        rows, owner = samples[keys[k]]
        rows = rows[fold_of[owner] != fold] if fold >= 0 else rows
        rng = np.random.default_rng([seed, _CENTERS, k, fold + 1])
        mean, weight = descriptor.shrunk_whitening(rows, shrinkage)
        points = descriptor.describe(rows, mean, weight)
        k_means = memory_bank.kmeans(points, min(n_centers, max(1, len(points) // MIN_PATCHES_PER_CENTER)), rng)
        return Level(keys[k], mean, weight, k_means.centers, distance_mean=1.0)

    fitted: dict[tuple[int, int], Level] = {}
    for done, (task, level) in enumerate(zip(tasks, threads.ordered_map(fit_one, tasks, n_threads)), 1):
        fitted[task] = level
        progress("learning", done, len(tasks))

    def held_back_distances(i: int) -> dict[LevelKey, np.ndarray]:
        return {key: pipeline.distance_map(maps[i], fitted[k, fold_of[i]]) for k, key in enumerate(keys)}

    distances = []
    for found in threads.ordered_map(held_back_distances, range(len(maps)), n_threads):
        distances.append(found)
        progress("checking", len(distances), len(maps))
    units = {key: float(np.mean([d[key].mean(dtype=np.float64) for d in distances])) for key in keys}
    if not min(units.values()) > 0 or _all_alike(maps):
        raise ImageError(
            "The good pictures are all the same picture: how good parts vary cannot be learnt from them."
            " Give different pictures of different good parts."
        )
    raw = [pipeline.combine(d, units, size, background) for d, size in zip(distances, good.working_sizes_px)]
    scores = np.array([r.score for r in raw])
    return Learnt(
        levels=[replace(fitted[k, -1], distance_mean=units[key]) for k, key in enumerate(keys)],
        threshold=decision.limit(scores),
        map_threshold=decision.limit([float(r.both.max()) for r in raw]),
        scale=good.scale,
        backbone_sha256=backbone_sha256,
        training=provenance(good, scores),
    )


def _sample(
    maps: list[FeatureMaps], keys: list[LevelKey], seed: int, n_threads: int
) -> dict[LevelKey, tuple[np.ndarray, np.ndarray]]:
    """Patch features (n, c) to learn from at each level, and the picture (n,) that each is of.

    A level with and one without pooling see the same positions.
    """

    def sample_one(key: LevelKey) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, _POSITIONS, key.divisor, key.output])
        grids = [m[key.divisor, key.output].shape[1:] for m in maps]
        positions = sample_positions(grids, N_PATCHES, rng)
        rows = [pipeline.level_patches(m, key)[p] for m, p in zip(maps, positions)]
        owner = np.repeat(np.arange(len(maps)), [len(p) for p in positions])
        return np.concatenate(rows), owner

    return dict(zip(keys, threads.ordered_map(sample_one, keys, n_threads)))


def _all_alike(maps: list[FeatureMaps]) -> bool:
    first = maps[0]
    return all(np.array_equal(m[key], first[key]) for m in maps[1:] for key in first)


def provenance(good: GoodPictures, scores: np.ndarray) -> dict[str, Any]:
    """What a model tells of its training pictures; JSON types only."""
    by_area = sorted(zip(good.sizes_px, good.working_sizes_px), key=lambda sizes: sizes[0][0] * sizes[0][1])
    return {
        "n_images": len(by_area),
        "n_skipped": len(good.skipped),
        "smallest_px": list(by_area[0][0]),
        "largest_px": list(by_area[-1][0]),
        "working_px": list(by_area[len(by_area) // 2][1]),
        "held_back_scores": {
            "lowest": float(scores.min()),
            "median": float(np.median(scores)),
            "highest": float(scores.max()),
        },
        "versions": {
            "cfa_lite": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "pillow": PIL.__version__,
        },
    }
