"""Stage 4: patch features -> descriptors, by a linear map."""

from __future__ import annotations

import numpy as np

_BLOCK = 2048  # rows multiplied at a time


def shrunk_whitening(patches: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """The closed-form start of a level's descriptor.

    Parameters
    ----------
    patches : ndarray (n, d) float32
        Patch features of good images.
    shrinkage : float, above 0
        Share of the mean eigenvalue added to every eigenvalue: 0 would whiten fully and blow up noise.

    Returns
    -------
    mean : ndarray (d,) float32
    weight : ndarray (d, d) float32
        Descriptors are (patches - mean) @ weight.

    Notes
    -----
    weight = U (ev + s * mean(ev))^-1/2 with U, ev the eigenvectors and eigenvalues of the covariance.
    Products of centred rows are single, their sum over blocks and the rest double: what an eigenvalue loses by that is
    far below what shrinkage adds.
    """
    mean = patches.mean(axis=0, dtype=np.float64)
    total = np.zeros((patches.shape[1],) * 2)
    for start in range(0, len(patches), _BLOCK):
        rows = patches[start : start + _BLOCK] - mean.astype(np.float32)
        total += rows.T @ rows
    eigenvalues, vectors = np.linalg.eigh(total / len(patches))
    eigenvalues = np.maximum(eigenvalues, 0)
    floor = max(shrinkage * eigenvalues.mean(), np.finfo(np.float32).tiny)  # tiny: a constant map divides by zero
    weight = vectors / np.sqrt(eigenvalues + floor)
    return mean.astype(np.float32), np.ascontiguousarray(weight, np.float32)


def describe(patches: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Descriptors (n, d) float32 of patch features (n, c) in any memory order."""
    return (patches - mean) @ weight
