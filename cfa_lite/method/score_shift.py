"""Shift of scores: whether the images of a batch have higher scores than good images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_FOR_SHIFT = 20  # a batch with fewer images is not tested


def has_shifted(batch: Sequence[float] | np.ndarray, good: np.ndarray) -> bool:
    """Test whether the scores of a batch are so high that the camera, the light or the product must have changed.

    A batch in which most images are defective also has such scores.

    Parameters
    ----------
    batch : sequence of float
        Raw scores of the images of the batch.
    good : ndarray (n,)
        Held-out scores of the good images.

    Returns
    -------
    bool
        False for a batch of fewer than `MIN_FOR_SHIFT` images.

    Notes
    -----
    The batch has shifted if three quarters of it are above three quarters of the good images. If at least half of a
    batch of `MIN_FOR_SHIFT` images is good, this has a probability of at most 2%.
    """
    if len(batch) < MIN_FOR_SHIFT:
        return False
    return bool(np.quantile(batch, 0.25, method="lower") > np.quantile(good, 0.75))
