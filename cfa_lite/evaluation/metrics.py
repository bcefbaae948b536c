"""Metrics of a fitted model on test images with known ground truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..results import Inspection
from .ground_truth import LabeledImage
from .pixel_metrics import PixelMetrics

SHIFT_P_VALUE = 0.001  # below it, good test images score higher than the calibration images


def binomial_interval(k: int, n: int) -> tuple[float, float]:
    """Return the exact 95% confidence interval of a rate of which `k` of `n` cases were observed.

    Parameters
    ----------
    k, n : int

    Returns
    -------
    low, high : float
        Clopper-Pearson interval, 0 to 1 each; (0, 1) if `n` is 0.
    """
    from scipy.stats import binomtest

    if n == 0:
        return 0.0, 1.0
    interval = binomtest(k, n).proportion_ci(0.95, "exact")
    return float(interval.low), float(interval.high)


_Scored = tuple[LabeledImage, Inspection]


def summary(
    images: Sequence[LabeledImage],
    results: Sequence[Inspection],
    pixels: PixelMetrics | None,
    promised_rate: float,
    good_scores: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Compute all metrics of an evaluation.

    Parameters
    ----------
    images : sequence of LabeledImage
    results : sequence of Inspection
        One for each image, in the same order.
    pixels : PixelMetrics or None
        Pixel metrics of these images, if they have masks.
    promised_rate : float
        The highest rate of false alarms that the limit of the model promises, 0 to 1.
    good_scores : sequence of float, optional
        Scores of the good images that set the limits, in the unit of `Inspection.score`. With them the summary has a
        field `shift`: the p-value of a one-sided Mann-Whitney test that good test images score higher.

    Returns
    -------
    dict
        JSON types only; None where a metric is not defined.

    Raises
    ------
    ValueError
        If the numbers of images and results differ.

    Notes
    -----
    An image that was not inspected counts only in `n_failed` (status "error") or `n_invalid` (status "invalid"): an
    INVALID defective image is neither found nor missed. "Found", precision, recall, F1 and false alarms apply to the
    limit of the model: NG counts as a detection, UNSURE does not.
    """
    if len(images) != len(results):
        raise ValueError(f"{len(images)} images but {len(results)} results; give one result for each image")
    scored = [(image, result) for image, result in zip(images, results) if result.status == "ok"]
    good = [pair for pair in scored if not pair[0].defective]
    defective = [pair for pair in scored if pair[0].defective]
    defects = sorted({image.label for image in images if image.defective})
    values = {
        "n_good": len(good),
        "n_defective": len(defective),
        "n_failed": sum(result.status == "error" for result in results),
        "n_invalid": sum(result.status == "invalid" for result in results),
        "not_inspected": _not_inspected(images, results),
        **_ranking(good, defective),
        **_detection(good, defective),
        "by_defect": {
            name: _of_defect([pair for pair in zip(images, results) if pair[0].defective and pair[0].label == name])
            for name in defects
        },
        **_mistakes(good, defective),
        "pixel_auroc": None if pixels is None else _defined(pixels.auroc()),
        "aupro": None if pixels is None else _defined(pixels.aupro()),
    }
    values["false_alarms"]["promised"] = promised_rate
    if good_scores is not None:
        values["shift"] = {"p_value": _shift(good, good_scores)}
    return values


