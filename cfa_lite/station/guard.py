"""The guard: what a request to the station must have, and what each answer says to the browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..errors import CfaLiteError, OutputError
from ..line.answering import RequestError, parse, to_json
from ..line.server import body, check_host
from .sessions import Session, Sessions

PUBLIC, READER, OPERATOR, ENGINEER = range(4)  # who may make a request
_MAX_BYTES = 1_000_000
_SECONDS = 30.0  # within which a request must arrive
_HEADERS = {
    # No inline scripts and styles, nothing of another site, and not in a frame of another page.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Fields = dict[str, Any]
Handler = Callable[[Request, Fields, Any], Response]


class Guard:
    """Checks requests.

    Parameters
    ----------
    sessions : Sessions
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def guarded(self, role: int, handler: Handler) -> Callable[[Request], Any]:
        """Return an endpoint that checks a request and calls `handler` (request, fields, session) in a thread.

        Parameters
        ----------
        role : {PUBLIC, READER, OPERATOR, ENGINEER}
            A reader needs a session only if there is a token.
        handler : callable
            `fields` is the JSON object of a POST, else empty; `session` is None if nobody has signed in.
        """

        async def endpoint(request: Request) -> Response:
            try:
                self._check_origin(request)
                session = self._session(request, role)
                fields: Fields = {}
                if request.method == "POST":
                    fields = parse(await asyncio.wait_for(body(request, _MAX_BYTES), _SECONDS) or b"{}")
                answer = await run_in_threadpool(handler, request, fields, session)
            except RequestError as error:
                return failed(error.code, str(error))
            except OutputError as error:
                return failed(507, str(error))
            except CfaLiteError as error:
                return failed(409, str(error))
            except asyncio.TimeoutError:
                return failed(408, f"the request did not arrive within {_SECONDS:g} s")
            except ClientDisconnect:
                return failed(400, "the connection ended before the request did")
            return with_headers(answer)

        return endpoint

    def _session(self, request: Request, role: int) -> Session | None:
        session = self._sessions.get(request.cookies.get(cookie_name(request)))
        if session is None and (role >= OPERATOR or (role == READER and self._sessions.needs_token)):
            raise RequestError(401, "sign in first")
        if role == ENGINEER:
            if session is None or not session.is_engineer:
                raise RequestError(403, "this needs an engineer: give the PIN")
            session.work_as_engineer()
        return session

    def _check_origin(self, request: Request) -> None:
        """Refuse other names of this computer, and what the page of another site has sent."""
        if not self._sessions.needs_token:
            check_host(request)
        site = request.headers.get("sec-fetch-site", "same-origin")
        if request.method == "POST":
            origin = request.headers.get("origin", "")
            is_own = origin.split("://")[-1] == request.headers.get("host", "") and "://" in origin
            if not is_own or site != "same-origin":
                raise RequestError(403, "this request does not come from the page of the station")
            if request.headers.get("content-type", "").split(";")[0] != "application/json":
                raise RequestError(415, "send application/json")
        elif site not in ("same-origin", "none") and request.headers.get("sec-fetch-mode") != "navigate":
            raise RequestError(403, "this request does not come from the page of the station")


def cookie_name(request: Request) -> str:
    """Return the name of the cookie of this station: the ports of a computer share their cookies."""
    return f"cfa-lite-station-{request.url.port or 80}"


def to_response(fields: Any, code: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(to_json(fields) + b"\n", code, media_type="application/json")


def failed(code: int, message: str) -> Response:
    """Return an answer with the field `error`."""
    response = with_headers(to_response({"error": message}, code))
    if code in (408, 413):
        response.headers["Connection"] = "close"  # the rest of the request is not read
    return response


def with_headers(response: Response) -> Response:
    """Add what each answer says to the browser."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
