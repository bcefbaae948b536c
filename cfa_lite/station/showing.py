"""Showing images: lists of them, what is known of one, its picture and its anomaly map, as answers to the browser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..line.answering import RequestError
from .guard import Fields, to_response
from .marks import to_json as marks_to_json
from .parts import Parts
from .pictures import Box, draw_map, regions_of
from .reviewing import ReviewedImage
from .sessions import Session

_N_LISTED = 30  # images in one part of a list
_SIDE_PX = 1600


class ImagePages:
    """The answers about images.

    Parameters
    ----------
    parts : Parts
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def images(self, request: Request, fields: Fields, session: Session | None) -> Response:
        """Answer with a part of a list."""
        reviews = self._parts.reviews
        lists = {"waiting": reviews.waiting, "all": reviews.all, "decided": reviews.decided}
        shown = lists.get(request.query_params.get("show", "waiting"))
        before = _number(request, "before")
        if shown is None:
            raise RequestError(400, f"show is not one of {', '.join(lists)}")
        found = shown(before, _N_LISTED + 1)
        listed = [_listed(one) for one in found[:_N_LISTED]]
        return to_response({"images": listed, "has_more": len(found) > _N_LISTED, "waiting": reviews.n_waiting()})

    def image(self, request: Request, fields: Fields, session: Session | None) -> Response:
        """Answer with what is known of an image, and its result by the model in use."""
        image = self.wanted(request)
        told = _listed(image) | {"path": str(image.path), "message": image.message, "is_there": False}
        path = self._path(image)
        if image.decided is not None:
            told["marks"] = marks_to_json(self._parts.decisions.marks(image.decided.id))
        if path is None:
            return to_response(told)
        in_use = self._parts.versions.in_use
        result = self._parts.pictures.result(image.name, path, in_use)
        told["now"] = {"version": in_use.number, "verdict": result.verdict, "score": _score(result.score)}
        if result.status != "error":
            told["is_there"] = True
            told["height"], told["width"] = self._parts.pictures.size_px(path, image.key)
            told["regions"] = regions_of(result)
            told["has_map"] = result.map is not None
        elif not told["message"]:
            told["message"] = result.message
        return to_response(told)

    def picture(self, request: Request, fields: Fields, session: Session | None) -> Response:
        """Answer with an image, or a part of it at full resolution."""
        image = self.wanted(request)
        side = _number(request, "side") or _SIDE_PX
        try:
            content = self._parts.pictures.picture(self.there(image), image.key, side, _box(request))
        except ValueError as error:
            raise RequestError(400, str(error)) from error
        # The address has the hash of the content, so it never means another picture.
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    def map(self, request: Request, fields: Fields, session: Session | None) -> Response:
        """Answer with an anomaly map."""
        image = self.wanted(request)
        result = self._parts.pictures.result(image.name, self.there(image), self._parts.versions.in_use)
        content = draw_map(result)
        if content is None:
            raise RequestError(404, "this image has no anomaly map")
        return Response(content, media_type="image/png")

    def wanted(self, request: Request) -> ReviewedImage:
        """Return the image that a request is about. Raises RequestError."""
        image = self._parts.reviews.get(min(request.path_params["id"], 2**62))
        if image is None:
            raise RequestError(404, "there is no such image")
        return image

    def _path(self, image: ReviewedImage) -> Path | None:
        return image.found() or self._parts.kept_images.find(image.decided.kept if image.decided else None)

    def there(self, image: ReviewedImage) -> Path:
        """Return where the file of an image is. Raises RequestError if it is gone."""
        path = self._path(image)
        if path is None:
            raise RequestError(404, f"the file of {image.path.name} is gone")
        return path


def _listed(image: ReviewedImage) -> dict[str, Any]:
    """Return what a list shows of an image."""
    decided = image.decided
    return {
        "id": image.id,
        "name": _shown(image.path.name),
        "key": image.key.hex()[:12],
        "verdict": image.verdict,
        "score": image.score,
        "time": image.time,
        "version": image.version,
        "decision": decided and {
            "id": decided.id, "action": decided.action, "kind": decided.kind, "operator": decided.operator
        },
    }  # fmt: skip


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _score(score: float) -> float | None:
    return score if math.isfinite(score) else None


def _number(request: Request, name: str) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or not 0 < len(given) < 19:
        raise RequestError(400, f"{name} is not a number")
    return int(given)


def _box(request: Request) -> Box | None:
    given = request.query_params.get("box")
    if given is None:
        return None
    try:
        left, top, width, height = (max(-(10**6), min(10**6, int(v))) for v in given.split(","))
    except ValueError as error:
        raise RequestError(400, "box is not four numbers: left, top, width, height") from error
    return left, top, width, height
