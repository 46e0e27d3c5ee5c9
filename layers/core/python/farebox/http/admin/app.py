"""The admin plane as one FastAPI app. It serves a laptop and a function alike, and never the data plane."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse

from farebox import __version__
from farebox.http.admin.auth import admin_key_check
from farebox.http.admin.budgets.brake_routes import brake_router
from farebox.http.admin.budgets.replay_routes import replay_router
from farebox.http.admin.budgets.routes import budget_router
from farebox.http.admin.editor import PolicyEditor
from farebox.http.admin.errors import install_error_handlers
from farebox.http.admin.keys.admin_key_routes import admin_key_router
from farebox.http.admin.keys.key_routes import key_router
from farebox.http.admin.policy.breaker_routes import breaker_router
from farebox.http.admin.policy.config_routes import config_router
from farebox.http.admin.policy.policy_routes import apply_router, policy_routers
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.report_routes import report_router

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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


def build_admin_app(ports: AdminPorts) -> FastAPI:
    """Make the app. Everything but its own description needs an admin key."""
    return app_over(ports, PolicyEditor(ports))


def app_over(ports: AdminPorts, editor: PolicyEditor) -> FastAPI:
    """Make the app with the editor that all its changes go through; apart from these two it has no state."""
    app = FastAPI(
        title="farebox admin plane",
        version=__version__,
        openapi_url="/admin/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    install_error_handlers(app)
    routers = (
        key_router(ports, editor),
        admin_key_router(ports),
        apply_router(editor),
        # Before the budgets' own routes, since it has some below them.
        budget_router(ports, editor),
        brake_router(ports, editor),
        config_router(ports, editor),
        *policy_routers(ports, editor),
        breaker_router(ports),
        report_router(ports),
        replay_router(ports),
    )
    check = Depends(admin_key_check(ports))
    for router in routers:
        app.include_router(router, dependencies=[check])

    @app.get("/admin/metrics", dependencies=[check], tags=["metrics"])
    async def metrics() -> PlainTextResponse:
        """Give the metrics of this process as Prometheus text."""
        return PlainTextResponse(ports.metrics(), media_type=METRICS_TYPE)

    @app.get("/admin/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_docs_page(app))

    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
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


def _docs_page(app: FastAPI) -> str:
    """List every route on a page that loads nothing from anywhere."""
    rows = [
        f"<tr><td>{escape(method.upper())}</td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(str(operation.get('description') or operation.get('summary', '')))}</td></tr>"
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>farebox admin plane</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem}td{padding:.2rem 1rem .2rem 0;"
        "vertical-align:top}</style><h1>farebox admin plane</h1><p>Every route needs "
        "<code>Authorization: Bearer fba-…</code>. The full description is "
        f'<a href="openapi.json">openapi.json</a>.</p><table>{"".join(rows)}</table></html>'
    )
