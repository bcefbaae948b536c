"""Answers on stdin and stdout: a line of JSON for each image, for a program that starts this one and wants no port."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from .answering import Answerer, RequestError, answer, parse, request_of, to_json


def serve(
    answerer: Answerer, requests: IO[bytes], answers: IO[bytes], roots: Sequence[Path] | None, max_bytes: int
) -> None:
    """Answer each line of `requests` by a line of `answers`, in order, until it ends.

    Parameters
    ----------
    answerer : Answerer
    requests, answers : binary file
    roots : sequence of Path or None
        Folders that paths must be in; None allows all.
    max_bytes : int
        Of the content of an image.
    """
    max_line = max_bytes * 4 // 3 + 65_536  # base64 and the other fields
    while line := requests.readline(max_line):
        is_whole = line.endswith(b"\n") or len(line) < max_line
        while not is_whole:
            rest = requests.readline(max_line)
            is_whole = rest.endswith(b"\n") or not rest
            line = b""
        if not line:
            fields: dict[str, Any] = {"id": None, "error": f"the line is longer than {max_line} bytes"}
        elif not line.strip():
            continue
        else:
            fields = _answer(answerer, line, roots)
        answers.write(to_json(fields) + b"\n")
        answers.flush()


def _answer(answerer: Answerer, line: bytes, roots: Sequence[Path] | None) -> dict[str, Any]:
    number: Any = None
    try:
        fields = parse(line)
        number = fields.get("id")
        request = request_of(fields, roots)
        return {"id": number, **answer(answerer.submit(request).result())}
    except RequestError as error:
        return {"id": number, "error": str(error)}
