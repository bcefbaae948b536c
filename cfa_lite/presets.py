"""How accuracy and time are traded: presets that name a backbone, a size and a number of centers.

Chosen by measurement (benchmarks/presets.py; DESIGN.md, presets). What is given by hand stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Arguments of `CFA` that are None unless given."""

    backbone: str
    size: int
    n_centers: int


PRESETS = {  # the most accurate first
    "exact": Preset("lite0", 256, 256),
    "balanced": Preset("lite0-int8", 256, 256),
    "fast": Preset("lite0-int8", 192, 128),
}


def resolved(params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `CFA` with those that are None taken from the preset `params["speed"]`.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    if params["speed"] not in PRESETS:
        raise ValueError(f"speed={params['speed']!r}: give one of {', '.join(map(repr, PRESETS))}")
    preset = asdict(PRESETS[params["speed"]])
    return {**params, **{name: value for name, value in preset.items() if params[name] is None}}
