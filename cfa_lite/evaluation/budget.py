"""The most accurate preset that is within a time per image on this computer, chosen before the fit."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import parameters, threads
from ..errors import CfaLiteError
from ..estimator import CFA
from ..parameters import DEFAULT_SIZE_PX, PRESETS
from . import timing
from .timing import Timing

SMALLER_SIZES_PX = (160, 128)  # of the fastest preset, where no preset is within the budget
_KNOWN_DEFECTS_SHARE = 1.1  # what a taught model takes at most, as a share of the same model untaught
_MIN_IMAGES, _MAX_SECONDS = 12, 4.0  # of each candidate


def choose(
    model: CFA, good: Sequence[str | os.PathLike[str]], budget_ms: float, *, learns_defects: bool = False
) -> tuple[dict[str, Any], Timing]:
    """Time what a model fitted with each preset would take per image, and choose the most accurate one in time.

    Parameters
    ----------
    model : CFA, not fitted
        Parameters that were given explicitly are kept, so that only the others of a preset count.
    good : sequence of paths
        Files of good images. At most 16 of them are timed.
    budget_ms : float, above 0
        Milliseconds per image, from file to verdict, that 95% of the images must not exceed.
    learns_defects : bool, default: False
        Whether known defects will be taught.

    Returns
    -------
    changed : dict
        Values of `preset` and, where the smallest preset is too slow, of `size`.
    timing : Timing
        Of the choice, on as many threads as the model has.

    Raises
    ------
    CfaLiteError
        If nothing is within the budget, or the images that are timed cannot be fitted.

    Notes
    -----
    The time does not depend on the numbers in a model. So the models that are timed hold random numbers; they have
    the shape of one that is fitted to the images that are timed.
    """
    some = [good[i] for i in np.unique(np.linspace(0, len(good) - 1, timing.N_IMAGES).astype(int))]
    shape = CFA(**(model._table_params() | {"recipe": "whitened", "group_by": parameters.NO_GROUPS}))
    shape.threads, shape.max_memory = model.threads, model.max_memory
    shape.fit(some)
    n_threads = threads.resolve(model.threads)
    share = _KNOWN_DEFECTS_SHARE if learns_defects else 1.0
    for changed in _candidates(model, shape):
        wanted = {name: value for name, value in changed.items() if name != "preset"}
        preset = changed["preset"]
        for name, value in vars(PRESETS[preset]).items():
            if model._table_params()[name] is None:
                wanted.setdefault(name, value)
        found = _timed(timing.stand_in_with(shape, preset, wanted), preset, some, n_threads, share)
        if timing.is_within(found, budget_ms):
            return changed, found
    raise CfaLiteError(
        f"Nothing is within {budget_ms:g} ms on {n_threads} thread{'s' * (n_threads > 1)}: the fastest that was tried"
        f" ({told(changed)}) takes up to {found.slow:.1f} ms. Give more time or threads, a smaller --size, or a smaller"
        " part of the image."
    )


def told(changed: dict[str, Any]) -> str:
    """Return a choice as options of ``cfa-lite fit``."""
    return " ".join(f"--{name} {value}" for name, value in changed.items())


def _candidates(model: CFA, shape: CFA) -> Iterator[dict[str, Any]]:
    """Yield what may be chosen, the most accurate first. More than two scales gain nothing on small images."""
    h, w = timing.usual_size(shape)
    for preset, values in PRESETS.items():
        if values.size <= DEFAULT_SIZE_PX or h * w > (DEFAULT_SIZE_PX * 1.25) ** 2:
            yield {"preset": preset}
    if model.size is None and model.smallest_defect is None:
        for size in SMALLER_SIZES_PX:
            yield {"preset": preset, "size": size}


def _timed(model: CFA, preset: str, images: Sequence[str | os.PathLike[str]], n_threads: int, share: float) -> Timing:
    taken: list[float] = []
    start, done = time.perf_counter(), -1  # the first image fills caches
    while done < _MIN_IMAGES or time.perf_counter() - start < _MAX_SECONDS:
        began = time.perf_counter()
        model.inspect(images[done % len(images)])
        if done >= 0:
            taken.append((time.perf_counter() - began) * 1000 * share)
        done += 1
    return Timing(preset, False, n_threads, False, float(np.median(taken)), float(np.quantile(taken, 0.95)))
