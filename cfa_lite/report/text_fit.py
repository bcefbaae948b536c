"""A fit in words: what an inspector needs of it, what is for an engineer, and what the user asked for in vain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

NARROW_ZONE = 0.02  # of the score; where UNSURE and NG are closer, hardly an image is UNSURE
_N_NAMED = 20  # images that the page names; it counts the others
_TOO_SMALL = 1.05  # a defect that is asked for may be missed by rounding


def smallest_visible_px(scale: float) -> float:
    """Return the diameter, in pixels of the image, of the smallest defect that can be seen at a scale."""
    from ..training.framing import VISIBLE_PX  # scoring must not load training

    return max(1.0, VISIBLE_PX / scale)


def smallest_defect(info: Mapping[str, Any]) -> str:
    """Return how large a defect must be to be seen."""
    diameter_px, mm_per_pixel = smallest_visible_px(info["scale"]), info["params"].get("mm_per_pixel")
    size = f" ({diameter_px * mm_per_pixel:.2g} mm)" if mm_per_pixel else ""
    return f"about {diameter_px:.0f} px{size} of the image in diameter"


def why_no_unsure(limits: Mapping[str, Any]) -> str:
    """Return why hardly an image can be UNSURE and what would change that, or "" if the zone is wide enough."""
    width = 1 - limits["unsure_threshold"] / limits["threshold"]
    if width >= NARROW_ZONE or limits["source"] == "by hand":
        return ""
    what = "groups of good images" if limits["n_groups"] < limits["n_images"] else "good images"
    if limits["n_groups"] == 1:
        what = what.replace("groups", "group") if limits["n_images"] > 1 else "good image"
    rate = math.ceil(100 * max(2 * limits["unsure_rate"], 5 / (limits["n_groups"] + 1))) / 100
    higher = f"A higher --unsure-rate, such as {rate:g}, or more" if rate < 1 else "More"
    if width < 0.001:
        start = f"No image can be UNSURE: with {limits['n_groups']} {what}, UNSURE and NG start at the same score."
    else:
        start = (
            f"Hardly an image will be UNSURE: with {limits['n_groups']} {what}, UNSURE starts {width:.1%} below the"
            " limit."
        )
    return f"{start} {higher} good images would start it lower."


def missed_request(info: Mapping[str, Any]) -> str:
    """Return that defects of --smallest-defect cannot be seen, or ""."""
    asked, seen = info["params"].get("smallest_defect"), smallest_visible_px(info["scale"])
    if not asked or seen <= asked * _TOO_SMALL:
        return ""
    return (
        f"--smallest-defect {asked:g} cannot be met: even at the full size of the images, a defect of less than about"
        f" {seen:.0f} px may not be seen. Take images with more pixels per millimeter."
    )


def inspector_lines(info: Mapping[str, Any], lines: Mapping[str, str], left_out: Iterable[str]) -> dict[str, str]:
    """Return what an inspector needs to know about a fit, by name.

    Parameters
    ----------
    info : mapping
        From `CFA.info` or `PublishedCFA.info`.
    lines : mapping of str to str
        From `text.info_lines`.
    left_out : iterable of str
        What the fit left out, and why.
    """
    training, limits = info["training"], info["limits"]
    named = list(left_out)
    more = [f"and {len(named) - _N_NAMED} more"] * (len(named) > _N_NAMED)
    promised = (
        f"at most {limits['promised_rate']:.1%} of good images are NG" if limits["promised_rate"] < 0.5 else "none"
    )
    chosen = {
        "limit": "an image with a score above 1.00 is NG",
        "promise": f"{promised}, if they are taken as these {training['n_images']} were",
        "UNSURE": f"an image with a score from {limits['unsure_threshold'] / limits['threshold']:.2f} to 1.00",
        "smallest defect": smallest_defect(info),
        "images to look at": lines["most unusual"],
    }
    chosen |= {name: lines[name] for name in ("outliers", "costliest", "mask", "regions") if name in lines}
    chosen["left out"] = "\n".join([*named[:_N_NAMED], *more]) or "nothing"
    return chosen
