"""What is learnt to and from a ``.cfa`` file."""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np

from ..errors import ArchiveError, ImageError
from ..features import mask as mask_
from ..features.images import ValueRange
from ..fitted import Finish, Learnt, Level, LevelKey, PaperModel
from ..inference import scorer
from ..method.limits import Limits
from . import archive

_PAPER_ARRAYS = ("weight", "bias", "centers")
_MAX_SIDE_PX = 1 << 20  # of a working size


def save(path: str | os.PathLike, params: dict[str, Any], learnt: Learnt) -> None:
    """Write arguments (JSON types only) and what was learnt with them to `path`, whole or not at all.

    Raises
    ------
    ArchiveError
        If the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for i, level in enumerate(learnt.levels):
        arrays |= {f"{i}_mean": level.mean, f"{i}_weight": level.weight, f"{i}_centers": level.centers}
    if learnt.finish is not None and learnt.finish.position_mean is not None:
        arrays["position_mean"] = learnt.finish.position_mean
    arrays |= {"good_scores": learnt.good_scores, "good_groups": learnt.good_groups}
    if learnt.area is not None:
        arrays["area"] = learnt.area.packed()
    if learnt.paper is not None:
        arrays |= {name: getattr(learnt.paper, name) for name in _PAPER_ARRAYS}
    archive.write(path, {"params": params, **learnt.to_dict()}, arrays)


def load(path: str | os.PathLike) -> tuple[dict[str, Any], Learnt]:
    """Read back what `save` wrote; everything is checked.

    Raises
    ------
    ArchiveError
        If the file is missing, damaged or foreign.
    """
    meta, arrays = archive.read(path)
    try:
        params = dict(meta["params"])
        if not isinstance(params["backbone"], str):
            raise ValueError(f"backbone is {params['backbone']!r}")
        return params, _restore(meta, arrays)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, ImageError, zlib.error) as error:
        raise ArchiveError(
            f"{path} is damaged ({type(error).__name__}: {error}). Copy it again, or fit again."
        ) from error


def _restore(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Learnt:
    levels = [_level(i, entry, arrays) for i, entry in enumerate(meta["levels"])]
    paper = None if meta["paper"] is None else _paper(meta["paper"], arrays)
    finish = _finish(meta, arrays) if levels else None
    area = arrays.pop("area", None)
    good_scores, good_groups = arrays.pop("good_scores"), arrays.pop("good_groups")
    if good_scores.ndim != 1 or not len(good_scores) or good_scores.shape != good_groups.shape:
        raise ValueError(f"the good images' scores have shapes {good_scores.shape}, {good_groups.shape}")
    keys = [level.key for level in levels]
    n_outputs = min(max((key.output for key in keys), default=-1) + 1, len(keys))  # a huge one is not listed
    wanted = scorer.level_keys(n_outputs)
    if arrays or bool(keys) == bool(paper) or sorted(keys) != sorted(wanted):
        raise ValueError("levels or arrays are missing or too many")
    training = dict(meta["training"])
    for size in ("smallest_px", "largest_px", "working_px", "height_px", "width_px"):
        first, second = training[size]
        _positive(first, size), _positive(second, size)
    for name in ("darkest", "brightest", "blurriest", "highest", "all_grey", "none_grey"):
        if not np.isfinite(training["looks"][name]):
            raise ValueError(f"{name} is {training['looks'][name]!r}")
    scale = _positive(meta["scale"], "scale")
    if scale * max(training["largest_px"]) > _MAX_SIDE_PX:
        raise ValueError(f"scale is {scale!r}")
    return Learnt(
        levels=levels,
        limits=_limits(meta["limits"]),
        good_scores=good_scores,
        good_groups=good_groups.astype(np.int64),
        scale=scale,
        backbone_sha256=str(meta["backbone_sha256"]),
        training=training,
        finish=finish,
        paper=paper,
        area=None if area is None else mask_.unpacked(area, tuple(training["largest_px"])),
        value_range=_range(meta["value_range"]),
        history=[_limits(entry).to_dict() for entry in meta["history"]],
    )


def _range(given: Any) -> ValueRange | None:
    if given is None:
        return None
    low, high = (float(value) for value in given)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"value_range is {given!r}")
    return low, high


def _limits(entry: dict[str, Any]) -> Limits:
    found = Limits(**entry)
    for name in ("threshold", "unsure_threshold", "promised_rate", "promised_unsure_rate"):
        _positive(getattr(found, name), name)
    for name in ("false_alarm_rate", "unsure_rate", "margin", "n_images", "n_groups"):
        if not np.isfinite(float(getattr(found, name))):
            raise ValueError(f"{name} is {getattr(found, name)!r}")
    if found.unsure_threshold > found.threshold:
        raise ValueError(f"unsure_threshold {found.unsure_threshold} is above {found.threshold}")
    return found


def _level(i: int, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Level:
    mean, weight, centers = (arrays.pop(f"{i}_{part}") for part in ("mean", "weight", "centers"))
    key = LevelKey(int(entry["divisor"]), int(entry["output"]), bool(entry["pooled"]))
    shapes_agree = mean.ndim == 1 and weight.shape[:1] == mean.shape and centers.ndim == weight.ndim == 2
    if not shapes_agree or centers.shape[1] != weight.shape[1]:
        raise ValueError(f"level {i} has shapes {mean.shape}, {weight.shape}, {centers.shape}")
    score_weight = entry["score_weight"]
    if not (isinstance(score_weight, (int, float)) and 0 <= score_weight <= 1):
        raise ValueError(f"score_weight is {score_weight!r}")
    distance_mean = _positive(entry["distance_mean"], "distance_mean")
    return Level(key, mean, weight, centers, distance_mean, float(score_weight))


def _finish(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Finish:
    mean = arrays.pop("position_mean", None)
    if mean is not None and (mean.ndim != 2 or mean.size == 0):
        raise ValueError(f"the position means have shape {mean.shape}")
    smoothing = _positive(meta["map_smoothing"], "map_smoothing")
    if smoothing > 1:
        raise ValueError(f"map_smoothing is {smoothing!r}")
    return Finish(smoothing, mean, _positive(meta["map_unit"], "map_unit"))


def _paper(entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> PaperModel:
    weight, bias, centers = (arrays.pop(name) for name in _PAPER_ARRAYS)
    n_neighbors = int(entry["n_neighbors"])
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or centers.ndim != 2 or centers.shape[1] != len(weight):
        raise ValueError(f"the descriptor has shapes {weight.shape}, {bias.shape}, {centers.shape}")
    if not 1 <= n_neighbors <= len(centers):
        raise ValueError(f"n_neighbors is {n_neighbors} of {len(centers)} centers")
    radius = float(entry["radius"])
    if not np.isfinite(radius):
        raise ValueError(f"radius is {radius}")
    return PaperModel(weight, bias, centers, radius, n_neighbors, bool(entry["certainty"]))


def _positive(value: Any, name: str) -> float:
    if not (isinstance(value, (int, float)) and np.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}")
    return float(value)


def check_channels(learnt: Learnt, channels: list[int], path: str | os.PathLike) -> None:
    """See that the levels fit a backbone whose outputs have these channels.

    Raises
    ------
    ArchiveError
        If one does not.
    """
    wrong_paper = learnt.paper is not None and learnt.paper.weight.shape[1] != sum(channels) + 2
    if wrong_paper or any(
        lv.key.output >= len(channels) or len(lv.mean) != channels[lv.key.output] for lv in learnt.levels
    ):
        raise ArchiveError(f"{path} does not fit its backbone's outputs ({channels} channels). Fit again.")
