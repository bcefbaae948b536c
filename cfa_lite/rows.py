"""Rows of a scoring run, CSV or JSON lines: written as they are known, and taken up again where a run ended."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import files
from .artefacts import writing
from .errors import OutputError
from .results import FIELDS, ScoreResult

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


def row(result: ScoreResult, fmt: str) -> str:
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
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


_ERRORS = "surrogateescape"  # a file name that this locale cannot read is written as the bytes it is


def key(path: str) -> bytes:
    """What tells whether two rows are of one picture, whatever the locale of the runs."""
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
        If it cannot be written; so does `write`, as on a full disk.
    """

    def __init__(self, path: Path, fmt: str, append: bool = False):
        self.path, self.fmt = path, fmt
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = "a" if append else "w"
            self._file = open(path, mode, encoding="utf-8", errors=_ERRORS, newline="", buffering=1)
            if self._file.tell() == 0:
                self._file.write(header(fmt))

    def write(self, result: ScoreResult) -> None:
        """Write one result."""
        with writing(self.path):
            self._file.write(row(result, self.fmt))

    def close(self) -> None:
        """Close the file; what a full disk did not take is lost, and was said."""
        try:
            self._file.close()
        except OSError:
            pass


@dataclass
class Earlier:
    """What an earlier run left: paths that need not be scored again, and the verdicts they got."""

    paths: set[bytes] = field(default_factory=set)
    verdicts: Counter[str] = field(default_factory=Counter)


def take_up(path: Path, fmt: str, threshold: float) -> Earlier:
    """Make a file of rows ready to be appended to.

    What stays is every whole row of a picture that could be read; rows of errors, whose reason may be gone, and an
    unfinished last line are taken out. A file that is missing or empty is a fresh start.

    Raises
    ------
    OutputError
        If the file holds something else, or rows of another limit than `threshold`.
    """
    with writing(path):
        data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    try:
        known = _parsed(whole.decode("utf-8", _ERRORS), fmt)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{path} does not hold rows of this version of cfa-lite ({error}). Give --output another file, or leave --resume"
            " out."
        ) from error
    earlier, lines = Earlier(), [header(fmt)]
    for values, line in known:
        if values["status"] == "error":
            continue
        if float(values["threshold"]) != threshold:
            raise OutputError(
                f"{path} was written with another model or limit ({values['threshold']}, now {threshold}): its scores would"
                " not be on one scale with new ones. Give --output another file, or leave --resume out."
            )
        earlier.paths.add(key(values["path"]))
        earlier.verdicts[values["verdict"]] += 1
        lines.append(line)
    kept = "".join(lines).encode("utf-8", _ERRORS) if earlier.paths else b""
    if kept != data:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.whole_file(path) as file:
                file.write(kept)
    return earlier


def _parsed(text: str, fmt: str) -> list[tuple[dict[str, Any], str]]:
    """Values and line of each row."""
    if fmt == "jsonl":
        records = [(json.loads(line), f"{line}\n") for line in text.split("\n")[:-1]]
        if any(not set(FIELDS) <= set(values) for values, _ in records):
            raise ValueError("a line has other fields")
        return records
    table = list(csv.reader(io.StringIO(text, newline="")))
    if table and table[0] != list(FIELDS):
        raise ValueError("its first line names other columns")
    return [(dict(zip(FIELDS, record, strict=True)), _csv_line(record)) for record in table[1:]]
