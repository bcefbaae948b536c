"""Rows of a results file as quantities over time: CSV or JSON lines, of this version or an older one."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from ..results import FIELDS, OLDER_FIELDS

QUANTITIES = ("score", "brightness", "sharpness", "shift_right_px", "shift_down_px")
_JUDGED = ("score", "shift_right_px", "shift_down_px")  # they say nothing about an INVALID image


@dataclass(frozen=True)
class Rows:
    """Inspected images in the order of their rows.

    Attributes
    ----------
    source : str
        The file.
    paths : list of str
    times : list of datetime or None
        In the time zone of this computer, without naming it. None where the row has no time.
    numbers : list of int
        Position of the row in the file, from 1.
    values : dict of str to ndarray of shape (n,)
        By the names of `QUANTITIES` that the file has; NaN where a row has none.
    """

    source: str
    paths: list[str]
    times: list[datetime | None]
    numbers: list[int]
    values: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.paths)

    def part(self, chosen: list[int]) -> Rows:
        """Return some rows, in the given order."""
        return Rows(
            self.source,
            [self.paths[i] for i in chosen],
            [self.times[i] for i in chosen],
            [self.numbers[i] for i in chosen],
            {name: values[chosen] for name, values in self.values.items()},
        )


def read(path: Path) -> Rows:
    """Read a results file.

    Parameters
    ----------
    path : Path
        CSV with commas or semicolons, or JSON lines. Rows with the status "error" are left out, and so is an incomplete
        last line.

    Returns
    -------
    Rows

    Raises
    ------
    OutputError
        If the file cannot be read, or holds no results of this package.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
    # Not splitlines: other programs write U+2028 and the like as they are, and these end no row.
    complete = io.StringIO(text[: text.rfind("\n") + 1], newline="")
    columns, n_read = Columns(), 0
    try:
        for row in _json_rows(complete) if text.startswith("{") else _csv_rows(complete, text):
            columns.add(n_read + 1, row)
            n_read += 1
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error) as error:
        raise OutputError(
            f"{path} does not hold results of cfa-lite: row {n_read + 1} cannot be read ({error}). Give a file that"
            " score --output or watch --output has written, as CSV or JSON lines."
        ) from error
    return columns.rows(str(path))


class Columns:
    """Collects the rows of a table. Those with the status "error" are left out."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._times: list[datetime | None] = []
        self._numbers: list[int] = []
        self._values: dict[str, list[float]] = {name: [] for name in QUANTITIES}

    def add(self, number: int, row: Mapping[str, Any]) -> None:
        """Add the row of a number, with its fields by name, as text or as numbers."""
        if row["status"] == "error":
            return
        self._paths.append(str(row["path"]))
        self._times.append(_time(row.get("time")))
        self._numbers.append(number)
        for name in QUANTITIES:
            is_told = name not in _JUDGED or row["status"] == "ok"
            self._values[name].append(_number(row.get(name)) if is_told else np.nan)

    def rows(self, source: str) -> Rows:
        """Return all rows that were added."""
        found = {name: np.array(column, np.float64) for name, column in self._values.items()}
        values = {name: column for name, column in found.items() if not np.isnan(column).all()}
        return Rows(source, list(self._paths), list(self._times), list(self._numbers), values)


def _csv_rows(lines: Iterable[str], text: str) -> Iterator[Mapping[str, Any]]:
    separator = ";" if text.startswith(f"{FIELDS[0]};") else ","
    reader = csv.DictReader(lines, delimiter=separator, strict=True)
    names = list(reader.fieldnames or ())
    missing = set(OLDER_FIELDS) - set(names)
    if missing:
        raise ValueError(f"there is no column {min(missing, key=OLDER_FIELDS.index)}")
    if repeated := [name for name in FIELDS if names.count(name) > 1]:
        raise ValueError(f"there is more than one column {repeated[0]}")
    for row in reader:
        if None in row or None in row.values():
            raise ValueError("it has another number of columns")
        yield row


def _json_rows(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        row = json.loads(line)
        missing = set(OLDER_FIELDS) - set(row)
        if missing:
            raise ValueError(f"there is no field {min(missing, key=OLDER_FIELDS.index)}")
        yield row


def _number(value: Any) -> float:
    if value is None or value == "":
        return np.nan
    return float(value.replace(",", ".") if isinstance(value, str) else value)


def _time(value: Any) -> datetime | None:
    """Return a time in the time zone of this computer, without naming it, as this package writes times."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        time = datetime.fromisoformat(str(value).replace("Z", "+00:00"))  # Python 3.9 does not know Z
        return time if time.tzinfo is None else time.astimezone().replace(tzinfo=None)
    return None
