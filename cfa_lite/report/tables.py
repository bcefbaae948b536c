"""Rows of a scoring run, CSV or JSON lines: written as they are known, and taken up again where a run ended."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import atomic
from ..errors import OutputError
from ..results import FIELDS, Inspection
from .outputs import writing

FORMATS = ("csv", "jsonl")


def format_of(path: str | os.PathLike) -> str:
    """Format by a file name's ending.

    Raises
    ------
    OutputError
        If the ending is neither .csv nor .jsonl.
    """
    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in FORMATS:
        raise OutputError(f"{path}: the format is not clear from its ending. Call it .csv or .jsonl, or give --format.")
    return ending


def header(fmt: str) -> str:
    """First line of a file in format `fmt`; empty for JSON lines."""
    return _csv_line(FIELDS) if fmt == "csv" else ""


def row(result: Inspection, fmt: str) -> str:
    """One result as one line of format `fmt`; what is not a number is left empty (CSV) or null (JSON).

    JSON lines have a field more: the regions.
    """
    values = result.to_dict() | {"seconds": round(result.seconds, 6)}
    values = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
    if fmt == "jsonl":
        values["regions"] = [asdict(region) for region in result.regions]
    return json.dumps(values, ensure_ascii=False) + "\n" if fmt == "jsonl" else _csv_line(values.values())


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # so that a carriage return in a name is quoted, too
    return line.getvalue().removesuffix("\r\n") + "\n"


_ERRORS = "surrogateescape"  # a file name that this locale cannot read is written as the bytes it is


def key(path: str) -> bytes:
    """What tells whether two rows are of one image, whatever the locale of the runs."""
    return path.encode("utf-8", _ERRORS)


class Rows:
    """A file of rows, line-buffered: what is known is on disk.

    Parameters
    ----------
    path : path
    fmt : str
        "csv" or "jsonl".
    append : bool
        Go on after what the file holds.

    Raises
    ------
    OutputError
        If it cannot be written; so does `write`, as on a full disk or after the file was deleted.
    """

    def __init__(self, path: Path, fmt: str, append: bool = False):
        self.path, self.fmt = path, fmt
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = "a" if append else "w"
            self._file = open(path, mode, encoding="utf-8", errors=_ERRORS, newline="", buffering=1)
            if self._file.tell() == 0:
                self._file.write(header(fmt))
            self._has_links = self._n_links() > 0  # some file systems know of none

    def write(self, result: Inspection) -> None:
        """Write one result."""
        with writing(self.path):
            self._file.write(row(result, self.fmt))
            if self._has_links and not self._n_links():
                raise FileNotFoundError(errno.ENOENT, "deleted while the run went on")

    def _n_links(self) -> int:
        return os.fstat(self._file.fileno()).st_nlink

    def close(self) -> None:
        """Close the file; what a full disk did not take is lost, and was said."""
        try:
            self._file.close()
        except OSError:
            pass


def take_up(path: Path, fmt: str, threshold: float) -> dict[bytes, str]:
    """Make a file of rows ready to be appended to, and tell what it holds: `key` of each image -> its verdict.

    What stays, byte for byte, is every whole row of an image that could be read; rows of errors, whose reason may be
    gone, and an unfinished last row are taken out. A file that is missing or empty is a fresh start.

    Raises
    ------
    OutputError
        If the file holds something else, or rows of another limit than `threshold`; it is left as it is then.
    """
    with writing(path):
        data = path.read_bytes() if path.exists() else b""
    earlier: dict[bytes, str] = {}
    lines = []
    try:
        for values, line in _parsed(data, fmt):
            if values and values["status"] == "error":
                continue
            if values and float(values["threshold"]) != threshold:
                raise OutputError(
                    f"{path} was written with another model or limit ({values['threshold']}, now {threshold}): its scores"
                    " would not be on one scale with new ones. Give --output another file, or leave --resume out."
                )
            if values:
                earlier[key(values["path"])] = str(values["verdict"])
            lines.append(line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise OutputError(
            f"{path} does not hold rows of this version of cfa-lite ({error}). Give --output another file, or leave --resume"
            " out."
        ) from error
    kept = "".join(lines).encode("utf-8", _ERRORS) if earlier else b""
    if kept != data:
        with writing(path):
            _keep(path, data, kept)
    return earlier


def _keep(path: Path, data: bytes, kept: bytes) -> None:
    if data.startswith(kept):  # needs no room on the disk
        os.truncate(path, len(kept))
        return
    with atomic.whole_file(os.path.realpath(path), durable=True) as file:
        file.write(kept)
        shutil.copymode(path, file.name)


def _parsed(data: bytes, fmt: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Values and text of each whole row; of a header, no values."""
    *whole, rest = data.split(b"\n")
    first = b'{"path": ' if fmt == "jsonl" else header(fmt).encode()
    if not whole and not rest.startswith(first) and not first.startswith(rest):
        raise ValueError("its only line is no beginning of one")
    lines = [f"{line.decode('utf-8', _ERRORS)}\n" for line in whole]
    if fmt == "csv":
        yield from _parsed_csv(lines)
        return
    for line in lines:
        values = json.loads(line)
        if not set(FIELDS) <= set(values):
            raise ValueError("a line has other fields")
        yield values, line


def _parsed_csv(lines: list[str]) -> Iterator[tuple[dict[str, Any], str]]:
    table = csv.reader(lines, strict=True)
    start = 0
    try:
        for record in table:
            text, is_first, start = "".join(lines[start : table.line_num]), start == 0, table.line_num
            if is_first and record != list(FIELDS):
                raise ValueError("its first line names other columns")
            yield {} if is_first else dict(zip(FIELDS, record, strict=True)), text
    except csv.Error:
        # A name may hold line ends, so that an unfinished row is several lines; rows among them were no part of it.
        ended = table.line_num == len(lines) and lines[start].count('"') % 2
        if not start or not ended or any(line.count(",") >= len(FIELDS) - 1 for line in lines[start + 1 :]):
            raise
