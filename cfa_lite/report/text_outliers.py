"""Outliers in words: which good images were not learned or do not count towards the limits, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

N_NAMED = 5  # more images are counted


def not_counted(info: dict[str, Any]) -> dict[str, Any]:
    """Return what is known about images that do not count towards the present limits, or an empty dict."""
    found = info["training"].get("not_counted")
    return found if found and info["limits"]["source"] in ("fit", "teach") else {}


def lines(info: dict[str, Any]) -> dict[str, str]:
    """Return the lines of ``cfa-lite info`` about outliers, by name."""
    training, limits = info["training"], info["limits"]
    found = {}
    if training.get("outliers"):
        found["outliers"] = f"{scored(training['outliers'], limits['threshold'])}: not learned"
    if not_counted(info):
        found["not counted"] = _uncounted(info)
    if training.get("costliest") and limits["source"] == "fit":
        found["costliest"] = _cost(training["costliest"], limits["threshold"])
    return found


def remarks(info: dict[str, Any]) -> list[str]:
    """Name the outliers, say what was done with them and what this costs."""
    params, training, limits = info["params"], info["training"], info["limits"]
    counts = (
        "It counts towards the limits. If the part is not good, remove the image or fit with --outliers drop."
        " If the part is good, --outliers keep learns from it."
    )
    effect = {"auto": counts, "count": counts, "drop": "It does not count towards the limits either."}
    far = [(image["name"], image["raw_score"]) for image in not_counted(info).get("images", ())]
    found = [_uncounted(info)] if far else []
    found += [
        f"{image['name']} (score {image['raw_score'] / limits['threshold']:.2f}) is an outlier and was not learned."
        f" {effect[params['outliers']]}"
        for image in training.get("outliers", [])
        if (image["name"], image["raw_score"]) not in far
    ]
    if training.get("costliest") and limits["source"] == "fit":
        found.append(_cost(training["costliest"], limits["threshold"]))
    return found


def scored(images: Sequence[dict[str, Any]], limit: float) -> str:
    """Name images with their scores, of which the limit is 1.0."""
    return ", ".join(f"{image['name']} {image['raw_score'] / limit:.2f}" for image in images)


def _uncounted(info: dict[str, Any]) -> str:
    far, limits = not_counted(info), info["limits"]
    images, limit = far["images"], limits["threshold"]
    more = f" and {len(images) - N_NAMED} more" if len(images) > N_NAMED else ""
    is_one = len(images) == 1
    start = "1 good image is an outlier" if is_one else f"{len(images)} good images are outliers"
    does, these, they = ("does", "this score", "it") if is_one else ("do", "these scores", "they")
    parts = "the part is" if is_one else "the parts are"
    return (
        f"{start} and {does} not count towards the limits, with {these}: {scored(images[:N_NAMED], limit)}{more}."
        f" The limit is raw score {limit:.3g}; {they} would make it {far['threshold']:.3g}. Look at"
        f" {'it' if is_one else 'them'}. If {parts} not good, at most {far['promised_rate']:.2%} of good images are NG;"
        f" if good, at most {limits['promised_rate']:.2%}. --outliers count counts {'it' if is_one else 'them'}."
    )


def _cost(image: dict[str, Any], limit: float) -> str:
    return (
        f"{image['name']} alone sets the limit: raw score {limit:.3g}, without this image {image['threshold']:.3g}."
        " Look at it. If the part is not good, remove the image or fit with --outliers drop."
    )
