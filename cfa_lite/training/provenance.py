"""Origin of a model: counts, scores and versions, and what a single good image costs."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from .._version import __version__
from ..features.runtime import onnxruntime
from .settings import Promise
from .training_set import TrainingSet

N_NAMED = 5  # number of normal images with the highest scores whose names the model stores
COSTLY = 1.25  # factor by which one image raises the limit


def provenance(training_set: TrainingSet[Any], scores: np.ndarray) -> dict[str, Any]:
    """Return the origin of a model, JSON types only: counts, scores (n,) of the images, versions."""
    highest = np.argsort(-scores, kind="stable")[:N_NAMED]
    by_area = sorted(
        zip(training_set.sizes_px, training_set.working_sizes_px), key=lambda sizes: sizes[0][0] * sizes[0][1]
    )
    return {
        "n_images": len(by_area),
        "n_skipped": len(training_set.skipped),
        "working_px": list(by_area[len(by_area) // 2][1]),
        "held_out_scores": {
            "lowest": float(scores.min()),
            "median": float(np.median(scores)),
            "highest": float(scores.max()),
        },
        "most_unusual": [named(training_set.names[i], float(scores[i])) for i in highest],
        "versions": {
            "cfa_lite": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "pillow": PIL.__version__,
        },
    }


def named(name: str, raw_score: float) -> dict[str, Any]:
    """Return an image and its raw score, JSON types only."""
    return {"name": Path(name).name, "raw_score": raw_score}


def costliest(scores: np.ndarray, groups: np.ndarray, names: Sequence[str], promise: Promise) -> dict[str, Any] | None:
    """Return the good image that raises the limit most, and the limit without it, JSON types only.

    Parameters
    ----------
    scores : ndarray of shape (n,)
    groups : ndarray of shape (n,)
    names : sequence of str
    promise : Promise

    Returns
    -------
    dict or None
        None if the limit would not be lower by the factor `COSTLY`.
    """
    highest = int(np.argmax(scores))
    others = np.arange(len(scores)) != highest
    if not others.any():
        return None
    without = promise.limits(scores[others], groups[others]).threshold
    if promise.limits(scores, groups).threshold <= COSTLY * without:
        return None
    return {"name": Path(names[highest]).name, "threshold": without}


def not_counted(
    scores: np.ndarray, groups: np.ndarray, images: TrainingSet[Any], counted: np.ndarray, promise: Promise
) -> dict[str, Any] | None:
    """Return the good images that do not count towards the limits, and what this costs, JSON types only.

    Parameters
    ----------
    scores : ndarray of shape (n,)
    groups : ndarray of shape (n,)
    images : TrainingSet
        n images.
    counted : ndarray of shape (n,), bool
    promise : Promise

    Returns
    -------
    dict or None
        The images, the highest score first; the limit if they counted; and the rates that are promised if they are not
        good. None if all images count.
    """
    if counted.all():
        return None
    out = [i for i in np.argsort(-scores, kind="stable") if not counted[i]]
    without = promise.limits(scores[counted], groups[counted])
    return {
        "images": [{**named(images.names[i], float(scores[i])), "fingerprint": images.fingerprints[i]} for i in out],
        "threshold": promise.limits(scores, groups).threshold,
        "promised_rate": without.promised_rate,
        "promised_unsure_rate": without.promised_unsure_rate,
    }
