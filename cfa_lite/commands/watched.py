"""What the commands that watch a folder share: whether it is there, and whether its table goes on with other limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError
from .waiting import tell

if TYPE_CHECKING:
    from ..line.journal import Journal


def refuse_missing(folder: Path) -> None:
    """Check that a folder exists when its watch starts. Once it is watched, it may go away and come back.

    Raises
    ------
    ImageError
        If it does not exist.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} does not exist. Check the path. If it is on a share, connect the share first.")


def tell_other_limits(output: Path, journal: Journal, raw_limits: Sequence[float]) -> None:
    """Tell if a table goes on with another model or limit, and let its journal know the new ones.

    The scores of such rows cannot be compared, but a line must not stand still because its model was taught.
    """
    from ..report import tables

    limits = [tables.rounded_raw(limit) for limit in raw_limits]
    before = json.loads(journal.exchange_fact("raw limits", json.dumps(limits)))
    if len(journal) and before != limits:
        tell(
            f"{output} goes on with another model or limit: its earlier rows have raw limits of {_listed(before)}, and"
            f" new ones have {_listed(limits)}."
        )


def _listed(limits: Sequence[float]) -> str:
    return ", ".join(f"{limit:g}" for limit in limits)
