"""What an image looks like as a whole, and whether it can be one of the product at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..method import _kernels

FAR = 2.0  # times darker, brighter or blurrier than every good image
FLAT = 2.0  # grey levels between the darkest and the brightest pixel; less is no image
SAME_SIDE = 1.25  # a side so many times longer or shorter than any good image's is another size


@dataclass(frozen=True)
class Look:
    """Of pixels, 0 to 255: mean, mean step from a pixel to the next, lowest and highest value, and whether it is grey."""

    brightness: float
    sharpness: float
    lowest: float
    highest: float
    grey: bool


def of(pixels: np.ndarray) -> Look:
    """The look of an image's pixels (3, h, w) at its working size."""
    _, h, w = pixels.shape
    found = np.empty(6)
    _kernels.look(pixels, found)
    total, down, right, lowest, highest, apart = found.tolist()
    steps = down / ((h - 1) * w) + right / (h * (w - 1))
    return Look(total / (h * w), steps, lowest, highest, apart == 0)


def summarised(looks: Sequence[Look]) -> dict[str, float | bool]:
    """What the good images have in common, for a model to keep; JSON types only."""
    return {
        "darkest": min(look.brightness for look in looks),
        "brightest": max(look.brightness for look in looks),
        "blurriest": min(look.sharpness for look in looks),
        "highest": max(look.highest for look in looks),
        "all_grey": all(look.grey for look in looks),
        "none_grey": not any(look.grey for look in looks),
    }


def doubts(look: Look, good: dict[str, float | bool]) -> list[str]:
    """Why an image cannot be of the product, by the looks of the good images.

    Notes
    -----
    A good image exchangeable with n others is darker, brighter or blurrier than all of them with a probability of at
    most 1 / (n + 1) each; here it has to be so `FAR` times, which no distribution makes likelier.
    """
    if look.highest - look.lowest < FLAT:
        return [f"no image: every pixel has a value of about {look.highest:.0f}"]
    found = []
    if look.brightness * FAR < good["darkest"]:
        found.append(f"far darker than any good image (mean {look.brightness:.0f}, theirs from {good['darkest']:.0f})")
    if (255 - look.brightness) * FAR < 255 - good["brightest"]:
        found.append(
            f"far brighter than any good image (mean {look.brightness:.0f}, theirs to {good['brightest']:.0f})"
        )
    if look.sharpness * FAR < good["blurriest"]:
        found.append(
            f"far more blurred than any good image (mean step {look.sharpness:.2g}, theirs from"
            f" {good['blurriest']:.2g})"
        )
    return found


def size_doubts(size_px: tuple[int, int], height_px: tuple[int, int], width_px: tuple[int, int]) -> list[str]:
    """Why an image (h, w) has not the size or the proportions of the good ones: lowest and highest of their sides."""
    if all(low / SAME_SIDE <= side <= high * SAME_SIDE for side, (low, high) in zip(size_px, (height_px, width_px))):
        return []
    fitted = " to ".join(dict.fromkeys(f"{w}x{h}" for w, h in zip(width_px, height_px)))
    return [f"{size_px[1]}x{size_px[0]} px, but the good images have {fitted} px"]


def notes(look: Look, good: dict[str, float | bool], n_pages: int, cut: bool) -> list[str]:
    """What should be known of an image though it can be scored."""
    found = []
    if n_pages > 1:
        found.append(f"the first of {n_pages} pages was taken")
    if cut:
        found.append("of its 16-bit colours the upper 8 bits were read")
    if good["all_grey"] and not look.grey:
        found.append("in colour, but the good images are grey")
    if good["none_grey"] and look.grey:
        found.append("grey, but the good images are in colour")
    return found
