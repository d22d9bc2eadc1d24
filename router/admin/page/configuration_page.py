"""Every value that is in force, with secrets masked, and where it comes from."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response

from router.admin.page.rendering import Renderer
from router.admin.page.row import Page
from router.settings import Configuration, Effective

DEFAULT = "default"
_SECTION = re.compile(r"[^.\[]+(?:\[[^\]]*\])?")


@dataclass(frozen=True, slots=True)
class ConfigurationPage:
    """``/configuration``."""

    configuration: Callable[[], Configuration]
    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [Page("GET", "/configuration", self.show_configuration, self.renderer)]

    async def show_configuration(self, request: Request) -> Response:
        """``GET /configuration``; ``?defaults=shown`` tells the defaults too, ten times as much."""
        configuration = self.configuration()
        written = request.query_params.get("defaults") != "shown"
        shown = [each for each in configuration.values if not (written and each.origin == DEFAULT)]
        return self.renderer.page(
            request,
            "configuration",
            {
                "sections": [(name, list(values)) for name, values in groupby(shown, _section)],
                "written": written,
                "warnings": configuration.warnings,
                "DEFAULT": DEFAULT,
            },
        )


def _section(value: Effective) -> str:
    """``destinations[MAIN_PACS]`` of ``destinations[MAIN_PACS].remote_port``."""
    found = _SECTION.match(value.path)
    return value.path if found is None else found[0]
