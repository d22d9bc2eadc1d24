"""Style and script: no secrets, and needed before anybody has logged in."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from router.admin.page.rendering import MEDIA_TYPES, Renderer
from router.admin.page.row import Page


@dataclass(frozen=True, slots=True)
class Files:
    """``/static``."""

    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [Page("GET", "/static/{name}", self.give, self.renderer, everybody=True)]

    async def give(self, request: Request) -> Response:
        """``GET /static/{name}``: only what was read at the start, so that no name becomes a path."""
        name = request.path_params["name"]
        content = self.renderer.static.get(name)
        if content is None:
            raise HTTPException(404, "there is no such file")
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(content, headers=headers, media_type=MEDIA_TYPES[name])
