"""A model in words: the lines of ``cfa-lite info``, and the remarks after ``fit``."""

from __future__ import annotations

import math
from typing import Any

from ..parameters import CFA_PARAMETERS, NO_GROUPS, PUBLISHED_PARAMETERS
from . import text_fit, text_groups, text_outliers, text_taught

LOW_RANGE_SHARE = 1 / 16  # share of the value range; images that use less of it get a remark
MANY_SIZES = 2  # ratio of the largest to the smallest area; above it, the different sizes get a remark
NO_GUARANTEE = 0.5  # a guaranteed rate of at least this is of no use

_SHOWN_ELSEWHERE = (
    "recipe", "preset", "backbone", "false_alarm_rate", "unsure_rate", "limit_margin", "min_area", "mm_per_pixel",
    "mask", "value_range", "align",
)  # fmt: skip


def info_lines(info: dict[str, Any]) -> dict[str, str]:
    """Return lines of text about a model, by name.

    Parameters
    ----------
    info : dict
        From `CFA.info` or `PublishedCFA.info`.

    Returns
    -------
    dict of str to str
    """
    training, limit = info["training"], info["limits"]["threshold"]
    lines = {
        "recipe": info["params"].get("recipe", "paper"),
        "backbone": f"{info['backbone']} (sha256 {info['backbone_sha256'][:16]}...)",
        "good images": f"{training['n_images']} used, {training['n_skipped']} skipped",
        **_size_lines(info),
    }
    if "preset" in info["params"]:
        lines["preset"] = info["params"]["preset"]
    if info.get("aligner"):
        off = info["aligner"]["largest_px"] / info["scale"]
        lines["alignment"] = (
            f"images are moved to where the good images lie, which were off by up to {off:.0f} px of the image"
        )
    if info["value_range"] is not None:
        lines["value range"] = "{:g} is black, {:g} is white".format(*info["value_range"])
    lines |= limit_lines(info)
    lines |= text_groups.group_lines(info)
    lines["most unusual"] = text_outliers.scored(training["most_unusual"], limit)
    lines |= text_outliers.lines(info)
    lines |= text_taught.known_defect_lines(info)
    lines["memory bank"] = _bank(info)
    lines["parameters"] = _parameters(info["params"])
    lines["versions"] = ", ".join(f"{name} {version}" for name, version in training["versions"].items())
    for i, earlier in enumerate(info["history"], 1):
        lines[f"earlier limit {i}"] = f"raw score {earlier['threshold']:.4g}, {_origin(earlier)}"
    return lines | _decision_lines(training) | _epoch_lines(training)


def _size_lines(info: dict[str, Any]) -> dict[str, str]:
    statistics, scale = info["statistics"], info["scale"]
    sizes = dict.fromkeys(f"{w}x{h}" for h, w in (statistics["smallest_px"], statistics["largest_px"]))
    h, w = info["training"]["working_px"]
    divisors = sorted({level["divisor"] for level in info.get("levels", ())} - {1})
    scales = f", and {' and '.join(f'1/{divisor}' for divisor in divisors)} of it" if divisors else ""
    return {
        "image size": f"{' to '.join(sizes)} px",
        "working size": f"{w}x{h} px{scales} ({scale:.3g} times the image size)",
        "smallest defect": text_fit.smallest_defect(info),
    }


def _bank(info: dict[str, Any]) -> str:
    if "levels" not in info:
        return f"{info['published']['n_centers']} centers"
    levels = info["levels"]
    return f"{sum(level['n_centers'] for level in levels)} centers in {len(levels)} levels"


def _parameters(params: dict[str, Any]) -> str:
    """List the parameters that have a value and are in no other line, in the order of the table."""
    table = CFA_PARAMETERS if "recipe" in params else PUBLISHED_PARAMETERS
    names = [p.name for p in table if params.get(p.name) is not None and p.name not in _SHOWN_ELSEWHERE]
    return ", ".join(f"{name} {params[name]}" for name in names)


