"""What a ``.cfa`` file holds about known defects. Everything that is read is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..features import fingerprints
from ..fitted import FittedProduct, LearnedImages, TaughtImage
from ..inference.known_defects import KnownDefects
from ..inference.levels import Level
from .checks import positive, share

Arrays = dict[str, np.ndarray]


def arrays(product: FittedProduct) -> Arrays:
    """Return the arrays of the images that a model has learned from and was taught, by name."""
    found: Arrays = {}
    if product.learned is not None:
        found |= {"learned_fingerprints": product.learned.fingerprints, "learned_scores": product.learned.scores}
    if product.taught:
        found["taught_descriptors"] = np.concatenate([image.descriptors for image in product.taught])
        found["taught_anomaly"] = np.concatenate([image.anomaly for image in product.taught])
    return found


def restore_learned(given: Arrays) -> LearnedImages | None:
    """Restore the images that the levels learned from; their arrays are removed from `given`.

    Raises
    ------
    ValueError, KeyError
        If a value is missing or out of its range.
    """
    if "learned_scores" not in given:
        return None
    prints, scores = given.pop("learned_fingerprints"), given.pop("learned_scores")
    if prints.dtype != np.uint8 or prints.shape != (len(scores), fingerprints.N_BYTES) or scores.ndim != 1:
        raise ValueError(f"the fingerprints have shape {prints.shape}, their scores {scores.shape}")
    return LearnedImages(prints, scores)


def restore_images(entries: Any, given: Arrays) -> tuple[TaughtImage, ...]:
    """Restore the taught images; their arrays are removed from `given`.

    Raises
    ------
    ValueError, KeyError, TypeError
        If a value is missing or out of its range.
    """
    if not entries:
        return ()
    descriptors, anomaly = given.pop("taught_descriptors"), given.pop("taught_anomaly")
    counts = [int(entry["n_places"]) for entry in entries]
    if min(counts) < 1 or descriptors.ndim != 2 or not len(descriptors) == len(anomaly) == sum(counts):
        raise ValueError(f"the places of taught images have shapes {descriptors.shape}, {anomaly.shape}")
    found, start = [], 0
    for entry, n_places in zip(entries, counts):
        places, start = slice(start, start + n_places), start + n_places
        if not 1 <= int(entry["n_used"]) <= n_places:
            raise ValueError(f"n_used is {entry['n_used']!r}")
        bytes.fromhex(entry["fingerprint"])
        found.append(
            TaughtImage(
                name=str(entry["name"]),
                kind=str(entry["kind"]),
                date=str(entry["date"]),
                fingerprint=entry["fingerprint"],
                n_used=int(entry["n_used"]),
                has_mask=bool(entry["has_mask"]),
                raw_score=float(entry["raw_score"]),
                descriptors=descriptors[places],
                anomaly=anomaly[places],
            )
        )
    return tuple(found)


def restore_known(entry: Any, given: Arrays, levels: Sequence[Level]) -> KnownDefects | None:
    """Restore the known defects of a scorer; their arrays are removed from `given`.

    Raises
    ------
    ValueError, KeyError, TypeError
        If a value is missing or out of its range.
    """
    if entry is None:
        return None
    offset = given.pop("known_offset")
    weights = {level.key: given.pop(f"{i}_known") for i, level in enumerate(levels) if level.key.pooled}
    for level in levels:
        if level.key.pooled and weights[level.key].shape != (len(level.mean), len(offset)):
            raise ValueError(f"known defects have shape {weights[level.key].shape}")
    kinds, kind_of = tuple(str(kind) for kind in entry["kinds"]), np.array(entry["kind_of"], np.int64)
    # Every kind has a direction, so no maximum is over nothing.
    if offset.ndim != 1 or kind_of.shape != offset.shape or sorted(set(kind_of.tolist())) != list(range(len(kinds))):
        raise ValueError(f"the kinds of known defects are {entry['kind_of']!r}")
    told_from = tuple(np.inf if value is None else float(value) for value in entry["told_from"])
    certainty = tuple(share(value, "certainty") for value in entry["certainty"])
    if not len(told_from) == len(certainty) == len(kinds) or np.isnan(told_from).any():
        raise ValueError(f"told_from is {entry['told_from']!r}")
    return KnownDefects(weights, offset, positive(entry["gain"], "gain"), kinds, kind_of, told_from, certainty)
