"""Fingerprints: short hashes of pixels, which tell whether an image has been seen before."""

from __future__ import annotations

import hashlib

import numpy as np

N_BYTES = 8


def of_pixels(pixels: np.ndarray) -> str:
    """Return the fingerprint of an image in hexadecimal, whatever its file name and format.

    Parameters
    ----------
    pixels : ndarray of shape (3, h, w), float32, 0 to 255
        Pixels of the working size. They are rounded to 8 bits.
    """
    rounded = np.rint(pixels).astype(np.uint8)
    return hashlib.blake2b(rounded.tobytes(), digest_size=N_BYTES, person=repr(rounded.shape)[:16].encode()).hexdigest()


def to_array(fingerprints: list[str]) -> np.ndarray:
    """Return fingerprints as an ndarray of shape (n, 8), uint8."""
    return np.frombuffer(bytes.fromhex("".join(fingerprints)), np.uint8).reshape(-1, N_BYTES)


def from_array(fingerprints: np.ndarray) -> list[str]:
    """Reverse `to_array`."""
    return [row.tobytes().hex() for row in fingerprints]
