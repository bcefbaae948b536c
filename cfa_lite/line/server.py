"""The HTTP server: Starlette answers requests, and uvicorn reads them. Both are in the extra ``station``."""

from __future__ import annotations

import asyncio
import hmac
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from .._version import __version__
from .answering import Answerer, RequestError, answer, parse, request_of, to_json
from .answering import Request as ImageRequest
from .metrics import Metrics
from .openapi import description

_READING_PER_WAITING = 4  # requests that may be read at the same time, for each image that may wait
_MARGIN_BYTES = 65_536  # of a multipart request, beside the image
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Rules:
    """What a server accepts.

    Attributes
    ----------
    roots : sequence of Path
        Folders that paths must be in; empty for no paths.
    max_bytes : int
        Of the content of an image.
    timeout : float, seconds
        Within which a request must arrive.
    token : str or None
        That each request must have, but for ``/health``.
    """

    roots: Sequence[Path]
    max_bytes: int
    timeout: float
    token: str | None


class Site:
    """The pages of a server.

    Parameters
    ----------
    answerer : Answerer
    metrics : Metrics
    rules : Rules
    """

    def __init__(self, answerer: Answerer, metrics: Metrics, rules: Rules) -> None:
        self._answerer, self._metrics, self._rules = answerer, metrics, rules
        self._n_reading = 0

    def app(self) -> Any:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/inspect", self._inspect, methods=["POST"]),
                Route("/inspect/{name}", self._inspect, methods=["POST"]),
                Route("/health", self._health),
                Route("/metrics", self._metrics_page),
                Route("/openapi.json", self._openapi),
            ],
            exception_handlers={HTTPException: self._refused},
        )

    async def _inspect(self, request: Request) -> Response:
        try:
            self._check(request)
            if self._n_reading >= _READING_PER_WAITING * (self._answerer.n_waiting + 1):
                raise RequestError(429, "too many images are being sent; send the image again later")
            self._n_reading += 1
            try:
                wanted = await asyncio.wait_for(self._read(request), self._rules.timeout)
            finally:
                self._n_reading -= 1
            result = await asyncio.wrap_future(self._answerer.submit(wanted))
        except RequestError as error:
            return self._error(error.code, str(error))
        except asyncio.TimeoutError:
            return self._error(408, f"the image did not arrive within {self._rules.timeout:g} s")
        except ClientDisconnect:
            return self._error(400, "the connection ended before the image did")
        return self._json(422 if result.status == "error" else 200, answer(result))

    def _check(self, request: Request) -> None:
        """Check the token. Without one, refuse a page of another site whose name points to this computer."""
        if self._rules.token is None:
            check_host(request)
            return
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {self._rules.token}".encode()):
            raise RequestError(401, "the token is missing or wrong; send the header Authorization: Bearer TOKEN")

    async def _read(self, request: Request) -> ImageRequest:
        name = request.path_params.get("name")
        self._answerer.model_name(name)  # before the image is read
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind.startswith(("text/", "video/", "audio/")):
            raise RequestError(415, f"{kind[:40]} is none of an image; send image/png or application/octet-stream")
        max_bytes = self._rules.max_bytes
        if kind == "multipart/form-data":
            content, label = await _file_of_form(request, await body(request, max_bytes + _MARGIN_BYTES))
            if len(content) > max_bytes:
                raise _too_large(max_bytes)
        elif kind == "application/json":
            fields = parse(await body(request, max_bytes * 4 // 3 + _MARGIN_BYTES))
            return request_of({**fields, "model": name}, self._rules.roots)
        else:
            content, label = await body(request, max_bytes), "image"
        if not content:
            raise RequestError(400, "the request holds no image")
        return ImageRequest(name, content, label)

    async def _health(self, request: Request) -> Response:
        fields = {"status": "ok", "version": __version__, "models": list(self._answerer.models)}
        return self._json(200, fields)

    async def _metrics_page(self, request: Request) -> Response:
        try:
            self._check(request)
        except RequestError as error:
            return self._error(error.code, str(error))
        return Response(self._metrics.text(self._answerer.n_in_progress), media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Response:
        try:
            self._check(request)
        except RequestError as error:
            return self._error(error.code, str(error))
        return self._json(200, description(self._answerer.models, self._rules.token is not None))

    async def _refused(self, request: Request, error: Exception) -> Response:
        code = getattr(error, "status_code", 400)
        return self._error(code, "POST an image to /inspect or /inspect/NAME; see /openapi.json")

    def _error(self, code: int, message: str) -> Response:
        return self._json(code, {"error": message})

    def _json(self, code: int, fields: dict[str, Any]) -> Response:
        self._metrics.responded(code)
        headers = {429: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(code, {})
        if code in (408, 413, 429):
            headers["Connection"] = "close"  # the rest of the image is not read
        return Response(to_json(fields) + b"\n", code, headers, "application/json")


def check_host(request: Request) -> None:
    """Refuse a page of another site whose name points to this computer.

    Raises
    ------
    RequestError
        If the request is for another name than localhost.
    """
    host = request.headers.get("host", "localhost")
    if host.rsplit(":", 1)[0] not in _LOCAL and host not in _LOCAL:
        raise RequestError(403, "this server answers requests to localhost only")


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the image is larger than {max_bytes} bytes")


async def body(request: Request, max_bytes: int) -> bytes:
    """Return the content of a request, and stop reading when it is too large.

    Raises
    ------
    RequestError
        If it is too large.
    """
    told = request.headers.get("content-length", "")
    if told.isdigit() and (len(told) > 18 or int(told) > max_bytes):
        raise _too_large(max_bytes)
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(content)


async def _file_of_form(request: Request, content: bytes) -> tuple[bytes, str]:
    """Return content and name of the first file of a form."""

    async def stream() -> AsyncIterator[bytes]:
        yield content

    try:
        form = await MultiPartParser(request.headers, stream(), max_files=8, max_fields=8).parse()  # type: ignore[arg-type,unused-ignore]
    except (MultiPartException, ValueError, KeyError, UnicodeError, AssertionError) as error:
        raise RequestError(400, f"the form cannot be read ({getattr(error, 'message', error)})") from error
    for _, value in form.multi_items():
        if not isinstance(value, str):
            name = "".join(c for c in (value.filename or "image") if c.isprintable())
            return await value.read(), name[:200]
    raise RequestError(400, "the form holds no file; send the image as a file, such as curl -F image=@a.png")


class _Impatient(H11Protocol):
    """Closes a connection whose request does not begin, or whose head does not end, in time."""

    timeout = 30.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.timeout, self._give_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not is_answering and self._timer is None:
            self._timer = self.loop.call_later(self.timeout, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        self._timer = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def run(
    app: Any, listening: socket.socket, timeout: float, begin: Callable[[Callable[[], None]], None] | None = None
) -> None:
    """Answer requests until SIGINT or SIGTERM; requests that have arrived are answered.

    Parameters
    ----------
    app : ASGI application
    listening : socket
    timeout : float, seconds
        Within which the head of a request must arrive.
    begin : callable (end), optional
        Called before the first request, with a function that ends the server. Any thread may call it.
    """
    protocol = type("Protocol", (_Impatient,), {"timeout": timeout})
    config = uvicorn.Config(
        app, http=protocol, ws="none", lifespan="off", access_log=False, log_config=None, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=30, backlog=256, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip
    server = uvicorn.Server(config)
    if begin is not None:
        begin(lambda: setattr(server, "should_exit", True))
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listening])  # it raises the signal again when it has ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