def _decision_lines(training: dict[str, Any]) -> dict[str, str]:
    """Say what was decided from the good images and synthetic defects, and why."""
    lines = {}
    if training.get("position_mean"):
        check = training["position_mean"]
        lines["position means"] = (
            f"{'used' if check['kept'] else 'not used'}. They change the image AUROC of synthetic defects by"
            f" {check['gain']:+.3f} (standard error {check['gain_error']:.3f})"
        )
    return lines | {
        f"level 1/{d['divisor']} {d['output']}": (
            f"training {'kept' if d['kept'] else 'discarded'}. Rareness of synthetic defects: {d['gain']:+.3f} in log10"
            f" (standard error {d['gain_error']:.3f}), drift {d['drift']:.3f}, loss {d['first_loss']:.3g} to"
            f" {d['last_loss']:.3g}"
        )
        for d in training.get("decisions", [])
    }


def _epoch_lines(training: dict[str, Any]) -> dict[str, str]:
    return {
        f"epoch {row['epoch']}": (
            f"loss {row['loss']:.4g}, active attraction {row['active_attraction']:.3f}, active repulsion"
            f" {row['active_repulsion']:.3f}, radius {row['radius']:.4g}, drift {row['drift']:.3f}"
        )
        for row in training.get("epochs", [])
    }


def limit_lines(info: dict[str, Any]) -> dict[str, str]:
    """Return lines of text about the limits, the regions and the mask of a model, by name.

    Parameters
    ----------
    info : dict
        From `CFA.info` or `PublishedCFA.info`.

    Returns
    -------
    dict of str to str
    """
    params, limits = info["params"], info["limits"]
    lower = limits["unsure_threshold"] / limits["threshold"]
    upper_rate, lower_rate = (
        _guarantee(limits, *names)
        for names in (("promised_rate", "false_alarm_rate"), ("promised_unsure_rate", "unsure_rate"))
    )
    lines = {
        "NG above": f"1.00 (raw score {limits['threshold']:.4g}). {upper_rate}",
        "UNSURE above": ". ".join(filter(None, [f"{lower:.2f}", lower_rate, text_fit.why_no_unsure(limits)])),
        "limits from": _origin(limits),
    }
    if params["min_area"]:
        lines["regions"] = _ignored_regions(params["min_area"], params["mm_per_pixel"])
    if info["mask_share"] is not None:
        lines["mask"] = f"{params['mask']}, {info['mask_share']:.0%} of the image is inspected"
    return lines


def _guarantee(limits: dict[str, Any], promised: str, asked: str) -> str:
    if limits[promised] < NO_GUARANTEE or limits[promised] <= limits[asked]:
        return f"At most {limits[promised]:.2%} of good images like these are above"
    if limits["source"] == "by hand":
        return "No guarantee: most calibration images are above this limit, which was set by hand"
    return "No guarantee: too few calibration images"


def _origin(limits: dict[str, Any]) -> str:
    margin = f", margin {limits['margin']:.0%}" if limits["margin"] else ""
    groups = "" if limits["n_groups"] == limits["n_images"] else f" in {limits['n_groups']} independent groups"
    left_out = f", {limits['n_left_out']} left out" if limits.get("n_left_out") else ""
    images = f"{limits['n_images']} good image{'s' * (limits['n_images'] != 1)}{groups}"
    origins = {
        "fit": f"{images}, each held out once",
        "calibrate": f"{images} that fit has not seen",
        "teach": f"{images}, given to teach; known defects were learned without each",
    }
    return origins.get(limits["source"], f"set by hand; the guarantee is from {images}") + left_out + margin


