"""The OpenAPI description of the server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._version import __version__
from ..results import FIELDS, VERDICTS

_TYPES: dict[str, dict[str, Any]] = {
    "path": {"type": "string"},
    "status": {"type": "string", "enum": ["ok", "invalid", "error"]},
    "verdict": {"type": "string", "enum": list(VERDICTS)},
    "n_regions": {"type": "integer"},
    "message": {"type": "string"},
    "time": {"type": "string"},
}
_NUMBER = {"type": ["number", "null"]}
_PROBLEMS = {
    "400": "The request is wrong.",
    "401": "The token is missing or wrong.",
    "403": "The path, or the name of the host, is not allowed.",
    "404": "There is no such model or page.",
    "405": "The method is not allowed.",
    "408": "The image took too long to arrive.",
    "413": "The image is too large.",
    "415": "The type of the content is none of an image.",
    "422": "The image cannot be read.",
    "429": "Too many images wait.",
}


def description(models: Iterable[str], has_token: bool) -> dict[str, Any]:
    """Return the description as an object of JSON.

    Parameters
    ----------
    models : iterable of str
        Names of the models.
    has_token : bool
        Whether requests need a token.
    """
    names = list(models)
    responses: dict[str, Any] = {
        code: {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
        for code, text in _PROBLEMS.items()
    }
    responses["200"] = {
        "description": "The inspection, as a row of `cfa-lite score --format jsonl`.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Inspection"}}},
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {
        "application/octet-stream": binary,
        "image/*": binary,
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}
        },
        "application/json": {"schema": {"$ref": "#/components/schemas/Request"}},
    }
    inspect: dict[str, Any] = {"requestBody": {"required": True, "content": content}, "responses": responses}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": names}}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "cfa-lite", "version": __version__},
        "paths": {
            "/inspect": {"post": {"summary": "Inspect an image with the only model", **inspect}},
            "/inspect/{name}": {"post": {"summary": "Inspect an image with a model", "parameters": [name], **inspect}},
            "/health": {"get": _page("Whether the server answers, and its models", "application/json")},
            "/metrics": {"get": _page("Metrics in the text format of Prometheus", "text/plain")},
            "/openapi.json": {"get": _page("This description", "application/json")},
        },
        "components": {"schemas": _SCHEMAS},
    }
    if has_token:
        found["components"] = {
            **found["components"], "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}
        }  # fmt: skip
        found["security"] = [{"token": []}]
    return found


def _page(summary: str, kind: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": summary, "content": {kind: {}}}}}


_SCHEMAS = {
    "Inspection": {
        "type": "object",
        "properties": {
            **{name: _TYPES.get(name, _NUMBER) for name in FIELDS},
            "regions": {"type": "array", "items": {"type": "object"}},
        },
        "required": [*FIELDS, "regions"],
    },
    "Request": {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Of a file in a folder of --root"},
            "image": {"type": "string", "contentEncoding": "base64", "description": "Content of an image file"},
            "name": {"type": "string", "description": "Of the image in the answer"},
        },
    },
    "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
}
