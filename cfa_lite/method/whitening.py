"""Whitening: patch features -> descriptors by a linear map."""

from __future__ import annotations

import numpy as np

_BLOCK = 2048  # rows per matrix product


def shrunk_whitening(patches: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the whitening of patch features with shrunk eigenvalues.

    Parameters
    ----------
    patches : ndarray (n, d) float32
        Patch features of good images.
    shrinkage : float, above 0
        Share of the mean eigenvalue that is added to every eigenvalue. A value near 0 whitens completely, which
        amplifies noise.

    Returns
    -------
    mean : ndarray (d,) float32
    weight : ndarray (d, d) float32
        Descriptors are (patches - mean) @ weight.

    Notes
    -----
    weight = U (ev + s * mean(ev))^-1/2, with the eigenvectors U and eigenvalues ev of the covariance. Products of
    centered rows are float32. Their sum over blocks and all later steps are float64. The error of the eigenvalues is
    far below what the shrinkage adds.
    """
    mean = patches.mean(axis=0, dtype=np.float64)
    total = np.zeros((patches.shape[1],) * 2)
    for start in range(0, len(patches), _BLOCK):
        rows = patches[start : start + _BLOCK] - mean.astype(np.float32)
        total += rows.T @ rows
    eigenvalues, vectors = np.linalg.eigh(total / len(patches))
    eigenvalues = np.maximum(eigenvalues, 0)
    floor = max(shrinkage * eigenvalues.mean(), np.finfo(np.float32).tiny)  # constant patches have a mean of 0
    weight = vectors / np.sqrt(eigenvalues + floor)
    return mean.astype(np.float32), np.ascontiguousarray(weight, np.float32)


def describe(patches: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Apply a linear descriptor.

    Parameters
    ----------
    patches : ndarray (n, c) float32
        Patch features in any memory order.
    mean : ndarray (c,) float32
    weight : ndarray (c, d) float32

    Returns
    -------
    ndarray (n, d) float32
    """
    descriptors: np.ndarray = (patches - mean) @ weight
    return descriptors
