"""The pages of a station as an ASGI application: what the browser asks for, and what people do there."""

from __future__ import annotations

from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..line.answering import RequestError
from .decisions import decision_of
from .guard import ENGINEER, OPERATOR, PUBLIC, READER, Fields, Guard, cookie_name, failed, to_response
from .parts import Parts
from .sessions import Session
from .showing import ImagePages

_ASSETS = {
    "": ("station.html", "text/html; charset=utf-8"),
    "station.css": ("station.css", "text/css; charset=utf-8"),
    "station.js": ("station.js", "text/javascript; charset=utf-8"),
    "common.js": ("common.js", "text/javascript; charset=utf-8"),
    "changes.js": ("changes.js", "text/javascript; charset=utf-8"),
    "teaching.js": ("teaching.js", "text/javascript; charset=utf-8"),
    "people.js": ("people.js", "text/javascript; charset=utf-8"),
    "viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}


class StationSite:
    """The pages of a station.

    Parameters
    ----------
    parts : Parts
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._images = ImagePages(parts)

    def app(self) -> Any:
        """Return the ASGI application."""
        guard, images = Guard(self._parts.sessions), self._images
        routes = [
            ("/", "GET", PUBLIC, self._asset),
            ("/assets/{name}", "GET", PUBLIC, self._asset),
            ("/me", "GET", PUBLIC, self._me),
            ("/sign-in", "POST", PUBLIC, self._sign_in),
            ("/sign-out", "POST", OPERATOR, self._sign_out),
            ("/engineer", "POST", OPERATOR, self._engineer),
            ("/news", "GET", READER, self._news),
            ("/images", "GET", READER, images.images),
            ("/images/{id:int}", "GET", READER, images.image),
            ("/images/{id:int}/picture", "GET", READER, images.picture),
            ("/images/{id:int}/map", "GET", READER, images.map),
            ("/images/{id:int}/decision", "POST", OPERATOR, self._decide),
            ("/undo", "POST", OPERATOR, self._undo),
            ("/changes", "GET", READER, self._changes),
            ("/teaching", "GET", READER, self._teaching),
            ("/teaching/start", "POST", ENGINEER, self._teach),
            ("/teaching/accept", "POST", ENGINEER, self._accept),
            ("/teaching/throw-away", "POST", ENGINEER, self._throw_away),
            ("/versions/{id:int}/use", "POST", ENGINEER, self._use),
        ]
        return Starlette(
            routes=[Route(path, guard.guarded(role, do), methods=[method]) for path, method, role, do in routes],
            exception_handlers={HTTPException: _no_such_page},
        )

    def _asset(self, request: Request, fields: Fields, session: Session | None) -> Response:
        name = request.path_params.get("name", "")
        if name not in _ASSETS or (request.url.path != "/" and not name):
            raise RequestError(404, "there is no such page")
        file, kind = _ASSETS[name]
        content = (resources.files(__package__) / "assets" / file).read_bytes()
        return Response(content, headers={"Content-Type": kind})

    # Who is here

    def _me(self, request: Request, fields: Fields, session: Session | None) -> Response:
        sessions = self._parts.sessions
        return to_response(
            {
                "operator": session and session.operator,
                "is_engineer": bool(session and session.is_engineer),
                "needs_token": sessions.needs_token,
                "has_pin": sessions.has_pin,
                "name": self._parts.name if session or not sessions.needs_token else None,
            }
        )

    def _sign_in(self, request: Request, fields: Fields, session: Session | None) -> Response:
        cookie = self._parts.sessions.sign_in(fields.get("operator"), fields.get("token"))
        self._parts.sessions.sign_out(request.cookies.get(cookie_name(request)))
        response = to_response({})
        response.set_cookie(cookie_name(request), cookie, httponly=True, samesite="strict", path="/")
        return response

    def _sign_out(self, request: Request, fields: Fields, session: Session) -> Response:
        self._parts.sessions.sign_out(request.cookies.get(cookie_name(request)))
        return to_response({})

    def _engineer(self, request: Request, fields: Fields, session: Session) -> Response:
        if fields.get("leave"):
            session.engineer_until = 0.0
        else:
            self._parts.sessions.become_engineer(session, fields.get("pin"))
        return to_response({})

    # What is new

    def _news(self, request: Request, fields: Fields, session: Session | None) -> Response:
        parts, job = self._parts, self._parts.job.progress
        return to_response(
            {
                "newest": parts.reviews.newest(),
                "waiting": parts.reviews.n_waiting(),
                "counts": parts.reviews.counts(),
                "decided": parts.decisions.newest(),
                "version": parts.versions.in_use.number,
                "job": {"state": job.state, "phase": job.phase, "done": job.done, "total": job.total},
                "notice": {"message": parts.notice.message, "time": parts.notice.time},
                "is_engineer": bool(session and session.is_engineer),
                "operator": session and session.operator,
            }
        )

    # Decisions

    def _decide(self, request: Request, fields: Fields, session: Session) -> Response:
        parts, image, decision = self._parts, self._images.wanted(request), decision_of(fields)
        kept = (
            None
            if decision.action == "skip"
            else parts.kept_images.keep(self._images.there(image), image.content.digest)
        )
        number = parts.decisions.add(image.id, decision, kept, session.operator, parts.versions.in_use.number)
        return to_response({"decision": number})

    def _undo(self, request: Request, fields: Fields, session: Session) -> Response:
        image = self._parts.decisions.undo(session.operator)
        if image is None:
            raise RequestError(409, f"{session.operator} has no decision to undo")
        return to_response({"image": image})

    def _changes(self, request: Request, fields: Fields, session: Session | None) -> Response:
        return to_response(self._parts.history.told())

    # Teaching

    def _teaching(self, request: Request, fields: Fields, session: Session | None) -> Response:
        parts, job = self._parts, self._parts.job.progress
        return to_response(
            {
                "n_good": parts.decisions.n_good(),
                "kinds": parts.decisions.kinds(),
                "n_given": parts.job.n_given,
                "state": job.state,
                "message": job.message,
                "report": job.report,
                "versions": parts.versions.listed(),
            }
        )

    def _teach(self, request: Request, fields: Fields, session: Session) -> Response:
        self._parts.job.start()
        return to_response({})

    def _accept(self, request: Request, fields: Fields, session: Session) -> Response:
        return to_response({"version": self._parts.job.accept(session.operator)})

    def _throw_away(self, request: Request, fields: Fields, session: Session) -> Response:
        self._parts.job.throw_away()
        return to_response({})

    def _use(self, request: Request, fields: Fields, session: Session) -> Response:
        self._parts.versions.use(min(request.path_params["id"], 2**62), session.operator)
        return to_response({})


async def _no_such_page(request: Request, error: Exception) -> Response:
    return failed(getattr(error, "status_code", 404), "there is no such page")
