"""Tables of results as CSV or JSON lines: one row per image, written as soon as its result is known."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ..errors import OutputError
from ..results import FIELDS, Inspection
from .outputs import writing

FORMATS = ("csv", "jsonl")
ENCODING_ERRORS = "surrogateescape"  # a file name that is not valid UTF-8 is written as the bytes it consists of


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the table format that the extension of a file name stands for.

    Parameters
    ----------
    path : path

    Returns
    -------
    str
        "csv" or "jsonl".

    Raises
    ------
    OutputError
        If the extension is neither .csv nor .jsonl.
    """
    extension = Path(path).suffix.lower().lstrip(".")
    if extension not in FORMATS:
        raise OutputError(f"{path}: the format is not clear from the file name. Use .csv or .jsonl, or give --format.")
    return extension


def header(fmt: str) -> str:
    """Return the first line of a table in format `fmt`; it is empty for JSON lines."""
    return _csv_line(FIELDS) if fmt == "csv" else ""


def row(result: Inspection, fmt: str) -> str:
    """Return one result as one line of a table.

    Parameters
    ----------
    result : Inspection
    fmt : {"csv", "jsonl"}

    Returns
    -------
    str
        A line with its line end. A NaN is left empty in CSV and is null in JSON. JSON lines have an additional field,
        `regions`.
    """
    values = result.to_dict() | {"seconds": round(result.seconds, 6)}
    values = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
    if fmt == "csv":
        return _csv_line(values.values())
    values["regions"] = [asdict(region) for region in result.regions]
    return json.dumps(values, ensure_ascii=False) + "\n"


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # so that a carriage return in a name is quoted, too
    return line.getvalue().removesuffix("\r\n") + "\n"


class TableWriter:
    """Write results to a table row by row. A run that is killed loses no row that it has written.

    Parameters
    ----------
    path : Path
    fmt : {"csv", "jsonl"}
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
                self._file.write(header(fmt))
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
