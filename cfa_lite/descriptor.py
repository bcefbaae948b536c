"""Stage 4: patch features -> descriptors, by a linear map."""

from __future__ import annotations

import numpy as np


def shrunk_whitening(patches: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """The closed-form start of a level's descriptor.

    Parameters
    ----------
    patches : ndarray (n, d) float32
        Patch features of good pictures.
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
    In float64, for the smallest eigenvalues are differences of large numbers.
    """
    rows = patches.astype(np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    eigenvalues, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    eigenvalues = np.maximum(eigenvalues, 0)
    floor = max(shrinkage * eigenvalues.mean(), np.finfo(np.float32).tiny)  # tiny: a constant map divides by zero
    weight = vectors / np.sqrt(eigenvalues + floor)
    return mean.astype(np.float32), np.ascontiguousarray(weight, np.float32)


def describe(patches: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Descriptors (n, d) float32 of patch features (n, c) in any memory order."""
    return (patches - mean) @ weight
