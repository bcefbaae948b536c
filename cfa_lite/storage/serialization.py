"""A fitted product to and from a ``.cfa`` file. Everything that is read is checked."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArchiveError, CfaLiteError
from ..features import feature_maps
from ..features import mask as mask_
from ..features.alignment import Aligner
from ..features.feature_maps import LevelKey
from ..features.image_checks import ImageStatistics
from ..features.images import ValueRange
from ..features.mask import InspectionMask
from ..features.reference import Reference
from ..fitted import AnomalyScorer, FittedProduct
from ..inference.levels import Level
from ..inference.scorer import Scorer
from ..method.cells import Cells
from ..method.limits import Limits
from ..parameters import MAX_SCALES
from . import archive, taught
from .checks import positive, share

_MAX_SIDE_PX = 1 << 20  # of a working size

Meta = dict[str, Any]
Arrays = dict[str, np.ndarray]
# (model.json, arrays, inspection mask) -> scorer. It removes the arrays that it uses from their dict.
RestoreScorer = Callable[[Meta, Arrays, "InspectionMask | None"], AnomalyScorer]


@dataclass(frozen=True)
class Stored:
    """The contents of a ``.cfa`` file, not yet restored."""

    path: str
    params: dict[str, Any]
    meta: Meta
    arrays: Arrays

    @property
    def kind(self) -> str:
        """The kind of the scorer."""
        return str(self.meta.get("kind"))

    def restore(self, restore_scorer: RestoreScorer) -> FittedProduct:
        """Restore the product.

        Raises
        ------
        ArchiveError
            If a value is missing or out of its range.
        """
        with damaged(self.path):
            product = _restore(self.meta, dict(self.arrays), restore_scorer)
        return product


@contextmanager
def damaged(path: str) -> Iterator[None]:
    """Turn errors that invalid values in a file cause into ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, CfaLiteError, zlib.error) as error:
        raise ArchiveError(
            f"{path} is damaged ({type(error).__name__}: {error}). Copy it again, or fit again."
        ) from error


def save(path: str | os.PathLike[str], params: dict[str, Any], product: FittedProduct) -> None:
    """Write parameters (JSON types only) and the product that was fitted with them to a file.

    Raises
    ------
    ArchiveError
        If the file cannot be written.
    """
    arrays = product.scorer.arrays() | {"good_scores": product.good_scores, "good_groups": product.good_groups}
    arrays |= taught.arrays(product)
    if product.reference is not None:
        arrays |= product.reference.arrays()
    if product.aligner is not None:
        arrays["aligner_thumbnail"] = product.aligner.thumbnail
    mask = product.scorer.mask
    if mask is not None:
        arrays["mask"] = mask.packed()
    archive.write(path, {"params": params, **product.to_dict()}, arrays)


def load(path: str | os.PathLike[str]) -> Stored:
    """Read the contents of a file that `save` wrote.

    Raises
    ------
    ArchiveError
        If the file is missing, damaged or foreign.
    """
    meta, arrays = archive.read(path)
    with damaged(os.fspath(path)):
        params = dict(meta["params"])
    return Stored(os.fspath(path), params, meta, arrays)


def _restore(meta: Meta, arrays: Arrays, restore_scorer: RestoreScorer) -> FittedProduct:
    packed = arrays.pop("mask", None)
    good_scores, good_groups = arrays.pop("good_scores"), arrays.pop("good_groups")
    if good_scores.ndim != 1 or not len(good_scores) or good_scores.shape != good_groups.shape:
        raise ValueError(f"the scores of the good images have shapes {good_scores.shape}, {good_groups.shape}")
    statistics = ImageStatistics.from_dict(meta["statistics"])
    scale = positive(meta["scale"], "scale")
    if scale * max(statistics.largest_px) > _MAX_SIDE_PX:
        raise ValueError(f"scale is {scale!r}")
    mask = None if packed is None else mask_.unpack(packed, statistics.largest_px)
    learned, taught_images = taught.restore_learned(arrays), taught.restore_images(meta["taught"], arrays)
    seen = meta.get("reference")  # missing in earlier files
    reference = None if seen is None else Reference.restore(seen, arrays)
    moved = meta.get("aligner")
    aligner = None if moved is None else Aligner.restore(moved, arrays.pop("aligner_thumbnail"))
    scorer = restore_scorer(meta, arrays, mask)
    if arrays:
        raise ValueError(f"arrays {sorted(arrays)} are not part of this kind of model")
    if not isinstance(meta["backbone"], str):
        raise ValueError(f"backbone is {meta['backbone']!r}")
    return FittedProduct(
        scorer=scorer,
        backbone=meta["backbone"],
        backbone_sha256=str(meta["backbone_sha256"]),
        backbone_entry=dict(meta["backbone_entry"]),
        limits=_limits(meta["limits"]),
        good_scores=good_scores,
        good_groups=good_groups.astype(np.int64),
        statistics=statistics,
        value_range=_range(meta["value_range"]),
        training=dict(meta["training"]),
        history=tuple(_limits(entry).to_dict() for entry in meta["history"]),
        params=dict(meta["params"]),
        learned=learned,
        taught=taught_images,
        reference=reference,
        aligner=aligner,
    )