def _ignored_regions(min_area_px: float, mm_per_pixel: float | None) -> str:
    diameter_px = 2 * math.sqrt(min_area_px / math.pi)
    area, diameter = f"{min_area_px:g} px", f"{diameter_px:.1f} px"
    if mm_per_pixel:
        area += f" ({min_area_px * mm_per_pixel**2:.3g} square mm)"
        diameter += f" ({diameter_px * mm_per_pixel:.3g} mm)"
    return f"Regions below {area} are ignored. A round region of this area has a diameter of {diameter}"


def remarks(info: dict[str, Any]) -> list[str]:
    """Return what a user should know about a fitted model before using it.

    Parameters
    ----------
    info : dict
        From `CFA.info` or `PublishedCFA.info`.

    Returns
    -------
    list of str
        One or a few sentences each.
    """
    params, training, limits = info["params"], info["training"], info["limits"]
    found = text_groups.remarks(info) + limit_remarks(info) + _image_remarks(info) + text_taught.remarks(info)
    found += text_outliers.remarks(info)
    highest = text_outliers.scored(training["most_unusual"][:3], limits["threshold"])
    found.append(f"The most unusual good images, with their scores: {highest}. The limit is 1.00.")
    if params["min_area"]:
        found.append(f"{_ignored_regions(params['min_area'], params['mm_per_pixel'])}.")
    return found + list(filter(None, [text_fit.missed_request(info)]))


def limit_remarks(info: dict[str, Any]) -> list[str]:
    """Return what a user should know about the limits of a model."""
    limits, group_by, found = info["limits"], info["params"]["group_by"], []
    is_grouped = limits["n_groups"] < limits["n_images"]
    without = text_outliers.not_counted(info)  # the higher rates with these images have their own remark
    n_images = limits["n_images"] - len(without.get("images", ()))
    counted = f"{limits['n_groups']} independent groups of images" if is_grouped else f"{n_images} images"
    for promised, asked, what in (
        (without.get("promised_rate", limits["promised_rate"]), limits["false_alarm_rate"], "NG"),
        (without.get("promised_unsure_rate", limits["promised_unsure_rate"]), limits["unsure_rate"], "NG or UNSURE"),
    ):
        if promised > asked:
            found.append(
                f"{counted} are too few to guarantee that at most {asked:.2%} of good images are {what}. They guarantee"
                f" {promised:.2%}; {math.ceil(1 / asked - 1)} would be enough."
            )
    if zone := text_fit.why_no_unsure(limits):
        found.append(zone)
    if group_by not in (None, NO_GROUPS) and not is_grouped:
        found.append(f"--group-by {group_by!r} joins no two images: no two file names match with the same text.")
    if is_grouped and not text_groups.are_grouped(info):
        found.append(
            f"The {limits['n_images']} good images form {limits['n_groups']} independent groups. Near-duplicates, and"
            " images that --group-by joins, count as one."
        )
    return found


def _image_remarks(info: dict[str, Any]) -> list[str]:
    statistics, found = info["statistics"], []
    (low_h, low_w), (high_h, high_w) = statistics["smallest_px"], statistics["largest_px"]
    ratio = high_h * high_w / (low_h * low_w)
    if ratio > MANY_SIZES:
        found.append(
            f"The areas of the images differ by a factor of {ratio:.1f} ({low_w}x{low_h} to {high_w}x{high_h} px). All"
            " images are processed at one scale, as if one camera had taken them. If that is wrong, bring them to one"
            " size first."
        )
    share = statistics["highest"] / 255
    if info["value_range"] is None and share < LOW_RANGE_SHARE:
        found.append(
            f"The images use only {share:.1%} of the value range. Fit with --value-range auto, or with the range of the"
            " camera, such as --value-range 0,4095."
        )
    if info["value_range"] is not None and share > 1 + LOW_RANGE_SHARE:
        low, high = info["value_range"]
        found.append(
            f"Some pixels of the images lie above the value range: values go up to {low + share * (high - low):.5g},"
            f" the range to {high:.5g}. If they are more than noise, fit with a larger range or --value-range auto."
        )
    return found
