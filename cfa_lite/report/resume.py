"""Continue a table of results where an interrupted run ended."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import atomic
from ..errors import OutputError, one_line
from ..results import FIELDS, OLDER_FIELDS
from .outputs import writing
from .tables import BOM, ENCODING_ERRORS, delimiter, header, rounded_raw


def path_key(path: str) -> bytes:
    """Return a key that is equal for two rows of the same image, even if the runs had different locales.

    Control characters are escaped in it, as they are in a row.
    """
    return one_line(path).encode("utf-8", ENCODING_ERRORS)


def keep_finished_rows(path: Path, fmt: str, raw_limit: float) -> dict[bytes, str]:
    """Remove unfinished rows from a table, so that a run can append to it, and return what remains.

    Every complete row of an image that could be inspected stays as it is, byte for byte. Rows of errors are removed,
    because their cause may be gone, and so is an incomplete last row. A missing or empty file is a fresh start. A CSV
    file with the columns of an older version gets the new ones, which are empty in its rows.

    Parameters
    ----------
    path : Path
    fmt : {"csv", "csv-semicolon", "jsonl"}
    raw_limit : float
        The limit of the raw score in the new run.

    Returns
    -------
    dict of bytes to str
        `path_key` and verdict of each image that remains.

    Raises
    ------
    OutputError
        If the file holds something other than rows of this version, or rows that were written with another limit. The
        file is not changed then.
    """
    with writing(path):
        data = path.read_bytes() if path.exists() else b""
    finished: dict[bytes, str] = {}
    lines = []
    try:
        for values, line in _parse(data, fmt):
            if values and values["status"] == "error":
                continue
            if values and _number(values["raw_limit"], fmt) != rounded_raw(raw_limit):
                raise OutputError(
                    f"{path} was written with another model or limit ({values['raw_limit']}, now"
                    f" {rounded_raw(raw_limit)}). Old and"
                    " new scores would not be comparable. Choose another --output, or run without --resume."
                )
            if values:
                finished[path_key(values["path"])] = str(values["verdict"])
            lines.append(line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise OutputError(
            f"{path} does not hold rows of this version of cfa-lite ({error}). Choose another --output, or run without"
            " --resume."
        ) from error
    kept = "".join(lines).encode("utf-8", ENCODING_ERRORS) if finished else b""
    if kept != data:
        with writing(path):
            _replace(path, data, kept)
    return finished


def _number(value: Any, fmt: str) -> float:
    return float(value.replace(",", ".") if fmt == "csv-semicolon" else value)


def _replace(path: Path, data: bytes, kept: bytes) -> None:
    if data.startswith(kept):  # needs no free space on the disk
        os.truncate(path, len(kept))
        return
    with atomic.whole_file(path.resolve(), durable=True) as file:
        file.write(kept)
        shutil.copymode(path, file.name)


def _parse(data: bytes, fmt: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the values and the text of each complete row; the values of a header are empty."""
    *complete, rest = data.split(b"\n")
    starts = [b'{"path": '] if fmt == "jsonl" else [header(fmt).encode(), (BOM + header(fmt)).encode()]
    if not complete and not any(rest.startswith(first) or first.startswith(rest) for first in starts):
        raise ValueError("its only line is not the start of a row")
    lines = [f"{line.decode('utf-8', ENCODING_ERRORS)}\n" for line in complete]
    if fmt != "jsonl":
        yield from _parse_csv(lines, delimiter(fmt))
        return
    for line in lines:
        values = json.loads(line)
        if not set(OLDER_FIELDS) <= set(values):
            raise ValueError("a line has other fields")
        yield values, line


def _parse_csv(lines: list[str], separator: str) -> Iterator[tuple[dict[str, Any], str]]:
    has_bom = bool(lines) and lines[0].startswith(BOM)
    reader = csv.reader(
        [lines[0].removeprefix(BOM), *lines[1:]] if has_bom else lines, strict=True, delimiter=separator
    )
    fields: tuple[str, ...] = FIELDS
    start, added = 0, ""
    try:
        for record in reader:
            text, is_first, start = "".join(lines[start : reader.line_num]), start == 0, reader.line_num
            if is_first and record == list(OLDER_FIELDS):
                fields, added = OLDER_FIELDS, separator * (len(FIELDS) - len(OLDER_FIELDS))
            elif is_first and record != list(FIELDS):
                raise ValueError("its first line names other columns")
            if len(record) != len(fields):
                raise ValueError(f"a row has {len(record)} columns instead of {len(fields)}")
            if added:
                names = separator.join(("", *FIELDS[len(OLDER_FIELDS) :]))
                text = text.removesuffix("\n") + (names if is_first else added) + "\n"
            yield {} if is_first else dict(zip(fields, record)), text
    except csv.Error:
        # A quoted field may contain line ends, so an incomplete row may be several lines. If one of them looks like a
        # complete row, the file is damaged in another way.
        at_end = reader.line_num == len(lines) and lines[start].count('"') % 2
        if not start or not at_end or any(line.count(separator) >= len(fields) - 1 for line in lines[start + 1 :]):
            raise
