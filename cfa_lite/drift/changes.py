"""Changes: since when, until when and by how much each quantity differs from the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import OutputError
from . import chart
from .rows import Rows

MIN_REFERENCE, MIN_JUDGED = 100, 20  # images
MIN_INDEPENDENT = 30  # the reference must be worth so many independent images
_BACK = 0.5  # a change is over when the moving average is back within this share of its limit


@dataclass(frozen=True)
class Change:
    """A change of one quantity.

    Attributes
    ----------
    quantity : str
    first, alarm : int
        Position among the judged rows of the first changed image, as estimated, and of the one that showed it.
    end : int or None
        Position of the first image after the change. None if it lasts until the last row.
    before, after : float
        Median of the reference, and of the changed images.
    """

    quantity: str
    first: int
    alarm: int
    end: int | None
    before: float
    after: float


@dataclass(frozen=True)
class Drift:
    """What a results file tells about changes.

    Attributes
    ----------
    rows : Rows
        Those that were judged, after the reference.
    n_reference : int
    n_between_alarms : float
        Images between two false alarms, of all quantities together.
    changes : list of Change
        In the order of time.
    steady : list of str
        Quantities without a change.
    unknown : dict of str to str
        Quantities that cannot be judged, with the reason.
    charts : dict of str to Chart
        Of the quantities that were judged.
    """

    rows: Rows
    n_reference: int
    n_between_alarms: float
    changes: list[Change]
    steady: list[str]
    unknown: dict[str, str]
    charts: dict[str, chart.Chart]


def find(rows: Rows, reference: Rows, n_between_alarms: float) -> Drift:
    """Find the changes of all quantities.

    Parameters
    ----------
    rows : Rows
        To judge, in the order of time.
    reference : Rows
        Without a change, in the order of time, before `rows` or from another file.
    n_between_alarms : float
        Images between two false alarms, on average, of all quantities together.

    Raises
    ------
    OutputError
        If there are too few rows.
    """
    _refuse_too_few(rows, reference)
    changes: list[Change] = []
    steady, unknown, charts = [], {}, {}
    for name, values in rows.values.items():
        known = reference.values.get(name, np.array([]))
        n_known, n_judged = (int((~np.isnan(column)).sum()) for column in (known, values))
        if n_known < MIN_REFERENCE:
            unknown[name] = f"only {n_known} images of the reference have a value, and {MIN_REFERENCE} are needed"
            continue
        if n_judged < MIN_JUDGED:
            unknown[name] = f"only {n_judged} of the compared images have a value, and {MIN_JUDGED} are needed"
            continue
        made = chart.make(values, known, n_between_alarms * len(rows.values))
        if made.n_independent < MIN_INDEPENDENT:
            n_needed = int(np.ceil(MIN_INDEPENDENT / made.n_independent * n_known / 100) * 100)
            unknown[name] = (
                f"images in a row resemble each other so much that the reference is worth {made.n_independent:.0f}"
                f" independent images. About {n_needed} images are needed: --reference {n_needed}"
            )
            continue
        charts[name] = made
        found = [_change(name, values, known, made, *at) for at in excursions(made)]
        changes += found
        if not found:
            steady.append(name)
    changes.sort(key=lambda change: change.first)
    return Drift(rows, len(reference), n_between_alarms, changes, steady, unknown, charts)


def _refuse_too_few(rows: Rows, reference: Rows) -> None:
    if len(reference) >= MIN_REFERENCE and len(rows) >= MIN_JUDGED:
        return
    if rows.source != reference.source:
        short, n_needed = (rows, MIN_JUDGED) if len(reference) >= MIN_REFERENCE else (reference, MIN_REFERENCE)
        what = "a reference" if short is reference else "a comparison"
        raise OutputError(
            f"{short.source} has {_images(len(short))}, and {what} needs at least {n_needed}. Give a file with more"
            " images."
        )
    n = len(rows) + len(reference)
    smaller = f", or --reference {n - MIN_JUDGED}" if n >= MIN_REFERENCE + MIN_JUDGED else ""
    raise OutputError(
        f"{rows.source} has {_images(n)}. A reference of {max(len(reference), MIN_REFERENCE)} and at least {MIN_JUDGED}"
        f" after it are needed. Give a file with more images{smaller}."
    )


def _images(n: int) -> str:
    return f"{n} inspected image{'s' * (n != 1)}"


def excursions(made: chart.Chart) -> list[tuple[int, int, int | None]]:
    """Return where the moving average is beyond its limit.

    Returns
    -------
    list of (int, int, int or None)
        End of the excursion before, position of the alarm, and end of this one; None if it lasts until the last image.
    """
    found: list[tuple[int, int, int | None]] = []
    size, before, alarm = np.abs(made.average), 0, None
    for i in range(len(size)):
        if alarm is None and size[i] > made.limit:
            alarm = i
        elif alarm is not None and size[i] < _BACK * made.limit:
            end = _step(made.scores[alarm : i + 1], made.average[alarm])
            found.append((before, alarm, alarm + end))
            before, alarm = alarm + end, None
    return found if alarm is None else [*found, (before, alarm, None)]


def _step(scores: np.ndarray, average: float) -> int:
    """Return where scores step from the side of `average` back to the reference, by least squares."""
    level = np.nan_to_num(scores)
    half = np.nanmedian(scores[: max(1, len(scores) // 4)]) / 2
    half = half if half * average > 0 else average / 2
    return 1 + int(np.argmax(np.cumsum((level - half) * np.sign(average))[:-1]))


def _change(
    name: str, values: np.ndarray, known: np.ndarray, made: chart.Chart, before: int, alarm: int, end: int | None
) -> Change:
    first = first_image(made, before, alarm)
    return Change(name, first, alarm, end, float(np.nanmedian(known)), float(np.nanmedian(values[first:end])))


def first_image(made: chart.Chart, before: int, alarm: int) -> int:
    """Return the most likely first image of a step that an alarm has shown, after the position `before`.

    Notes
    -----
    The mean before the step is 0, that of the reference (Samuel, Pignatiello and Calvin, 1998).
    """
    scores = np.nan_to_num(made.scores[before : alarm + 1])[::-1] * np.sign(made.average[alarm])
    total = np.maximum(np.cumsum(scores), 0.0)
    return alarm - int(np.argmax(total**2 / np.arange(1, len(scores) + 1)))
