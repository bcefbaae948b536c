"""Changes in words."""

from __future__ import annotations

from datetime import datetime

from .changes import Change, Drift
from .rows import QUANTITIES, Rows

NAMES = dict(zip(QUANTITIES, ("scores", "light", "sharpness", "sideways position", "vertical position")))
_TOGETHER = 20  # changes that begin within so many images begin at the same time


def lines(drift: Drift) -> list[str]:
    """Return what has changed, what has not, and what cannot be told.

    Parameters
    ----------
    drift : Drift

    Returns
    -------
    list of str
    """
    found = [_told(drift, group) for group in _groups(drift.changes)]
    if drift.steady:
        found.append(f"No change of {_listed([NAMES[n] for n in drift.steady])}.")
    found += [f"Not judged: {NAMES[name]}: {reason}." for name, reason in drift.unknown.items()]
    missing = [name for name in QUANTITIES if not {name} & ({c.quantity for c in drift.changes} | {*drift.steady})]
    if absent := [NAMES[name] for name in missing if name not in drift.unknown]:
        found.append(f"No values of {_listed(absent)} in {drift.rows.source}.")
    n = len(drift.rows)
    found.append(
        f"{n} image{'s' * (n != 1)} compared with a reference of {drift.n_reference}. At most one false alarm in"
        f" {drift.n_between_alarms:,.0f} images is expected."
    )
    return found


def _groups(changes: list[Change]) -> list[list[Change]]:
    groups: list[list[Change]] = []
    for change in changes:
        if groups and change.first - groups[-1][0].first <= _TOGETHER:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _told(drift: Drift, group: list[Change]) -> str:
    when = _when(drift.rows, group[0].first)
    told = []
    for change in group:
        end = "" if change.end is None else f" until {_when(drift.rows, change.end)}"
        told.append(f"{_how(change)}{end}")
    return f"Since {when}: {'; '.join(told)}."


def _how(change: Change) -> str:
    before, after = change.before, change.after
    more = after > before
    if change.quantity == "score":
        return f"scores are {'higher' if more else 'lower'} ({after:.2f}, before {before:.2f})"
    if change.quantity in ("brightness", "sharpness"):
        words = ("the light rose", "the light fell") if change.quantity == "brightness" else (
            "the sharpness rose", "the sharpness fell")  # fmt: skip
        share = f" by {abs(after / before - 1):.1%}" if before else ""
        return f"{words[not more]}{share} ({after:.4g}, before {before:.4g})"
    sides = ("right", "left") if change.quantity == "shift_right_px" else ("down", "up")
    return f"the parts lie {abs(after - before):.1f} px further {sides[not more]}"


def _when(rows: Rows, position: int) -> str:
    """Return the time of an image, if its row has one, and its number in the file."""
    time, image = rows.times[position], f"image {rows.numbers[position]}"
    return image if time is None else f"{_clock(time, rows)} ({image})"


def _clock(time: datetime, rows: Rows) -> str:
    days = {other.date() for other in rows.times if other is not None}
    return time.strftime("%H:%M" if len(days) == 1 else "%Y-%m-%d %H:%M")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
