"""What scoring gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

FIELDS = ("path", "status", "verdict", "score", "raw_score", "threshold", "seconds", "message")


@dataclass(frozen=True)
class ScoreResult:
    """The answer for one picture.

    Attributes
    ----------
    path : str
        The picture's path, or "image <position>" for one given as an object.
    status : str
        "ok", or "error" for a picture that could not be scored; `message` then says why.
    verdict : str
        "OK", "NG", or "ERROR".
    score : float
        raw_score / threshold: above 1.0 is NG. NaN for an error.
    raw_score : float
        Maximum of the score map of the pooled levels, in units of the mean distance of good patches.
    threshold : float
        The limit of raw_score, learnt from good pictures alone.
    seconds : float
        Reading and scoring.
    message : str
        Empty, or what was wrong.
    map : ndarray (h, w) float32 or None
        Score map at the size the picture was worked at; 1.0 is the largest value that good pictures
        reached. None for an error.
    picture_size_px : (int, int)
        Height and width of the picture; (0, 0) for an error.
    """

    path: str
    status: str
    verdict: str
    score: float
    raw_score: float
    threshold: float
    seconds: float
    message: str = ""
    map: np.ndarray | None = None
    picture_size_px: tuple[int, int] = (0, 0)

    def full_map(self) -> np.ndarray:
        """The map brought to the picture's own size (bilinear): float32 (h, w).

        Raises
        ------
        ValueError
            If the picture could not be scored.
        """
        h, w = self.picture_size_px
        return self.map_at(w, h)

    def map_at(self, width: int, height: int) -> np.ndarray:
        """The map brought to any size (bilinear): float32 (height, width). Raises like `full_map`."""
        if self.map is None:
            raise ValueError(f"{self.path} has no map: {self.message}")
        return np.asarray(Image.fromarray(self.map).resize((width, height), Image.Resampling.BILINEAR))

    def to_dict(self) -> dict[str, str | float]:
        """All but the map, in the order of the CSV columns."""
        return {field: getattr(self, field) for field in FIELDS}


def failed(path: str, message: str, threshold: float, seconds: float) -> ScoreResult:
    """Result of a picture that could not be scored."""
    return ScoreResult(path, "error", "ERROR", float("nan"), float("nan"), threshold, seconds, message)