def restore_levels(meta: Meta, arrays: Arrays, mask: InspectionMask | None) -> Scorer:
    """Restore a scorer of levels; its arrays are removed from `arrays`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a value is missing or out of its range.
    """
    levels = tuple(_level(i, entry, arrays) for i, entry in enumerate(meta["levels"]))
    keys = [level.key for level in levels]
    n_outputs = min(
        max((key.output for key in keys), default=-1) + 1, len(keys)
    )  # a damaged file can hold a huge number
    n_scales = max((key.divisor for key in keys), default=0).bit_length()
    if not keys or n_scales > MAX_SCALES or sorted(keys) != sorted(feature_maps.level_keys(n_outputs, n_scales)):
        raise ValueError("the set of levels is incomplete or has unknown levels")
    position_mean = arrays.pop("position_mean", None)
    if position_mean is not None and (position_mean.ndim != 2 or position_mean.size == 0):
        raise ValueError(f"the position means have shape {position_mean.shape}")
    return Scorer(
        levels=levels,
        scale=positive(meta["scale"], "scale"),
        background_share=share(meta["background_share"], "background_share"),
        map_smoothing=share(positive(meta["map_smoothing"], "map_smoothing"), "map_smoothing"),
        position_mean=position_mean,
        map_unit=positive(meta["map_unit"], "map_unit"),
        mask=mask,
        known=taught.restore_known(meta["known_defects"], arrays, levels),
        offsets_px=_offsets(meta.get("offsets_px", []), n_outputs),
    )


def _offsets(given: Any, n_outputs: int) -> tuple[tuple[float, float], ...]:
    """Check the offsets of the backbone's outputs. Models from before there were offsets have none."""
    found = tuple((float(down), float(right)) for down, right in given)
    if len(found) not in (0, n_outputs) or not all(abs(value) <= _MAX_SIDE_PX for pair in found for value in pair):
        raise ValueError(f"offsets_px is {given!r}")
    return found


def _level(i: int, entry: dict[str, Any], arrays: Arrays) -> Level:
    mean, weight, centers = (arrays.pop(f"{i}_{part}") for part in ("mean", "weight", "centers"))
    key = LevelKey(int(entry["divisor"]), int(entry["output"]), bool(entry["pooled"]))
    shapes_agree = mean.ndim == 1 and weight.shape[:1] == mean.shape and centers.ndim == weight.ndim == 2
    if not shapes_agree or centers.shape[1] != weight.shape[1]:
        raise ValueError(f"level {i} has shapes {mean.shape}, {weight.shape}, {centers.shape}")
    distance_mean = positive(entry["distance_mean"], "distance_mean")
    return Level(
        key,
        mean,
        weight,
        centers,
        distance_mean,
        share(entry["score_weight"], "score_weight"),
        _cells(i, arrays, centers),
    )


def _cells(i: int, arrays: Arrays, centers: np.ndarray) -> Cells | None:
    middles, listed = arrays.pop(f"{i}_middles", None), arrays.pop(f"{i}_listed", None)
    if middles is None or listed is None:
        if middles is not listed:
            raise ValueError(f"level {i} has half of its cells")
        return None
    if middles.ndim != 2 or len(middles) < 2 or middles.shape[1] != centers.shape[1]:
        raise ValueError(f"level {i} has middles of shape {middles.shape}")
    known = np.isin(listed, np.arange(len(centers)))  # stored as float32, which holds them exactly
    if listed.ndim != 2 or len(listed) != len(middles) or listed.size == 0 or not known.all():
        raise ValueError(f"level {i} lists centers that it does not have")
    return Cells(middles, listed.astype(np.int32))


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
        positive(getattr(found, name), name)
    for name in ("false_alarm_rate", "unsure_rate", "margin", "n_images", "n_groups", "n_left_out"):
        if not np.isfinite(float(getattr(found, name))):
            raise ValueError(f"{name} is {getattr(found, name)!r}")
    if found.unsure_threshold > found.threshold:
        raise ValueError(f"unsure_threshold {found.unsure_threshold} is above {found.threshold}")
    return found