def _ranking(good: list[_Scored], defective: list[_Scored]) -> dict[str, Any]:
    """Compute the metrics that do not depend on a limit."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not (good and defective):
        return {"image_auroc": None, "average_precision": None}
    truth = [False] * len(good) + [True] * len(defective)
    scores = [result.score for _, result in good + defective]
    return {
        "image_auroc": float(roc_auc_score(truth, scores)),
        "average_precision": float(average_precision_score(truth, scores)),
    }


def _detection(good: list[_Scored], defective: list[_Scored]) -> dict[str, Any]:
    """Compute the metrics at the limit of the model."""
    n_found, n_false = _count(defective, "NG"), _count(good, "NG")
    return {
        "f1": _ratio(2 * n_found, n_found + n_false + len(defective)),
        "precision": _ratio(n_found, n_found + n_false),
        "recall": _ratio(n_found, len(defective)),
        "false_alarms": _rate(n_false, len(good)),
        "found": _rate(n_found, len(defective)),
        "unsure": {"good": _count(good, "UNSURE"), "defective": _count(defective, "UNSURE")},
    }


def _not_inspected(images: Sequence[LabeledImage], results: Sequence[Inspection]) -> dict[str, int]:
    defective = [image.defective for image, result in zip(images, results) if result.status != "ok"]
    return {"good": defective.count(False), "defective": defective.count(True)}


def _of_defect(images: list[_Scored]) -> dict[str, int]:
    defective = [pair for pair in images if pair[1].status == "ok"]
    return {
        "found": _count(defective, "NG"),
        "of": len(defective),
        "unsure": _count(defective, "UNSURE"),
        "not_inspected": len(images) - len(defective),
    }


def _mistakes(good: list[_Scored], defective: list[_Scored]) -> dict[str, Any]:
    """List missed defects with the lowest score first, and false alarms with the highest score first."""
    missed = sorted((p for p in defective if p[1].verdict in ("OK", "UNSURE")), key=lambda pair: pair[1].score)
    alarms = sorted((p for p in good if p[1].verdict == "NG"), key=lambda pair: -pair[1].score)
    return {
        "missed": [{"path": str(i.path), "defect": i.label, "score": r.score} for i, r in missed],
        "false_alarm_images": [{"path": str(i.path), "score": r.score} for i, r in alarms],
    }


def _shift(good: list[_Scored], good_scores: Sequence[float]) -> float | None:
    from scipy.stats import mannwhitneyu

    if not good or not len(good_scores):
        return None
    scores = [result.score for _, result in good]
    return _defined(float(mannwhitneyu(scores, good_scores, alternative="greater").pvalue))


def _count(scored: list[_Scored], verdict: str) -> int:
    return sum(result.verdict == verdict for _, result in scored)


def _rate(k: int, n: int) -> dict[str, Any]:
    return {"n": k, "of": n, "rate": _ratio(k, n), "interval": list(binomial_interval(k, n))}


def _ratio(k: int, n: int) -> float | None:
    return k / n if n else None


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def summary_lines(summary: dict[str, Any]) -> dict[str, str]:
    """Return a summary as lines of text, by name.

    Parameters
    ----------
    summary : dict
        From `summary`.

    Returns
    -------
    dict of str to str
    """
    found, alarms, unsure = summary["found"], summary["false_alarms"], summary["unsure"]
    others = f", {summary['n_failed']} could not be scored" if summary["n_failed"] else ""
    others += f", {summary['n_invalid']} invalid" if summary["n_invalid"] else ""
    if others:
        not_inspected = summary["not_inspected"]
        others += f" ({not_inspected['good']} good, {not_inspected['defective']} defective), which count in no figure"
    average_precision = _shown(summary["average_precision"], 3)
    lines = {
        "images": f"{summary['n_good']} good, {summary['n_defective']} defective{others}",
        "image AUROC": f"{_shown(summary['image_auroc'], 3)}   average precision {average_precision}",
    }
    if summary["pixel_auroc"] is not None:
        lines["pixel AUROC"] = f"{summary['pixel_auroc']:.3f}   AUPRO {summary['aupro']:.3f}"
    lines["at the limit"] = f"F1 {_shown(summary['f1'], 2)}, found {_rate_shown(found, 0)}"
    lines["false alarms"] = f"{_rate_shown(alarms, 1)}, {_promise(alarms['promised'])}"
    if unsure["good"] or unsure["defective"]:
        lines["unsure"] = f"{unsure['good']} good, {unsure['defective']} defective"
    for defect, counts in summary["by_defect"].items():
        also = f", {counts['unsure']} unsure" if counts["unsure"] else ""
        also += f", {counts['not_inspected']} not inspected" if counts["not_inspected"] else ""
        lines[f"  {defect}"] = f"{counts['found']} of {counts['of']} found{also}"
    return lines


def remarks(summary: dict[str, Any]) -> list[str]:
    """Return warnings: a rate that does not hold on these test images, or shifted scores.

    Parameters
    ----------
    summary : dict
        From `summary`.

    Returns
    -------
    list of str
        One or two sentences each; empty if nothing is wrong.
    """
    alarms, p_value = summary["false_alarms"], summary.get("shift", {}).get("p_value")
    found = []
    if alarms["interval"][0] > alarms["promised"]:
        promised = f"{100 * alarms['promised']:.1f}%"
        found.append(f"The promise of at most {promised} false alarms does not hold on these images.")
    if p_value is not None and p_value < SHIFT_P_VALUE:
        found.append(
            "Good test images score higher than the good images that set the limits. The camera, the light or the"
            " product has changed, so the promised rate does not apply. `cfa-lite calibrate` sets new limits from new"
            " good images."
        )
    return found


def _promise(rate: float) -> str:
    return f"promised at most {100 * rate:.1f}%" if rate < 1 else "no guarantee: too few calibration images"


def _shown(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _rate_shown(rate: dict[str, Any], decimals: int) -> str:
    """Return text such as "3 of 16 (19%, 95% interval 4 to 46%)", or only the counts if there is no rate."""
    counts = f"{rate['n']} of {rate['of']}"
    if rate["rate"] is None:
        return counts
    share, low, high = (f"{100 * value:.{decimals}f}" for value in (rate["rate"], *rate["interval"]))
    return f"{counts} ({share}%, 95% interval {low} to {high}%)"
