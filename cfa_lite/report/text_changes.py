"""What has changed in a batch of images, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..results import Change

MIN_IMAGES = 2  # images with the same change; a single one is told in its own row
MIN_SHARE = 0.1  # of all images


def batch_lines(changes: Sequence[tuple[Change, ...]]) -> list[str]:
    """Return a line for each kind of change that many images of a batch have.

    Parameters
    ----------
    changes : sequence of tuple of Change
        Of each image that was inspected.

    Returns
    -------
    list of str
        Such as "12 of 20 images are shifted by about 5 px right."
    """
    lines = []
    for kind in dict.fromkeys(change.kind for image in changes for change in image):
        found = [change for image in changes for change in image if change.kind == kind]
        if len(found) >= max(MIN_IMAGES, MIN_SHARE * len(changes)):
            lines.append(_line(kind, np.array([change.amount for change in found]), len(changes)))
    return lines


def _line(kind: str, amounts: np.ndarray, n_images: int) -> str:
    counted = f"{len(amounts)} of {n_images} images"
    if kind == "swapped":
        return f"In {counted}, red and blue look swapped. Check the order of the colors that the camera gives."
    usual = np.median(amounts, axis=0)
    if kind == "shifted" and np.median(np.hypot(*(amounts - usual).T)) > np.hypot(*usual) / 2:
        return f"{counted} are shifted, by about {np.median(np.hypot(*amounts.T)):.0f} px in different directions."
    if kind == "rotated" and np.median(np.abs(amounts - usual)) > abs(usual[0]) / 2:
        return f"{counted} are rotated, by about {np.median(np.abs(amounts)):.0f} degrees to both sides."
    return f"{counted} are {Change(kind, tuple(usual.tolist())).told('about ')}."
