"""What a model tells of itself, in words: the lines of ``cfa-lite info`` and the remarks of ``fit``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..parameters import PaperSettings

VISIBLE_PX = 4  # of the working size: a patch of the finest level; a defect of fewer may not be seen
LITTLE_RANGE = 1 / 16
MANY_SIZES = 2  # times the area, beyond which images of one product are said to differ in size

_PAPER_ONLY = tuple(field.name for field in fields(PaperSettings))
_TOLD_ELSEWHERE = (
    "recipe", "backbone", "false_alarm_rate", "unsure_rate", "limit_margin", "min_area", "mm_per_pixel", "mask",
)  # fmt: skip


def told(facts: dict[str, Any]) -> dict[str, str]:
    """Lines, by name, of what `CFA.info` gives."""
    made, params = facts["training"], facts["params"]
    sizes = [f"{w}x{h}" for h, w in (made["smallest_px"], made["largest_px"])]
    h, w = made["working_px"]
    limit = facts["limits"]["threshold"]
    banks = facts["levels"] or [facts["paper"]]
    half = " and half of it" if facts["levels"] else ""
    hidden = (*_TOLD_ELSEWHERE, *(() if facts["paper"] else _PAPER_ONLY))
    lines = {
        "recipe": params["recipe"],
        "backbone": f"{params['backbone']} (sha256 {facts['backbone_sha256'][:16]}...)",
        "good images": f"{made['n_images']} used, {made['n_skipped']} left out",
        "their size": " to ".join(dict.fromkeys(sizes)) + " px",
        "worked at": f"{w}x{h} px{half} ({facts['scale']:.3g} of the image's scale)",
        "smallest seen": f"a defect of about {_smallest_seen(facts):.0f} px of the image across",
    }
    if facts["value_range"] is not None:
        lines["values"] = "{:g} is black, {:g} is white".format(*facts["value_range"])
    lines |= limits_told(facts)
    lines |= {
        "most unlike": _listed(made["most_unlike"], limit),
        "levels": f"{len(banks)}, {sum(bank['n_centers'] for bank in banks)} centers in all",
        "arguments": ", ".join(f"{k} {v}" for k, v in params.items() if k not in hidden),
        "made with": ", ".join(f"{k} {v}" for k, v in made["versions"].items()),
    }
    if made.get("outliers"):
        lines["not learnt"] = _listed(made["outliers"], limit)
    for i, earlier in enumerate(facts["history"], 1):
        lines[f"before, {i}"] = f"limit {earlier['threshold']:.4g} of the raw score, {_origin(earlier)}"
    for move in made.get("moves", []):
        what = "trained" if move["kept"] else "left at its start"
        lines[f"level 1/{move['divisor']} {move['output']}"] = (
            f"{what}: synthetic defects {move['gain']:+.3f} (error {move['gain_error']:.3f}) powers of ten rarer after"
            f" training, drift {move['drift']:.3f}, loss {move['first_loss']:.3g} to {move['last_loss']:.3g}"
        )
    for row in made.get("epochs", []):
        lines[f"epoch {row['epoch']}"] = (
            f"loss {row['loss']:.4g}, active attraction {row['active_attraction']:.3f}, repulsion"
            f" {row['active_repulsion']:.3f}, radius {row['radius']:.4g}, drift {row['drift']:.3f}"
        )
    return lines


def limits_told(facts: dict[str, Any]) -> dict[str, str]:
    """The lines on limits and regions."""
    params, limits = facts["params"], facts["limits"]
    lower = limits["unsure_threshold"] / limits["threshold"]
    lines = {
        "limit": f"1.00 (raw score {limits['threshold']:.4g}): NG above. {_promise(limits['promised_rate'])}",
        "unsure from": f"{lower:.2f}. {_promise(limits['promised_unsure_rate'])}",
        "limits of": _origin(limits),
    }
    if params["min_area"]:
        lines["regions"] = _smallest(params["min_area"], params["mm_per_pixel"])
    if facts["area_share"] is not None:
        lines["mask"] = f"{params['mask']}, {facts['area_share']:.0%} of the image counts"
    return lines


def _listed(images: Sequence[dict[str, Any]], limit: float) -> str:
    """Names of good images with their scores."""
    return ", ".join(f"{one['name']} {one['raw_score'] / limit:.2f}" for one in images)


def _promise(rate: float) -> str:
    return f"At most {rate:.2%} of good images like these are above"


def _origin(limits: dict[str, Any]) -> str:
    margin = f", margin {limits['margin']:.0%}" if limits["margin"] else ""
    groups = "" if limits["n_groups"] == limits["n_images"] else f" in {limits['n_groups']} independent groups"
    images = f"{limits['n_pictures']} good images{groups}"
    how = {"fit": f"{images}, each held out once", "calibrate": f"{images} after fitting"}
    return how.get(limits["source"], f"set by hand, judged by {images}") + margin


def _smallest(min_area: float, mm_per_pixel: float | None) -> str:
    across = 2 * math.sqrt(min_area / math.pi)
    mm = f", {min_area * mm_per_pixel**2:.3g} square mm, {across * mm_per_pixel:.3g} mm across" if mm_per_pixel else ""
    return f"under {min_area:g} px are dropped, as of a round defect less than {across:.1f} px across{mm}"


def remarks(facts: dict[str, Any]) -> list[str]:
    """What somebody who fitted a model should know before using it, a sentence or two each."""
    made, limits = facts["training"], facts["limits"]
    found = []
    for promised, asked, what in (
        (limits["promised_rate"], limits["false_alarm_rate"], "false alarms"),
        (limits["promised_unsure_rate"], limits["unsure_rate"], "NG and UNSURE together"),
    ):
        if promised > asked:
            found.append(
                f"with {_counted(limits)} the smallest rate that can be promised is {promised:.2%}, not {asked:.2%}"
                f" ({what}): {math.ceil(1 / asked - 1)} would do"
            )
    if limits["n_groups"] < limits["n_images"]:
        found.append(
            f"{limits['n_pictures']} good images are {limits['n_groups']} independent groups: near-duplicates, and what"
            " --group-by joins, count as one"
        )
    found += _of_images(facts)
    for image in made.get("outliers", []):
        effect = {
            "count": "It counts for the limits: if it is no good part, take it out or fit with --outliers drop; if it"
            " is, --outliers keep learns from it.",
            "drop": "It was dropped.",
        }[facts["params"]["outliers"]]
        score = image["raw_score"] / limits["threshold"]
        found.append(f"not learnt from, unlike the other good images: {image['name']}, score {score:.2f}. {effect}")
    highest = _listed(made["most_unlike"][:3], limits["threshold"])
    found.append(f"most unlike the other good images: {highest} (1 is the limit)")
    if facts["params"]["min_area"]:
        found.append(f"regions {_smallest(facts['params']['min_area'], facts['params']['mm_per_pixel'])}")
    return found


def _smallest_seen(facts: dict[str, Any]) -> float:
    return max(1.0, VISIBLE_PX / facts["scale"])


def _of_images(facts: dict[str, Any]) -> list[str]:
    """Remarks on what the good images are."""
    made, found = facts["training"], []
    (low_h, low_w), (high_h, high_w) = made["smallest_px"], made["largest_px"]
    if high_h * high_w > MANY_SIZES * low_h * low_w:
        found.append(
            f"the images' areas differ {high_h * high_w / (low_h * low_w):.1f} times ({low_w}x{low_h} to"
            f" {high_w}x{high_h} px): all are worked at one scale, as one camera sees them. If theirs differ, bring them to"
            " one size first"
        )
    if facts["value_range"] is None and made["looks"]["highest"] < 255 * LITTLE_RANGE:
        found.append(
            f"the images use {made['looks']['highest'] / 255:.1%} of the range of values: --range auto, or --range"
            " LOW,HIGH, makes use of all of it"
        )
    return found


def _counted(limits: dict[str, Any]) -> str:
    if limits["n_groups"] == limits["n_images"]:
        return f"{limits['n_pictures']} images"
    return f"{limits['n_groups']} independent images"
