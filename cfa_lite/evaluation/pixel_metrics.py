"""Pixel AUROC and AUPRO of anomaly maps against ground-truth masks."""

from __future__ import annotations

import math

import numpy as np

_N_BINS = 1 << 20  # the upper 20 bits of a float32: the width of a bin is at most 1/2048 of its value


class PixelMetrics:
    """How well anomaly maps separate defective from normal pixels, computed image by image.

    Notes
    -----
    Values are counted in bins whose width is at most 1/2048 of the value, so the memory does not grow with the number
    of images. Pixels in one bin count as ties.
    """

    def __init__(self) -> None:
        self._normal = np.zeros(_N_BINS, np.int64)
        self._defective = np.zeros(_N_BINS, np.int64)
        self._overlap = np.zeros(_N_BINS)  # as _defective, but the pixels of each region add up to 1
        self._n_regions = 0

    def add(self, anomaly_map: np.ndarray, mask: np.ndarray) -> None:
        """Add one image.

        Parameters
        ----------
        anomaly_map : ndarray of float32, shape (h, w)
            Larger values mean more anomalous, in any unit that is the same for all images.
        mask : ndarray of bool, shape (h, w)
            The ground truth: True where the image shows the defect. Each 8-connected region has the same weight in
            `aupro`.

        Raises
        ------
        ValueError
            If the shapes differ, or the map contains NaN or infinity.
        """
        from scipy import ndimage

        if anomaly_map.shape != mask.shape or anomaly_map.ndim != 2:
            raise ValueError(
                f"the map has shape {anomaly_map.shape} and its mask {mask.shape}; both must have the same shape (h, w)"
            )
        if not np.isfinite(anomaly_map).all():
            raise ValueError("the map contains values that are not finite")
        bins = _bins(anomaly_map)
        self._normal += np.bincount(bins[~mask], minlength=_N_BINS)
        if not mask.any():
            return
        regions, n_regions = ndimage.label(mask, np.ones((3, 3)))
        share = 1 / np.bincount(regions[mask])[1:]
        self._defective += np.bincount(bins[mask], minlength=_N_BINS)
        self._overlap += np.bincount(bins[mask], share[regions[mask] - 1], minlength=_N_BINS)
        self._n_regions += n_regions

    def auroc(self) -> float:
        """Return the area under the ROC curve of all pixels, or NaN if there are no normal or no defective pixels."""
        from sklearn.metrics import roc_auc_score

        if self._one_sided():
            return math.nan
        normal, defective = np.flatnonzero(self._normal), np.flatnonzero(self._defective)
        truth = np.repeat([False, True], [len(normal), len(defective)])
        weights = np.concatenate([self._normal[normal], self._defective[defective]])
        return float(roc_auc_score(truth, np.concatenate([normal, defective]), sample_weight=weights))

    def aupro(self, max_fpr: float = 0.3) -> float:
        """Return the area under the per-region overlap curve.

        Parameters
        ----------
        max_fpr : float
            False-positive rate at which the curve ends, above 0 and at most 1.

        Returns
        -------
        float
            0 to 1; 1 is perfect. NaN if there are no normal or no defective pixels.

        Raises
        ------
        ValueError
            If `max_fpr` is out of its range.

        Notes
        -----
        The curve is the mean overlap with the ground-truth regions against the false-positive rate of normal pixels.
        Its area up to `max_fpr` is divided by `max_fpr`.
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
        border = slice(n_below - 1, n_below + 1)  # the two points around max_fpr
        end = np.interp(max_fpr, rate[border], overlap[border])
        return float(auc(np.append(rate[:n_below], max_fpr), np.append(overlap[:n_below], end)) / max_fpr)

    def _one_sided(self) -> bool:
        return not (self._normal.any() and self._defective.any())


def _bins(values: np.ndarray) -> np.ndarray:
    """Return the bin of each value, 0 to _N_BINS - 1. Bins have the same order as values."""
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.uint32)  # + 0: -0.0 becomes 0.0
    sign = np.uint32(1 << 31)
    return np.where(bits & sign, ~bits, bits | sign) >> np.uint32(12)
