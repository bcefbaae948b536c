"""Tables of results as CSV or JSON lines: one row per image, written as soon as its result is known."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import OutputError, one_line
from ..results import FIELDS, Inspection, Region
from .outputs import writing

FORMATS = ("csv", "csv-semicolon", "jsonl")
BOM = "\ufeff"  # Excel takes a CSV file without it for one in the code page of the system
ENCODING_ERRORS = "surrogateescape"  # a file name that is not valid UTF-8 is written as the bytes it consists of


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the table format that the extension of a file name stands for.

    Parameters
    ----------
    path : path

    Returns
    -------
    str
        "csv" or "jsonl". No extension stands for "csv-semicolon".

    Raises
    ------
    OutputError
        If the extension is neither .csv nor .jsonl.
    """
    extension = Path(path).suffix.lower().lstrip(".")
    if extension not in ("csv", "jsonl"):
        raise OutputError(f"{path}: the format is not clear from the file name. Use .csv or .jsonl, or give --format.")
    return extension


def header(fmt: str, fields: Sequence[str] = FIELDS) -> str:
    """Return the first line of a table in format `fmt`; it is empty for JSON lines."""
    return "" if fmt == "jsonl" else _csv_line(fields, fmt)


def beginning(fmt: str, fields: Sequence[str] = FIELDS) -> str:
    """Return what a file of format `fmt` starts with: a byte order mark and the header, or nothing for JSON lines."""
    return header(fmt, fields) and BOM + header(fmt, fields)


def delimiter(fmt: str) -> str:
    """Return what separates the fields of a CSV format."""
    return ";" if fmt == "csv-semicolon" else ","


def rounded_raw(value: float) -> float:
    """Return a raw score or its limit with the digits that a table has."""
    return float(f"{value:.{_RAW_DIGITS}g}")


def row(result: Inspection, fmt: str, fields: Sequence[str] = FIELDS) -> str:
    """Return one result as one line of a table.

    Parameters
    ----------
    result : Inspection
    fmt : {"csv", "csv-semicolon", "jsonl"}
    fields : sequence of str
        Columns of a CSV file. Those of an older file are fewer.

    Returns
    -------
    str
        A line with its line end. A NaN is left empty in CSV and is null in JSON. JSON lines have an additional field,
        `regions`. Numbers are rounded alike in all formats, but never across a limit. Control characters in a path or
        message are escaped, so that a row is one line.
    """
    values = _rounded(result)
    if fmt != "jsonl":
        shown = (values[name] for name in fields)
        return _csv_line((one_line(v) if isinstance(v, str) else v for v in shown), fmt)
    values["regions"] = [_rounded_region(region) for region in result.regions]
    text = json.dumps(values, ensure_ascii=False)
    return _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def values(line: bytes, fmt: str) -> dict[str, Any]:
    """Return the fields of a line that `row` has made, by name: as text from CSV, with JSON types from JSON lines."""
    text = line.decode("utf-8", ENCODING_ERRORS)
    if fmt == "jsonl":
        found: dict[str, Any] = json.loads(text)
        return found
    return dict(zip(FIELDS, next(csv.reader([text], delimiter=delimiter(fmt)))))


_LINE_ENDS = re.compile("[\x7f-\x9f\u2028\u2029]")  # control characters that JSON allows, but some readers do not
_DECIMALS = {
    "score": 4, "percentile": 2, "largest_region_px": 1, "seconds": 4, "brightness": 2, "sharpness": 3,
    "shift_right_px": 2, "shift_down_px": 2,
}  # fmt: skip
_RAW_DIGITS = 6  # significant digits, because raw scores have no common scale


def _rounded(result: Inspection) -> dict[str, object]:
    values = result.to_dict()
    values |= {name: round(values[name], decimals) for name, decimals in _DECIMALS.items()}
    values["score"] = _beside(values["score"], result.score > 1, 1.0, 1e-4)
    raw_limit = values["raw_limit"] = rounded_raw(result.raw_limit)
    step = 10.0 ** (math.floor(math.log10(raw_limit)) - _RAW_DIGITS + 1) if raw_limit > 0 else 0.0
    is_above = result.raw_score > result.raw_limit
    values["raw_score"] = _beside(rounded_raw(result.raw_score), is_above, raw_limit, step)
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def _beside(rounded: float, is_above: bool, limit: float, step: float) -> float:
    """Return a rounded value, moved back if it was rounded across the limit. NaN stays NaN."""
    if is_above:
        return rounded if rounded > limit else rounded_raw(limit + step)
    return limit if rounded > limit else rounded


def _rounded_region(region: Region) -> dict[str, object]:
    values = asdict(region)
    for name in ("peak", "mean"):
        values[name] = _beside(round(values[name], 4), values[name] > 1, 1.0, 1e-4)
    for name in ("area_px", "area_mm2", "core_area_px", "core_area_mm2"):
        values[name] = None if values[name] is None else rounded_raw(values[name])
    values["contour_px"] = _rounded_points(region.contour_px)
    values["core_contours_px"] = [_rounded_points(contour) for contour in region.core_contours_px]
    return values


def _rounded_points(points: Iterable[tuple[float, float]]) -> list[list[float]]:
    return [[round(x, 2), round(y, 2)] for x, y in points]


def _csv_line(values: Iterable[object], fmt: str) -> str:
    if fmt == "csv-semicolon":
        values = (str(v).replace(".", ",") if isinstance(v, float) else v for v in values)
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter(fmt), lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"


class TableWriter:
    """Write results to a table row by row. A run that is killed loses no row that it has written.

    Parameters
    ----------
    path : Path
    fmt : {"csv", "csv-semicolon", "jsonl"}
        A CSV file starts with a byte order mark.
    append : bool
        Whether to keep the rows that the file already holds.

    Raises
    ------
    OutputError
        If the file cannot be written. `write` raises it too, for example if the disk is full or the file was deleted.
    """

    def __init__(self, path: Path, fmt: str, append: bool = False) -> None:
        self.path, self.fmt = path, fmt
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = "a" if append else "w"
            self._file = path.open(mode, encoding="utf-8", errors=ENCODING_ERRORS, newline="", buffering=1)
            if self._file.tell() == 0:
                self._file.write(beginning(fmt))
            self._has_links = self._n_links() > 0  # some file systems do not count links

    def write(self, result: Inspection) -> None:
        """Write one result."""
        with writing(self.path):
            self._file.write(row(result, self.fmt))
            if self._has_links and not self._n_links():
                raise FileNotFoundError(errno.ENOENT, "it was deleted during the run")

    def _n_links(self) -> int:
        return os.fstat(self._file.fileno()).st_nlink

    def close(self) -> None:
        """Close the file. An error is ignored: `write` has already raised it."""
        with contextlib.suppress(OSError):
            self._file.close()
