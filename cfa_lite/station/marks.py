"""Marks: boxes and blobs that a person draws on an image with a finger, and the mask that they make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..line.answering import RequestError

MAX_MARKS, MAX_POINTS = 50, 500  # of an image, and of a blob
_MAX_PX = 10**6


@dataclass(frozen=True)
class Mark:
    """A polygon with a rounded border: the points of a finger, or the corners of a box.

    Attributes
    ----------
    points : tuple of (float, float)
        x and y in pixels of the image, whose upper left corner is (0, 0).
    width_px : float
        Width of the line around it, so that a short stroke marks something too.
    """

    points: tuple[tuple[float, float], ...]
    width_px: float = 0.0


def from_json(given: Any) -> tuple[Mark, ...]:
    """Return marks from JSON, such as ``[{"points": [[1, 2], [5, 2], [5, 9]], "width": 3}]``.

    Raises
    ------
    RequestError
        If these are no marks, or too many.
    """
    try:
        marks = tuple(
            Mark(tuple((float(x), float(y)) for x, y in one["points"]), float(one.get("width", 0))) for one in given
        )
        numbers = [v for mark in marks for point in mark.points for v in point] + [mark.width_px for mark in marks]
        if not all(math.isfinite(v) and abs(v) <= _MAX_PX for v in numbers):
            raise ValueError
        if len(marks) > MAX_MARKS or not all(0 < len(mark.points) <= MAX_POINTS for mark in marks):
            raise ValueError
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise RequestError(
            400, f"marks is not a list of at most {MAX_MARKS} marks with 1 to {MAX_POINTS} points each"
        ) from error
    return marks


def to_json(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """Return marks as JSON, as `from_json` reads them."""
    return [{"points": [list(point) for point in mark.points], "width": mark.width_px} for mark in marks]


def mask(marks: Sequence[Mark], size_px: tuple[int, int]) -> np.ndarray | None:
    """Draw marks as a mask.

    Parameters
    ----------
    marks : sequence of Mark
    size_px : (int, int)
        Height and width of the image.

    Returns
    -------
    ndarray of shape (h, w), bool, or None
        None if nothing of the image is marked.
    """
    canvas = Image.new("L", size_px[::-1])
    draw = ImageDraw.Draw(canvas)
    for mark in marks:
        if len(mark.points) > 2:
            draw.polygon(mark.points, fill=255)
        if len(mark.points) > 1:
            draw.line([*mark.points, mark.points[0]], fill=255, width=max(1, round(mark.width_px)), joint="curve")
        radius = max(0.5, mark.width_px / 2)
        for x, y in mark.points if radius >= 1 or len(mark.points) == 1 else ():
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    marked = np.asarray(canvas) > 0
    return marked if marked.any() else None
