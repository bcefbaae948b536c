"""Answers to other programs: models by name, one scorer for all, and requests as JSON."""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ..base.detector import Detector
from ..errors import CfaLiteError, ImageError
from ..report import tables
from ..results import Inspection, not_scored

Source = Union[Path, bytes]
Finished = Callable[[str, Inspection, float], None]


class RequestError(CfaLiteError):
    """A request that cannot be answered.

    Attributes
    ----------
    code : int
        Of HTTP: 400 wrong, 403 not allowed, 404 unknown, 429 too many.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(_one_line(message))
        self.code = code


@dataclass(frozen=True)
class Request:
    """An image to inspect.

    Attributes
    ----------
    model : str or None
        Name of the model; None is the only one.
    source : Path or bytes
        The image, or the content of its file.
    name : str
        Of the image in the answer.
    """

    model: str | None
    source: Source
    name: str


class Answerer:
    """Inspect images on request, one after the other, each on all threads.

    Parameters
    ----------
    models : mapping of str to CFA or PublishedCFA
        Fitted, by name.
    n_waiting : int
        Images that may wait; one more is refused.
    finished : callable (model, result, seconds), optional
        Takes each result, with the time since its request. Called in the thread of the scorer.
    """

    def __init__(self, models: Mapping[str, Detector], n_waiting: int, finished: Finished | None = None) -> None:
        self.models, self.n_waiting = models, n_waiting
        self._finished = finished
        self._pool = ThreadPoolExecutor(1, "cfa-lite-scorer")
        self._lock = threading.Lock()
        self._n = 0

    @property
    def n_in_progress(self) -> int:
        """Number of images that wait or are inspected."""
        return self._n

    def model_name(self, name: str | None) -> str:
        """Return the name of a model that exists.

        Raises
        ------
        RequestError
            If there is no model of this name, or no name is given and there are several.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models))
        if name is None or name not in self.models:
            asked = "which model is not told" if name is None else f"there is no model {name[:80]!r}"
            raise RequestError(404, f"{asked}; there are: {', '.join(self.models)}")
        return name

    def submit(self, request: Request) -> Future[Inspection]:
        """Inspect an image as soon as those before it are done.

        Raises
        ------
        RequestError
            If too many images wait, or there is no such model.
        """
        name = self.model_name(request.model)
        with self._lock:
            if self._n > self.n_waiting:
                raise RequestError(429, f"{self.n_waiting} images wait already; send the image again later")
            self._n += 1
        try:
            return self._pool.submit(self._inspect, name, request, time.perf_counter())
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        with self._lock:
            self._n -= 1

    def _inspect(self, model: str, request: Request, start: float) -> Inspection:
        try:
            result = inspect(self.models[model], request)
            if self._finished:
                self._finished(model, result, time.perf_counter() - start)
            return result
        finally:
            self._leave()

    def close(self) -> None:
        """Wait for the image at hand and end the scorer."""
        self._pool.shutdown(cancel_futures=True)


class _NamedFile(io.BytesIO):
    """The content of a file, which messages call by a name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def inspect(model: Detector, request: Request) -> Inspection:
    """Inspect one image; one that cannot be read has the status "error"."""
    start = time.perf_counter()
    is_content = isinstance(request.source, bytes)
    image: Any = _NamedFile(request.source, request.name) if isinstance(request.source, bytes) else request.source
    try:
        return model.inspect(image)
    except (ImageError, TypeError, ValueError) as error:
        name = request.name if is_content else os.fspath(image)
        return not_scored(name, "error", str(error), model.threshold_, time.perf_counter() - start)


def answer(result: Inspection) -> dict[str, Any]:
    """Return a result as the fields of a row of JSON lines. A result without a score also has the field `error`."""
    fields: dict[str, Any] = json.loads(tables.row(result, "jsonl"))
    return fields | {"error": fields["message"]} if result.status == "error" else fields


def to_json(fields: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, without its line end. Characters that are not ASCII are escaped."""
    return json.dumps(fields).encode("ascii")


def parse(content: bytes) -> dict[str, Any]:
    """Return the fields of a request in JSON.

    Raises
    ------
    RequestError
        If it is not a JSON object.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the request is not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise RequestError(400, 'the request is not a JSON object such as {"path": "a.png"}')
    return fields


def request_of(fields: Mapping[str, Any], roots: Sequence[Path] | None) -> Request:
    """Return the request of a JSON object with `path`, or with `image` in base64, and perhaps `model` and `name`.

    Parameters
    ----------
    fields : mapping
    roots : sequence of Path or None
        Folders that paths must be in. None allows all paths; an empty sequence allows none.

    Raises
    ------
    RequestError
        If the request is wrong, or its path is not allowed.
    """
    model, path, image = (fields.get(name) for name in ("model", "path", "image"))
    name = fields.get("name", "image")
    for key, value in (("model", model), ("path", path), ("image", image), ("name", name)):
        if value is not None and not isinstance(value, str):
            raise RequestError(400, f"{key} is not a text")
    if (path is None) == (image is None):
        raise RequestError(400, "give either path, or image with the content of the file in base64")
    if path is not None:
        allowed = allowed_path(path, roots)
        return Request(model, allowed, os.fspath(allowed))
    try:
        return Request(model, base64.b64decode(str(image), validate=True), _one_line(str(name)))
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, f"image is not base64 ({error})") from error


def allowed_path(given: str, roots: Sequence[Path] | None) -> Path:
    """Return the path of an image if it is in one of the folders. A relative path is one below the first folder.

    Raises
    ------
    RequestError
        If it is not, with links followed. Nothing outside the folders is touched then.
    """
    if roots is None:
        return Path(given)
    if not roots:
        raise RequestError(403, "paths are not allowed; start the server with --root DIR, or send the image")
    refused = RequestError(403, f"{given[:200]!r} is not in a folder of --root")
    if not given or "\0" in given:
        raise refused
    for root in map(os.path.realpath, roots):
        try:
            wanted = os.path.normpath(os.path.join(root, given))  # noqa: PTH118
            if _is_in(wanted, root):  # before the disk is asked: the name of another computer would be a connection
                real = os.path.realpath(wanted)
                if _is_in(real, root):
                    return Path(real)
        except (OSError, ValueError):
            continue
    raise refused


def _is_in(path: str, root: str) -> bool:
    return os.path.normcase(path).startswith(os.path.normcase(os.path.join(root, "")))  # noqa: PTH118


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500]
