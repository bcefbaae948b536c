"""How good a fitted model is on images whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..results import Inspection
from .ground_truth import KnownImage

CERTAIN_SHIFT = 0.001  # p-value below which good images of the test are said to score higher than the training's
_N_BINS = 1 << 20  # the upper 20 bits of a float32: bins 1/2048 of their value wide or narrower


class PixelMeasures:
    """How well maps tell defective pixels from normal ones, fed image by image.

    Values are counted in bins no wider than 1/2048 of the value, so memory stays the same however many images
    are added. Pixels of one bin count as ties.
    """

    def __init__(self) -> None:
        self._normal = np.zeros(_N_BINS, np.int64)
        self._defective = np.zeros(_N_BINS, np.int64)
        self._overlap = np.zeros(_N_BINS)  # as _defective, but each region counts 1 in all, whatever its area
        self._n_regions = 0

    def add(self, score_map: np.ndarray, mask: np.ndarray) -> None:
        """Count one image.

        Parameters
        ----------
        score_map : ndarray (h, w) float32
            Higher where the image is less like good ones; any unit, the same for all images.
        mask : ndarray (h, w) bool
            Where the defect is. Each of its 8-connected regions counts alike in `aupro`.

        Raises
        ------
        ValueError
            If the shapes differ, or the map holds what is not a finite number.
        """
        from scipy import ndimage

        if score_map.shape != mask.shape or score_map.ndim != 2:
            raise ValueError(
                f"the map has shape {score_map.shape}, its mask {mask.shape}; both must be the same (h, w)"
            )
        if not np.isfinite(score_map).all():
            raise ValueError("the map holds values that are not finite")
        bins = _bins(score_map)
        self._normal += np.bincount(bins[~mask], minlength=_N_BINS)
        if not mask.any():
            return
        regions, n_regions = ndimage.label(mask, np.ones((3, 3)))
        share = 1 / np.bincount(regions[mask])[1:]
        self._defective += np.bincount(bins[mask], minlength=_N_BINS)
        self._overlap += np.bincount(bins[mask], share[regions[mask] - 1], minlength=_N_BINS)
        self._n_regions += n_regions

    def auroc(self) -> float:
        """InspectionMask under the ROC curve of all pixels; NaN unless there are normal and defective ones."""
        from sklearn.metrics import roc_auc_score

        if self._one_sided():
            return math.nan
        normal, defective = np.flatnonzero(self._normal), np.flatnonzero(self._defective)
        answer = np.repeat([False, True], [len(normal), len(defective)])
        weights = np.concatenate([self._normal[normal], self._defective[defective]])
        return float(roc_auc_score(answer, np.concatenate([normal, defective]), sample_weight=weights))

    def aupro(self, max_fpr: float = 0.3) -> float:
        """InspectionMask under the curve of mean overlap with a region against false-positive rate, up to `max_fpr`.

        Divided by `max_fpr`, so 1 is perfect; NaN unless there are normal and defective pixels.

        Raises
        ------
        ValueError
            If `max_fpr` is not above 0 and at most 1.
        """
        from sklearn.metrics import auc

        if not 0 < max_fpr <= 1:
            raise ValueError(f"max_fpr is {max_fpr}; it must be above 0 and at most 1")
        if self._one_sided():
            return math.nan
        used = np.flatnonzero(self._normal + self._defective)[::-1]
        rate = np.append(0, np.cumsum(self._normal[used]) / self._normal.sum())
        overlap = np.append(0, np.cumsum(self._overlap[used]) / self._n_regions)
        n_below = np.searchsorted(rate, max_fpr, "right")
        border = slice(n_below - 1, n_below + 1)  # the two points that max_fpr lies between
        end = np.interp(max_fpr, rate[border], overlap[border])
        return float(auc(np.append(rate[:n_below], max_fpr), np.append(overlap[:n_below], end)) / max_fpr)

    def _one_sided(self) -> bool:
        return not (self._normal.any() and self._defective.any())


def _bins(values: np.ndarray) -> np.ndarray:
    """Bin (0 to _N_BINS - 1) of each value; the order of bins is that of values."""
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.uint32)  # + 0: -0.0 becomes 0.0
    sign = np.uint32(1 << 31)
    return np.where(bits & sign, ~bits, bits | sign) >> np.uint32(12)


def proportion(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a rate of which `k` of `n` were seen (Clopper and Pearson); 0 to 1 for `n` = 0."""
    from scipy.stats import binomtest

    if n == 0:
        return 0.0, 1.0
    interval = binomtest(k, n).proportion_ci(0.95, "exact")
    return float(interval.low), float(interval.high)


