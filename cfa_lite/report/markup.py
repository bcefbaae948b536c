"""Small pieces of HTML that the parts of the report page share."""

from __future__ import annotations

import html
import math

from ..evaluation.ground_truth import GOOD


def mistake_of(verdict: str, label: str) -> str:
    """Return "missed" for a defect that is OK or UNSURE, "false-alarm" for a good image that is NG, else ""."""
    if label and label != GOOD and verdict in ("OK", "UNSURE"):
        return "missed"
    return "false-alarm" if label == GOOD and verdict == "NG" else ""


def filter_tags(verdict: str, label: str) -> str:
    """Return the attribute by which the filter buttons find an image."""
    mistake = mistake_of(verdict, label)
    return f"data-tags='{verdict} {mistake}'" if mistake else f"data-tags={verdict}"


def share(n: int, total: int) -> str:
    """Return a share in percent, or "-" of nothing."""
    return f"{100 * n / total:.1f}%" if total else "-"


def number(value: float, digits: int) -> str:
    """Return a number with a fixed count of digits, or "" for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def escaped(text: str) -> str:
    """Escape text for use between tags and in quoted attributes. Bytes in file names that are not text become "?"."""
    return html.escape(text.encode("utf-8", "replace").decode())
