"""Directions in descriptor space that tell defects from normal patches: Fisher's linear discriminant, shrunk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RIDGE = 1.0  # share of the mean eigenvalue that is added to each eigenvalue


class Spread(NamedTuple):
    """Distribution of the descriptors of normal patches: mean (d,), eigenvalues (d,) and eigenvectors (d, d)."""

    mean: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray


def spread(descriptors: np.ndarray, weights: np.ndarray) -> Spread:
    """Compute the weighted mean and covariance of descriptors.

    Parameters
    ----------
    descriptors : ndarray (n, d) float32
    weights : ndarray (n,)
        At least 0, not all 0.

    Returns
    -------
    Spread
        float64.
    """
    shares = (weights / weights.sum()).astype(np.float32)
    mean = shares @ descriptors
    centered = descriptors - mean
    covariance = (centered * shares[:, None]).T @ centered
    eigenvalues, vectors = np.linalg.eigh(covariance.astype(np.float64))
    return Spread(mean.astype(np.float64), np.maximum(eigenvalues, 0), vectors)


def directions(prototypes: np.ndarray, normal: Spread) -> np.ndarray:
    """Compute the direction of each prototype of a defect.

    Parameters
    ----------
    prototypes : ndarray (n, d)
        Mean descriptors of defects.
    normal : Spread
        Of descriptors of normal patches.

    Returns
    -------
    ndarray (d, n) float32

    Notes
    -----
    w = (S + r * mean(ev) * I)^-1 (prototype - mean), with the covariance S of normal patches and its eigenvalues ev:
    Fisher's discriminant whose within-class covariance is that of normal patches only, because a few defective patches
    have none that could be estimated.
    """
    floor = max(RIDGE * float(normal.eigenvalues.mean()), np.finfo(np.float32).tiny)
    projected = normal.vectors.T @ (prototypes - normal.mean).T
    found: np.ndarray = (normal.vectors @ (projected / (normal.eigenvalues + floor)[:, None])).astype(np.float32)
    return found
