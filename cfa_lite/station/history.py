"""History: what was measured of the images of a watch, and since when it has changed, as the page shows it."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from .. import threads
from ..drift import changes, text
from ..drift.chart import Chart
from ..drift.rows import QUANTITIES, Columns, Rows
from ..line.journal import Journal
from ..report import tables

N_REFERENCE = 300  # the first images, as in `cfa-lite drift`
N_BETWEEN_ALARMS = 100_000.0  # images, as in `cfa-lite drift`
MAX_JUDGED = 10_000  # the newest images, which are kept in memory
_MAX_POINTS = 300  # of a line on the page
_FIELDS = ("path", "status", "time", *QUANTITIES)

_Measured = tuple[int, dict[str, Any]]  # number of an image in the journal, and the fields of its row


class History:
    """The quantities of the first and the newest images of a watch. It follows the journal.

    Parameters
    ----------
    journal : Journal
        Only the thread that calls `catch_up` reads it.
    fmt : str
        Format of the rows of the journal.
    in_use_since : callable () -> int
        Number of the first image since which the model in use has inspected all images.
    """

    def __init__(self, journal: Journal, fmt: str, in_use_since: Callable[[], int]) -> None:
        self._journal, self._fmt, self._in_use_since = journal, fmt, in_use_since
        self._lock = threading.Lock()
        self._first: list[_Measured] = []
        self._newest: deque[_Measured] = deque(maxlen=MAX_JUDGED)
        self._number, self._told_at = 0, -1
        self._told: dict[str, Any] = {}
        for kept in itertools.islice(journal.images_after(0), N_REFERENCE):
            self._add(kept.number, kept.row)
        self._number = max(self._number, len(journal) - MAX_JUDGED)
        self.catch_up()

    def catch_up(self) -> None:
        """Take the images from the journal that are not yet in the history."""
        for kept in self._journal.images_after(self._number):
            self._add(kept.number, kept.row)

    def _add(self, number: int, row: bytes) -> None:
        values = tables.values(row, self._fmt)
        measured = number, {name: values.get(name) for name in _FIELDS}
        with self._lock:
            (self._first if len(self._first) < N_REFERENCE else self._newest).append(measured)
            self._number = number

    def told(self) -> dict[str, Any]:
        """Tell what has changed since when, in words and as lines to draw.

        Light, sharpness and position of the newest images are compared with the first images of the watch. Scores are
        compared with the first ones of the model in use, because each model has its own.

        Returns
        -------
        dict
            JSON types only: `lines` of text; `charts` with `name`, whether it is `changed` now, and `points` [place
            from 0 to 1, moving average in units of its limit]; `model_since`, the place of the first image of the model
            in use or None; `start` and `end`, the times of the first and last image in ISO format or None.
        """
        with self._lock:
            if self._told_at != self._number:
                first, newest = list(self._first), list(self._newest)
                with threads.serial_blas():
                    self._told = self._compared(first, newest)
                self._told_at = self._number
            return self._told

    def _compared(self, first: list[_Measured], newest: list[_Measured]) -> dict[str, Any]:
        reference, judged = _rows(first), _rows(newest)
        if len(reference) < changes.MIN_REFERENCE or len(judged) < changes.MIN_JUDGED:
            n = N_REFERENCE + changes.MIN_JUDGED
            line = f"Changes are told from {n} images on: the first {N_REFERENCE} show what is normal."
            return {"lines": [line], "charts": [], "model_since": None, "start": None, "end": None}
        since = self._in_use_since()
        reference, judged = _with_scores_since(since, reference, judged)
        found = changes.find(judged, reference, N_BETWEEN_ALARMS)
        changed = {change.quantity for change in found.changes if change.end is None}
        numbers = judged.numbers
        times = [None if time is None else time.isoformat() for time in (judged.times[0], judged.times[-1])]
        return {
            "lines": text.lines(found),
            "charts": [
                {"name": text.NAMES[name], "changed": name in changed, "points": _points(found.charts[name])}
                for name in QUANTITIES
                if name in found.charts
            ],
            "model_since": _place(numbers, since) if numbers[0] < since <= numbers[-1] else None,
            "start": times[0],
            "end": times[1],
        }


def _rows(measured: Iterable[_Measured]) -> Rows:
    columns = Columns()
    for number, row in measured:
        columns.add(number, row)
    return columns.rows("the table of results")


def _with_scores_since(since: int, reference: Rows, judged: Rows) -> tuple[Rows, Rows]:
    """Return both with the scores of the model in use only; its first ones are the reference of the others."""
    if since <= reference.numbers[0] or "score" not in judged.values:
        return reference, judged
    numbers = np.array([*reference.numbers, *judged.numbers])
    before = reference.values.get("score", np.full(len(reference), np.nan))
    scores = np.concatenate([before, judged.values["score"]])
    scores[numbers < since] = np.nan
    own = np.flatnonzero(numbers >= since)[:N_REFERENCE]
    known = scores[own]
    scores[own] = np.nan
    return (
        replace(reference, values=reference.values | {"score": known}),
        replace(judged, values=judged.values | {"score": scores[len(reference) :]}),
    )


def _place(numbers: list[int], number: int) -> float:
    return float(np.searchsorted(numbers, number)) / max(1, len(numbers) - 1)


def _points(made: Chart) -> list[list[float]]:
    """Return the moving average in units of its limit, thinned out; the value farthest from 0 stays of each part."""
    values = made.average / made.limit
    edges = np.linspace(0, len(values), min(len(values), _MAX_POINTS) + 1).astype(int)
    at = [int(a + np.abs(values[a:b]).argmax()) for a, b in zip(edges, edges[1:])]
    return [[round(i / max(1, len(values) - 1), 4), round(float(values[i]), 3)] for i in at]
