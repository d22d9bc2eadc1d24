"""The OpenAPI document, from the table of routes and the models in it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.routing import BaseRoute

from router import __version__
from router.admin.bodies import Trouble
from router.admin.endpoint import Endpoint
from router.settings import Role

REFERENCE = "#/components/schemas/{model}"

TROUBLES = {
    400: "what was sent is no request",
    404: "there is no such thing",
    413: "the request's body is too large",
    422: "the request means nothing",
    503: "the queue cannot be asked",
}
"""What any answer may be instead, each with a sentence."""
BARRED = {
    401: "a token is needed, or the one that was sent is not known",
    403: "the token is not good for this, or another site asked",
    421: "the Host header does not name this router",
}
"""What the guard may answer, over TCP."""


def openapi(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The document that describes ``routes``, as far as they are for programs."""
    endpoints = [route for route in routes if isinstance(route, Endpoint) and route.described]
    models = dict.fromkeys(_models(endpoints))
    schemas, definitions = models_json_schema(list(models), ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "dicom-router", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(endpoints: Sequence[Endpoint]) -> Iterable[tuple[type[BaseModel], JsonSchemaMode]]:
    yield Trouble, "serialization"
    for endpoint in endpoints:
        if endpoint.body is not None:
            yield endpoint.body, "validation"
        if not isinstance(endpoint.answer, str):
            yield endpoint.answer, "serialization"


_Schemas = Mapping[Any, dict[str, Any]]
"""(model, mode) → its schema, a reference."""


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    refusal = _content(schemas[Trouble, "serialization"])
    troubles = TROUBLES if endpoint.role is None else TROUBLES | BARRED
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.name,
        "parameters": [*_in_path(endpoint), *_in_query(endpoint)],
        "responses": {
            "200": {"description": "done", "content": _answer(endpoint, schemas)},
            **{str(status): {"description": why, "content": refusal} for status, why in troubles.items()},
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(schemas[endpoint.body, "validation"])}
    if endpoint.role is not None:
        operation["security"] = [{"token": []}] if endpoint.role is Role.OPERATE else [{}, {"token": []}]
    return operation


def _answer(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    if isinstance(endpoint.answer, str):
        return {endpoint.answer: {}}
    return _content(schemas[endpoint.answer, "serialization"])


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _in_path(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in endpoint.param_convertors
    ]


def _in_query(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.parameters is None:
        return []
    schema = endpoint.parameters.model_json_schema(ref_template=REFERENCE)
    definitions = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _inlined(one, definitions),
        }
        for name, one in schema["properties"].items()
    ]


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """``schema`` with what it refers to in its place: parameters are few and flat."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (reference := schema.get("$ref")) is not None:
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}
