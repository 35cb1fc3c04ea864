"""`/docs` without internet access: the page's script and style come from a package, under a strict content policy.

All links are relative, so the page works under any path that a proxy adds.
"""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

_FILES: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets styles on its elements, and shows images from its own style sheet."""
_CACHED: Final = {"Cache-Control": "public, max-age=86400"}
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
});
"""


def docs_routes(title: str) -> APIRouter:
    """`GET /docs` and its files."""
    router = APIRouter(include_in_schema=False)
    folder = _package() / "static"
    page = _PAGE.format(title=escape(title))

    @router.get("/docs")
    async def get_docs() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    @router.get("/docs/start.js")
    async def get_docs_start() -> Response:
        return Response(_START, media_type="text/javascript", headers=_CACHED)

    def add(name: str, media_type: str) -> None:
        async def get_docs_file() -> Response:
            return FileResponse(folder / name, media_type=media_type, headers=_CACHED)

        router.add_api_route(f"/docs/{name}", get_docs_file, methods=["GET"])

    for name, media_type in _FILES.items():
        add(name, media_type)
    return router


def _package() -> Path:
    """The folder of `fastapi_offline`, of which only the files are used."""
    spec = find_spec("fastapi_offline")
    assert spec is not None  # noqa: S101 (a dependency)
    assert spec.origin is not None  # noqa: S101 (as above)
    return Path(spec.origin).parent