def summary(
    images: Sequence[KnownImage],
    results: Sequence[Inspection],
    pixels: PixelMeasures | None,
    promised_rate: float,
    good_scores: Sequence[float] | None = None,
) -> dict[str, Any]:
    """All measures, in types that JSON knows; None where one is not defined.

    Images that could not be scored count in `n_failed` alone. INVALID ones are neither found nor missed. "Found", F1, precision, recall and false alarms
    are those at the limit the model was fitted with: NG counts, UNSURE does not.

    Parameters
    ----------
    images : sequence of KnownImage
    results : sequence of Inspection
        One an image, in the same order.
    pixels : PixelMeasures or None
        Of these images, if they have masks.
    promised_rate : float
        Share of good images (0 to 1) that the model was promised to call NG at most.
    good_scores : sequence of float, optional
        Scores of the training's held-out good images, in the unit of `Inspection.score`. With them, `shift`
        holds the p-value of the good images of the test scoring no higher (Mann and Whitney, one-sided).

    Raises
    ------
    ValueError
        If there are not as many results as images.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.metrics import average_precision_score, roc_auc_score

    if len(images) != len(results):
        raise ValueError(f"{len(images)} images but {len(results)} results; give one an image")
    scored = [(image, result) for image, result in zip(images, results) if math.isfinite(result.score)]
    good = [(image, result) for image, result in scored if not image.defective]
    defective = [(image, result) for image, result in scored if image.defective]
    scores = [result.score for _, result in good + defective]
    answers = [False] * len(good) + [True] * len(defective)
    ranked = bool(good and defective)
    n_found, n_false = _count(defective, "NG"), _count(good, "NG")
    missed = sorted((pair for pair in defective if pair[1].verdict in ("OK", "UNSURE")), key=lambda pair: pair[1].score)
    alarms = sorted((pair for pair in good if pair[1].verdict == "NG"), key=lambda pair: -pair[1].score)
    by_kind = {}
    for kind in sorted({image.kind for image in images if image.defective}):
        of_kind = [pair for pair in defective if pair[0].kind == kind]
        by_kind[kind] = {"found": _count(of_kind, "NG"), "of": len(of_kind), "unsure": _count(of_kind, "UNSURE")}
    values: dict[str, Any] = {
        "n_good": len(good),
        "n_defective": len(defective),
        "n_failed": len(images) - len(scored),
        "n_invalid": sum(result.verdict == "INVALID" for result in results),
        "image_auroc": float(roc_auc_score(answers, scores)) if ranked else None,
        "average_precision": float(average_precision_score(answers, scores)) if ranked else None,
        "f1": _ratio(2 * n_found, n_found + n_false + len(defective)),
        "precision": _ratio(n_found, n_found + n_false),
        "recall": _ratio(n_found, len(defective)),
        "false_alarms": _rate(n_false, len(good)) | {"promised": promised_rate},
        "found": _rate(n_found, len(defective)),
        "unsure": {"good": _count(good, "UNSURE"), "defective": _count(defective, "UNSURE")},
        "by_kind": by_kind,
        "missed": [{"path": str(p.path), "kind": p.kind, "score": r.score} for p, r in missed],
        "false_alarm_images": [{"path": str(p.path), "score": r.score} for p, r in alarms],
        "pixel_auroc": None if pixels is None else _number(pixels.auroc()),
        "aupro": None if pixels is None else _number(pixels.aupro()),
    }
    if good_scores is not None:
        both = len(good) > 0 and len(good_scores) > 0
        p_value = mannwhitneyu(scores[: len(good)], good_scores, alternative="greater").pvalue if both else math.nan
        values["shift"] = {"p_value": _number(float(p_value))}
    return values


def _count(scored: list[tuple[KnownImage, Inspection]], verdict: str) -> int:
    return sum(result.verdict == verdict for _, result in scored)


def _rate(k: int, n: int) -> dict[str, Any]:
    return {"n": k, "of": n, "rate": _ratio(k, n), "interval": list(proportion(k, n))}


def _ratio(k: int, n: int) -> float | None:
    return k / n if n else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def told(summary: dict[str, Any]) -> dict[str, str]:
    """What `summary` gave, in lines to read, by name."""
    found, alarms, unsure = summary["found"], summary["false_alarms"], summary["unsure"]
    failed = f", {summary['n_failed']} could not be scored" if summary["n_failed"] else ""
    failed += f", {summary['n_invalid']} invalid" if summary["n_invalid"] else ""
    average_precision = _shown(summary["average_precision"], 3)
    lines = {
        "images": f"{summary['n_good']} good, {summary['n_defective']} defective{failed}",
        "image AUROC": f"{_shown(summary['image_auroc'], 3)}   average precision {average_precision}",
    }
    if summary["pixel_auroc"] is not None:
        lines["pixel AUROC"] = f"{summary['pixel_auroc']:.3f}   AUPRO {summary['aupro']:.3f}"
    lines["at the limit"] = f"F1 {_shown(summary['f1'], 2)}, found {_rate_shown(found, 0)}"
    lines["false alarms"] = f"{_rate_shown(alarms, 1)}, promised at most {100 * alarms['promised']:.1f} %"
    if unsure["good"] or unsure["defective"]:
        lines["unsure"] = f"{unsure['good']} good, {unsure['defective']} defective"
    for kind, counts in summary["by_kind"].items():
        also = f", {counts['unsure']} unsure" if counts["unsure"] else ""
        lines[f"  {kind}"] = f"{counts['found']} of {counts['of']} found{also}"
    return lines


def remarks(summary: dict[str, Any]) -> list[str]:
    """What does not hold on these images, and why that may be."""
    alarms, p_value = summary["false_alarms"], summary.get("shift", {}).get("p_value")
    found = []
    if alarms["interval"][0] > alarms["promised"]:
        promised = f"{100 * alarms['promised']:.1f} %"
        found.append(f"The promise of at most {promised} false alarms does not hold on these images.")
    if p_value is not None and p_value < CERTAIN_SHIFT:
        found.append(
            "Good images of the test score higher than those that the limits are of: camera, light or product differ,"
            " so nothing is promised of them. `cfa-lite calibrate` sets limits on new good images."
        )
    return found


def _shown(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _rate_shown(rate: dict[str, Any], decimals: int) -> str:
    """ "3 of 16 (19 %, 95 % interval 4 to 46 %)"; of nothing, the counts alone."""
    counts = f"{rate['n']} of {rate['of']}"
    if rate["rate"] is None:
        return counts
    share, low, high = (f"{100 * value:.{decimals}f}" for value in (rate["rate"], *rate["interval"]))
    return f"{counts} ({share} %, 95 % interval {low} to {high} %)"
