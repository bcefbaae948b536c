"""Learning a product: feature maps of good pictures -> fitted levels, and the scores that good pictures get."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import adaptation, decision, descriptor, memory_bank, pipeline, scoring, threads
from .errors import ImageError
from .good_pictures import GoodPictures, Progress, provenance
from .level import Finish, Learnt, Level, LevelKey
from .patches import sample_positions
from .pipeline import FeatureMaps, RawMaps

N_PATCHES = 65536  # learnt from at each level
MIN_PATCHES_PER_CENTER = 4
WORKING_AREA_PX = 256 * 256

# One stream of chance for each purpose, so that a change to one does not move the others.
_POSITIONS, _FOLDS, _CENTERS, _TRAINING = range(4)


@dataclass(frozen=True)
class Seen:
    """What is kept of a good picture: its maps, and those of it with made-up defects, each with their mask."""

    maps: FeatureMaps
    painted: list[tuple[FeatureMaps, np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True)
class Ingredients:
    """What recipe `adapted` does beyond `none`; benchmarks/ablation.py turns each off."""

    trained: bool = True
    spread_weights: bool = True
    position_mean: bool = True
    map_smoothing: float = 2 / 224


NO_ADAPTATION = Ingredients(False, False, False, scoring.SMOOTHING_SHARE)

Fitted = dict[tuple[LevelKey, int], Level]  # by level and the fold left out, -1 for none
Distances = list[dict[LevelKey, np.ndarray]]  # of each held-back picture


def learn(
    good: GoodPictures[Seen],
    backbone_sha256: str,
    *,
    n_centers: int,
    shrinkage: float,
    background: float,
    ingredients: Ingredients,
    seed: int,
    n_threads: int,
    progress: Progress,
) -> tuple[Learnt, np.ndarray]:
    """Fit every level on all pictures, and on all but each fold to score that fold.

    Descriptor and bank are both learnt anew for each fold, so no good picture is scored by anything that has
    seen it; what is shared is two numbers a level (mean and spread of its distances) and which levels moved.

    Returns
    -------
    learnt : Learnt
    held_back_scores : ndarray (n,)
        Raw score of each picture.

    Raises
    ------
    ImageError
        If the pictures do not differ.
    """
    maps = [seen.maps for seen in good.kept]
    keys = pipeline.level_keys(len(maps[0]) // len(pipeline.DIVISORS))
    fold_of = decision.folds(len(maps), np.random.default_rng([seed, _FOLDS]))
    samples = _sample(maps, keys, seed, n_threads)

    def rows_of(key: LevelKey, fold: int) -> np.ndarray:
        rows, owner = samples[key]
        return rows[fold_of[owner] != fold] if fold >= 0 else rows

    def start(key: LevelKey, fold: int) -> Level:
        rows, rng = rows_of(key, fold), np.random.default_rng([seed, _CENTERS, keys.index(key), fold + 1])
        mean, weight = descriptor.shrunk_whitening(rows, shrinkage)
        points = descriptor.describe(rows, mean, weight)
        k_means = memory_bank.kmeans(points, min(n_centers, max(1, len(points) // MIN_PATCHES_PER_CENTER)), rng)
        return Level(key, mean, weight, k_means.centers, distance_mean=1.0)

    tasks = [(key, fold) for key in keys for fold in range(-1, int(fold_of.max()) + 1)]
    fitted = dict(_told(progress, "learning", tasks, lambda task: start(*task), n_threads))
    distances = _held_back(maps, keys, fitted, fold_of, n_threads)
    if not all(any(d[key].any() for d in distances) for key in keys) or _all_alike(maps):
        raise ImageError(
            "The good pictures are all the same picture: how good parts vary cannot be learnt from them."
            " Give different pictures of different good parts."
        )
    moves: list[dict[str, Any]] = []
    if ingredients.trained:

        def train(key: LevelKey, fold: int) -> adaptation.Trained:
            rng = np.random.default_rng([seed, _TRAINING, keys.index(key), fold + 1])
            return adaptation.train(fitted[key, fold], rows_of(key, fold), rng)

        # Training helps the picture's score and costs the map a little: unpooled levels stay as they start.
        pooled = [task for task in tasks if task[0].pooled]
        trained = dict(_told(progress, "training", pooled, lambda task: train(*task), n_threads))
        moves = _keep_what_helps(good.kept, fitted, distances, trained, fold_of, n_threads)
    levels = _weighted([fitted[key, -1] for key in keys], distances, ingredients.spread_weights)
    finish, scores, peaks = _finished(good, distances, levels, background, ingredients, n_threads, progress)
    learnt = Learnt(
        levels=levels,
        threshold=decision.limit(scores),
        map_threshold=decision.limit(peaks),
        scale=good.scale,
        backbone_sha256=backbone_sha256,
        training=provenance(good, scores) | {"moves": moves},
        finish=finish,
    )
    return learnt, scores


def _told(
    progress: Progress, phase: str, tasks: list[Any], call: Callable[[Any], Any], n_threads: int
) -> Iterable[tuple[Any, Any]]:
    """Tasks with their results, in order, telling of progress."""
    for done, (task, result) in enumerate(zip(tasks, threads.ordered_map(call, tasks, n_threads)), 1):
        progress(phase, done, len(tasks))
        yield task, result


def _held_back(
    maps: list[FeatureMaps], keys: list[LevelKey], fitted: Fitted, fold_of: np.ndarray, n_threads: int
) -> Distances:
    """Distance maps of each picture by levels that have not seen it."""

    def one(i: int) -> dict[LevelKey, np.ndarray]:
        return {key: pipeline.distance_map(maps[i], fitted[key, fold_of[i]]) for key in keys}

    return list(threads.ordered_map(one, range(len(maps)), n_threads))


def _keep_what_helps(
    seen: list[Seen],
    fitted: Fitted,
    distances: Distances,
    trained: dict[tuple[LevelKey, int], adaptation.Trained],
    fold_of: np.ndarray,
    n_threads: int,
) -> list[dict[str, Any]]:
    """Put each trained level in the place of its start where made-up defects say so; what was done, for `info`.

    A made-up defect is on a picture that neither version has seen. It stands out by how few patches of held-back
    good pictures are as far away as its farthest one.
    """
    keys = list(dict.fromkeys(key for key, _ in trained))
    after = {task: result.level for task, result in trained.items()}
    after_distances = _held_back([s.maps for s in seen], keys, after, fold_of, n_threads)
    defects = [(i, maps, mask) for i, s in enumerate(seen) for maps, mask in s.painted]

    def peaks(defect: tuple[int, FeatureMaps, np.ndarray]) -> list[list[float]]:
        i, maps, mask = defect
        found = []
        for key in keys:
            where = adaptation.defective_patches(mask, maps[key.divisor, key.output].shape[1:])
            pair = (pipeline.distance_map(maps, levels[key, fold_of[i]]).ravel() for levels in (fitted, after))
            found.append([float(d[where].max()) for d in pair])
        return found

    of_defects = np.array(list(threads.ordered_map(peaks, defects, n_threads)))  # (defects, keys, before and after)
    moves = []
    for k, key in enumerate(keys):
        rare = [
            adaptation.rareness(of_defects[:, k, j], np.sort(np.concatenate([d[key].ravel() for d in of])))
            for j, of in enumerate((distances, after_distances))
        ]
        gain = rare[1] - rare[0]
        result = trained[key, -1]
        kept = bool(result.drift > 0 and gain.mean() > 0)
        moves.append({
            "divisor": key.divisor, "output": key.output, "kept": kept, "drift": result.drift,
            "gain": float(gain.mean()), "gain_error": float(gain.std() / np.sqrt(len(gain))),
            "first_loss": result.first_loss, "last_loss": result.last_loss,
        })  # fmt: skip
        if kept:
            fitted.update({task: level for task, level in after.items() if task[0] == key})
            for before, now in zip(distances, after_distances):
                before[key] = now[key]
    return moves


def _weighted(levels: list[Level], distances: Distances, by_spread: bool) -> list[Level]:
    """Levels with the unit of their distances, and the pooled ones with their weight in the picture's score."""
    means, spreads = {}, {}
    for level in levels:
        values = np.concatenate([d[level.key].ravel() for d in distances])
        means[level.key] = float(values.mean(dtype=np.float64))
        spreads[level.key] = float(values.std(dtype=np.float64))
    # Weights by mean / spread make each level's distances count in units of their spread on good pictures.
    raw = {
        level.key: means[level.key] / spreads[level.key] if by_spread and spreads[level.key] > 0 else 1.0
        for level in levels
        if level.key.pooled
    }
    total = sum(raw.values())
    return [
        replace(level, distance_mean=means[level.key], score_weight=raw.get(level.key, 0.0) / total) for level in levels
    ]


