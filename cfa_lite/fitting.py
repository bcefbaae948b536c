"""Learning a product: feature maps of good pictures -> fitted levels, and the scores that good pictures get."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import adaptation, decision, grids, images, pipeline, scoring, threads
from .cross_fit import CrossFit, Distances, Fitted
from .errors import ImageError
from .good_pictures import GoodPictures, Progress, provenance
from .level import Finish, Learnt, Level
from .pipeline import FeatureMaps

WORKING_AREA_PX = 256 * 256


@dataclass(frozen=True)
class Seen:
    """What is kept of a good picture: its maps, and those of it with made-up defects, each with their mask."""

    maps: FeatureMaps
    painted: list[tuple[FeatureMaps, np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True)
class Ingredients:
    """What recipe `adapted` does beyond `none`; benchmarks/ablation.py turns each off."""

    without_atypical: bool = True
    trained: bool = True
    spread_weights: bool = True
    position_mean: bool = True
    map_smoothing: float = 2 / 224


NO_ADAPTATION = Ingredients(False, False, False, False, scoring.SMOOTHING_SHARE)


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
) -> Learnt:
    """Fit every level on all pictures, and on all but each fold to score that fold.

    Descriptor and bank are both learnt anew for each fold, so no good picture is scored by anything that has
    seen it; what is shared is two numbers a level (mean and spread of its distances) and which levels moved.
    Pooled levels come first: they make the scores that tell which pictures are far out.

    Raises
    ------
    ImageError
        If the pictures do not differ.
    """
    finishing = Finishing(background, ingredients, n_threads, progress)
    every = good
    out = np.zeros(len(good.kept), bool)
    cross, fitted, distances = _start(good, n_centers, shrinkage, seed, n_threads, progress)
    if ingredients.without_atypical:
        out = decision.far_out(finishing.scores(good, distances, _weighted(fitted, distances, ingredients))[1])
        if out.any():
            good = good.only(~out)
            cross, fitted, distances = _start(good, n_centers, shrinkage, seed, n_threads, progress)
    moves: list[dict[str, Any]] = []
    if ingredients.trained:
        # Training helps the picture's score and costs the map a little: unpooled levels stay as they start.
        moves = _keep_what_helps(good.kept, cross, fitted, distances, n_threads)
    unpooled = [key for key in cross.keys if not key.pooled]
    fitted |= cross.start(unpooled, n_centers, shrinkage)
    for pooled, others in zip(distances, cross.held_back(unpooled, fitted)):
        pooled |= others
    levels = _weighted(fitted, distances, ingredients)
    finish, scores = finishing.scores(good, distances, levels)
    threshold = decision.limit(scores)
    training = provenance(good, scores) | {"moves": moves}
    if out.any():
        training["atypical"] = _named(every.only(out), levels, finish, background, threshold)
    return Learnt(
        levels=levels,
        threshold=threshold,
        map_threshold=decision.limit(finishing.peaks(good, distances, levels, finish)),
        scale=good.scale,
        backbone_sha256=backbone_sha256,
        training=training,
        finish=finish,
    )


def _named(
    out: GoodPictures[Seen], levels: list[Level], finish: Finish, background: float, threshold: float
) -> list[dict[str, Any]]:
    """Pictures that were left out with their score, the highest first."""
    named = []
    for seen, name, size_px in zip(out.kept, out.names, out.working_sizes_px):
        distances = pipeline.distance_maps(seen.maps, levels)
        score = float(pipeline.score_map(distances, levels, finish, background, size_px).max()) / threshold
        named.append({"name": os.path.basename(name), "score": score})
    return sorted(named, key=lambda entry: -entry["score"])


def _start(
    good: GoodPictures[Seen],
    n_centers: int,
    shrinkage: float,
    seed: int,
    n_threads: int,
    progress: Progress,
) -> tuple[CrossFit, Fitted, Distances]:
    """Pooled levels as they start, with their held-back distances."""
    cross = CrossFit([seen.maps for seen in good.kept], seed, n_threads, progress)
    keys = [key for key in cross.keys if key.pooled]
    fitted = cross.start(keys, n_centers, shrinkage)
    distances = cross.held_back(keys, fitted)
    if not all(any(d[key].any() for d in distances) for key in keys) or _all_alike(cross.maps):
        raise ImageError(
            "The good pictures are all the same picture: how good parts vary cannot be learnt from them."
            " Give different pictures of different good parts."
        )
    return cross, fitted, distances


def _keep_what_helps(
    seen: list[Seen], cross: CrossFit, fitted: Fitted, distances: Distances, n_threads: int
) -> list[dict[str, Any]]:
    """Train levels and put each in the place of its start where made-up defects say so; what was done, for `info`.

    A made-up defect is on a picture that neither version has seen. It stands out by how few patches of held-back
    good pictures are as far away as its farthest one.
    """
    defects = [(i, maps, mask) for i, s in enumerate(seen) for maps, mask in s.painted]
    if not defects:  # they were painted on pictures that could not be used: nothing can be checked
        return []
    trained = cross.train(fitted)
    keys = list(dict.fromkeys(key for key, _ in trained))
    after = {task: result.level for task, result in trained.items()}
    after_distances = cross.held_back(keys, after)

    def peaks(defect: tuple[int, FeatureMaps, np.ndarray]) -> list[list[float]]:
        i, maps, mask = defect
        found = []
        for key in keys:
            where = adaptation.defective_patches(mask, maps[key.divisor, key.output].shape[1:])
            pair = (pipeline.distance_map(maps, levels[key, cross.fold_of[i]]).ravel() for levels in (fitted, after))
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


def _weighted(fitted: Fitted, distances: Distances, ingredients: Ingredients) -> list[Level]:
    """Levels of all pictures with the unit of their distances, and the pooled ones with their weight in the score."""
    levels = [level for (_, fold), level in fitted.items() if fold == -1]
    means, spreads = {}, {}
    for level in levels:
        values = np.concatenate([d[level.key].ravel() for d in distances])
        means[level.key] = float(values.mean(dtype=np.float64))
        spreads[level.key] = float(values.std(dtype=np.float64))
    # Weights by mean / spread make each level's distances count in units of their spread on good pictures.
    raw = {
        key: means[key] / spreads[key] if ingredients.spread_weights and spreads[key] > 0 else 1.0
        for key in means
        if key.pooled
    }
    total = sum(raw.values())
    return [
        replace(level, distance_mean=means[level.key], score_weight=raw.get(level.key, 0.0) / total) for level in levels
    ]


@dataclass(frozen=True)
class Finishing:
    """What follows the distances of held-back pictures."""

    background: float
    ingredients: Ingredients
    n_threads: int
    progress: Progress

    def scores(self, good: GoodPictures[Seen], distances: Distances, levels: list[Level]) -> tuple[Finish, np.ndarray]:
        """Position means, and the score (n,) of each picture, which uses those without its own part.

        Maps are made twice, since those of thousands of pictures would fill the memory.
        """
        plain = Finish(self.ingredients.map_smoothing)
        sizes = good.working_sizes_px
        grid = scoring.position_grid(images.middle_size(sizes))

        def score_map(i: int) -> np.ndarray:
            return pipeline.score_map(distances[i], levels, plain, self.background, sizes[i])

        if not self.ingredients.position_mean:
            return plain, self._each(lambda i: float(score_map(i).max()), len(sizes))
        cells = self._each(lambda i: grids.cell_means(score_map(i), grid).astype(np.float64), len(sizes))
        total = np.sum(cells, axis=0)

        def score(i: int) -> float:
            others = scoring.position_mean(total - cells[i], len(cells) - 1)
            return float(scoring.remove_position_mean(score_map(i), others).max())

        finish = replace(plain, position_mean=scoring.position_mean(total, len(cells)))
        return finish, self._each(score, len(sizes))

    def peaks(self, good: GoodPictures[Seen], distances: Distances, levels: list[Level], finish: Finish) -> np.ndarray:
        """Maximum (n,) of the map that is shown of each picture."""
        sizes = good.working_sizes_px
        return self._each(
            lambda i: float(pipeline.shown_map(distances[i], levels, finish, self.background, sizes[i]).max()),
            len(sizes),
        )

    def _each(self, call: Callable[[int], Any], n: int) -> np.ndarray:
        found = []
        for one in threads.ordered_map(call, range(n), self.n_threads):
            found.append(one)
            self.progress("checking", len(found), n)
        return np.array(found)


def _all_alike(maps: list[FeatureMaps]) -> bool:
    first = maps[0]
    return all(np.array_equal(m[key], first[key]) for m in maps[1:] for key in first)
