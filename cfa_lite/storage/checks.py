"""Checks of single values that were read from a file."""

from __future__ import annotations

from typing import Any

import numpy as np


def positive(value: Any, name: str) -> float:
    """Return a number above 0.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not (isinstance(value, (int, float)) and np.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}")
    return float(value)


def share(value: Any, name: str) -> float:
    """Return a number from 0 to 1.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise ValueError(f"{name} is {value!r}")
    return float(value)
