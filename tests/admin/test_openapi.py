"""The OpenAPI document says what the table of routes says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from router.admin.endpoint import Endpoint
from router.admin.openapi import openapi
from router.settings import Role
from tests.admin.served import Served

pytestmark = pytest.mark.unit


async def test_it_is_served(api: Served) -> None:
    """And is JSON."""
    assert await api.get("/api/openapi.json") == json.loads(json.dumps(openapi(api.app.routes)))


async def test_every_route_is_described(api: Served) -> None:
    """No route stands beside the table; every answer in JSON has a model, every change a role."""
    document = openapi(api.app.routes)
    for route in api.app.routes:
        assert isinstance(route, Endpoint), f"{route} is not in the table"
        if not route.described:
            assert route.path not in document["paths"], "pages are for people"
            continue
        operation = document["paths"][route.path][route.method.lower()]
        assert operation["summary"] == route.summary
        assert route.summary.endswith(".")
        assert route.role is not None or route.path in {"/livez", "/readyz"}
        assert route.method in {"GET", "HEAD"} or route.role is Role.OPERATE
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)


async def test_every_reference_leads_somewhere(api: Served) -> None:
    """A client is generated from it."""
    document = openapi(api.app.routes)
    references = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)))
    assert references
    for reference in references:
        found: Any = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
        assert found["type"] == "object" or "enum" in found


async def test_parameters_bodies_and_answers_come_from_the_models(api: Served) -> None:
    """Of the list of deliveries, of a retry, of one delivery."""
    paths = openapi(api.app.routes)["paths"]
    listing = paths["/api/queue"]["get"]
    parameters = {each["name"]: each for each in listing["parameters"]}
    assert parameters["limit"]["schema"]["maximum"] == 1000
    assert not parameters["limit"]["required"]
    assert "in flight" in str(parameters["state"]["schema"])
    assert listing["security"] == [{}, {"token": []}]
    assert listing["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Listing")
    retry = paths["/api/queue/retry"]["post"]
    assert retry["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/RetryRequest")
    assert retry["security"] == [{"token": []}]
    (number,) = paths["/api/queue/{delivery}"]["get"]["parameters"]
    assert (number["name"], number["in"], number["required"]) == ("delivery", "path", True)
    assert "security" not in paths["/livez"]["get"]
    assert paths["/metrics"]["get"]["responses"]["200"]["content"] == {"text/plain": {}}


def test_the_guide_names_what_is_open_to_everybody() -> None:
    """The page about HTTP says which paths need no token."""
    guide = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    for path in ("/livez", "/readyz", "/metrics", "/api/openapi.json"):
        assert f"`{path}`" in guide
