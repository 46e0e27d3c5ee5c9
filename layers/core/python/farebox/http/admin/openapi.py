"""The admin plane's description of itself, in what FastAPI cannot know: the key, errors, a file's body."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "path": {"type": "string", "description": "The field that is wrong."},
            },
        },
        "request_id": {"type": "string"},
    },
}
_SCHEMES = {
    "adminKey": {"type": "http", "scheme": "bearer", "bearerFormat": "fba-..."},
    "portkeyHeader": {"type": "apiKey", "in": "header", "name": "x-portkey-api-key"},
}
_REFUSALS = {"400": "The request is wrong", "401": "No valid admin key"}
_TEXT = {"schema": {"type": "string", "description": "A policy document; docs/configuration.md."}}


def describe(app: FastAPI) -> None:
    """Make the app describe itself as it is. To be called when it has all its routes."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(plain())
        return plain()

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def _complete(schema: dict[str, Any]) -> None:
    components = schema.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas["Error"] = ERROR
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schema["security"] = [{name: []} for name in _SCHEMES]
    for operations in schema["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"].update({status: _refusal(told) for status, told in _REFUSALS.items()})
    schema["paths"]["/v1/apply"]["post"]["requestBody"] = {
        "required": True,
        "content": dict.fromkeys(("application/yaml", "application/json"), _TEXT),
    }


def _refusal(told: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": told, "content": content}
