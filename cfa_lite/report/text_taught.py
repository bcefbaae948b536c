"""Known defects in words: what a model was taught, how much it counts, and what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..teaching.teach import Change


def known_defect_lines(info: dict[str, Any]) -> dict[str, str]:
    """Return lines of text about the known defects of a model, by name; none if it was taught none.

    Parameters
    ----------
    info : dict
        From `CFA.info`.

    Returns
    -------
    dict of str to str
    """
    images, decision = info.get("taught") or [], info["training"].get("known_defects")
    if not images or decision is None:
        return {}
    kinds = [_kind(images, kind) for kind in sorted({i["kind"] for i in images})]
    if decision.get("n_left_out"):
        kinds.append(f"the last time, {_images(decision['n_left_out'])} would have been INVALID and taught nothing")
    lines = {"known defects": "; ".join(kinds)}
    lines["their share"] = _share(decision)
    if decision["kept"]:
        told = ", ".join(decision["told"])
        lines["kinds told"] = told or "none: no kind was right often enough for images that were left out"
    return lines


def _kind(images: Sequence[dict[str, Any]], kind: str) -> str:
    of_kind = [image for image in images if image["kind"] == kind]
    dates = sorted({image["date"] for image in of_kind})
    n_masks = sum(image["has_mask"] for image in of_kind)
    masks = f", {n_masks} with a mask" if n_masks else ""
    return f"{kind}, {_images(len(of_kind))}{masks} ({' to '.join(dict.fromkeys((dates[0], dates[-1])))})"


def _images(n: int) -> str:
    return f"{n} image{'s' * (n != 1)}"


def _share(decision: dict[str, Any]) -> str:
    if decision["gain"] is None:
        return f"{decision['weight']:.0%}. A single image cannot be left out, so nothing checks it"
    low, mean, high = (10 ** (decision["gain"] + sign * decision["gain_error"]) for sign in (-1, 0, 1))
    checked = (
        f"{_images(decision['n_checked'])} were left out in turn: the others make the score of each {mean:.2f} times as"
        f" rare among good images ({low:.2f} to {high:.2f})"
    )
    if not decision["kept"]:
        return f"none. They do not help to find such defects. {checked}"
    return f"{decision['weight']:.0%}. {checked}"


def _limit_change(thresholds: tuple[float, float]) -> str:
    untaught, taught = thresholds
    return (
        f"raw score {untaught:.4g} without known defects, {taught:.4g} with them ({taught / untaught - 1:+.1%}). Scores"
        " of defects that resemble none of them are divided by the new limit"
    )


def change_lines(defects: Sequence[Change], good: Sequence[Change], thresholds: tuple[float, float]) -> dict[str, str]:
    """Return lines of text about what teaching changed, by name.

    Parameters
    ----------
    defects, good : sequence of Change
        Defective and good images.
    thresholds : (float, float)
        Limit of the raw score without and with known defects, at the same promised rate.

    Returns
    -------
    dict of str to str
    """
    if not good:
        return {}
    checked = [one for one in defects if one.after is not None]
    lines = {}
    if checked:
        found = [sum((score or 0) > 1 for score in scores) for scores in zip(*((o.before, o.after) for o in checked))]
        lines["defects found"] = (
            f"{found[0]} of {len(checked)} without known defects, {found[1]} with them, each left out in turn"
        )
    n_before, n_after = (sum((getattr(o, when) or 0) > 1 for o in good) for when in ("before", "after"))
    lines["limit"] = _limit_change(thresholds)
    lines["good images NG"] = f"{n_before} of {len(good)} without known defects, {n_after} with them"
    return lines


def remarks(info: dict[str, Any]) -> list[str]:
    """Return what a user should know about the known defects of a model.

    Parameters
    ----------
    info : dict
        From `CFA.info`.

    Returns
    -------
    list of str
        One or a few sentences each.
    """
    images, decision = info.get("taught") or [], info["training"].get("known_defects")
    if not images or decision is None:
        return []
    found = [
        f"Nothing stands out in {name}: a quarter of the good images score higher. It may teach something beside its"
        " defect. Draw a mask for it, or leave it out."
        for name in decision["unclear"]
    ]
    if not decision["kept"]:
        found.append(
            "The known defects do not help to find each other when they are left out, so they do not count. More images"
            " of each kind, or masks, may help."
        )
    elif decision["gain"] is not None and decision["gain"] <= 0:
        found.append(
            "So far the known defects do not help to find each other when they are left out. They count nevertheless,"
            " because a few images show little. Check their labels and places, or add more images."
        )
    kinds = sorted({image["kind"] for image in images})
    single = [kind for kind in kinds if sum(image["kind"] == kind for image in images) == 1]
    if decision["kept"] and len(kinds) == 1 and not single:
        found.append(
            f"Regions are never told to be of kind {kinds[0]}: no other kind was taught, so nothing shows that other"
            " defects would not be told to be of it."
        )
    if decision["kept"] and single:
        found.append(
            f"Regions are never told to be of kind {', '.join(single)}: with one image of a kind, nothing shows that"
            " this would be right."
        )
    return found