def _finished(
    good: GoodPictures[Seen],
    distances: Distances,
    levels: list[Level],
    background: float,
    ingredients: Ingredients,
    n_threads: int,
    progress: Progress,
) -> tuple[Finish, np.ndarray, np.ndarray]:
    """Position means, and score and map's peak of each held-back picture; its own part is left out of the means.

    Maps are made twice, since those of thousands of pictures would fill the memory.
    """
    plain = Finish(ingredients.map_smoothing)
    sizes = good.working_sizes_px
    grid = scoring.position_grid(sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2])

    def raw(i: int) -> RawMaps:
        return pipeline.combine(distances[i], levels, plain, background, sizes[i])

    def look(i: int) -> tuple[float, float, np.ndarray]:
        both = raw(i)
        return both.score, float(both.both.max()), scoring.cell_means(both.pooled, grid)

    looked = [found for _, found in _told(progress, "checking", list(range(len(sizes))), look, n_threads)]
    scores, peaks = (np.array([found[j] for found in looked]) for j in (0, 1))
    if not ingredients.position_mean:
        return plain, scores, peaks
    cells = [found[2].astype(np.float64) for found in looked]
    total = np.sum(cells, axis=0)

    def score(i: int) -> float:
        others = scoring.position_mean(total - cells[i], len(cells) - 1)
        return float(scoring.remove_position_mean(raw(i).pooled, others).max())

    scores = np.array(list(threads.ordered_map(score, range(len(sizes)), n_threads)))
    return replace(plain, position_mean=scoring.position_mean(total, len(cells))), scores, peaks


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
