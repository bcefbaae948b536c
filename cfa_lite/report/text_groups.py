"""Groups in words: the pattern of file names that groups the images of a fit, or may group them."""

from __future__ import annotations

from typing import Any


def are_grouped(info: dict[str, Any]) -> bool:
    """Return whether a pattern that `fit` found in the file names groups the images that the limits are from."""
    pattern, limits = info["training"].get("name_pattern"), info["limits"]
    return bool(pattern and pattern["is_strong"]) and limits["n_groups"] < limits["n_images"]


def group_lines(info: dict[str, Any]) -> dict[str, str]:
    """Return a line of ``cfa-lite info`` about the pattern that groups the images, if there is one."""
    return {"groups": _found(info)} if are_grouped(info) else {}


def _found(info: dict[str, Any]) -> str:
    n_groups = info["limits"]["n_groups"]
    return (
        f"{n_groups} groups by {info['training']['name_pattern']['pattern']}: the smallest rate that can be promised is"
        f" {1 / (n_groups + 1):.1%}"
    )


def remarks(info: dict[str, Any]) -> list[str]:
    """Say which groups the file names tell, and what to do if they are wrong."""
    pattern = info["training"].get("name_pattern")
    if not pattern:
        return []
    alike = f"without its group, the nearest image is {pattern['rise'] - 1:.0%} farther away"
    if are_grouped(info):
        return [
            f"{_found(info)}. The file names tell which images resemble each other ({alike}), so the images"
            " of a group count as one. If all new images will come from these same groups, such as the same cameras,"
            " fit with --group-by none."
        ]
    if pattern["is_strong"]:  # the limits are from other images
        return []
    return [
        f"Images may belong together: the file names tell {pattern['n_groups']} groups ({alike}), but not clearly"
        " enough to group them, so every image counts. If new images will come from new groups, the limits are too"
        f' low. Then fit with --group-by "{pattern["pattern"]}".'
    ]
