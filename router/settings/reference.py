"""Every key of the configuration file, as a page for people: ``docs/configuration.md``."""

from collections.abc import Iterator, Mapping
from typing import Any

from router.settings.document import Document

_TITLE = """# Configuration

Every key of `router.yaml` and of the files in `destinations/` beside it, which are one entry of `destinations` each.
Values have units: `500ms`, `30s`, `10m`, `1h`, `7d`; `64KiB`, `500MB`, `2GiB`; `10MB/s`; `5%`. Any single value outside
a list can come from the environment instead: `ROUTER__SPOOL__DIRECTORY=/srv/spool`. Keys that are not here are errors.

`dicom-router init FOLDER` writes a commented sample, `dicom-router check` tells what is wrong, `dicom-router check
--explain` what the configuration does, and `dicom-router config show --origin` every value in force and where it comes
from. This page is written by `dicom-router schema --markdown`.
"""
_WORDS = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`", "object": "keys and values"}

Schema = Mapping[str, Any]


def reference() -> str:
    """The page, in Markdown."""
    schema = Document.model_json_schema()
    definitions: Mapping[str, Schema] = schema["$defs"]
    paths = _paths(schema, definitions)
    parts = [_TITLE, *_section("router.yaml", {**schema, "description": ""}, definitions, paths)]
    for name, path in paths.items():
        parts += _section(path, definitions[name], definitions, paths)
    return "\n".join(parts).rstrip("\n")


def _paths(schema: Schema, definitions: Mapping[str, Schema]) -> dict[str, str]:
    """The sections in the order of the file, each with the first place where it is used."""
    paths: dict[str, str] = {}

    def walk(section: Schema, above: str) -> None:
        for key, field in section["properties"].items():
            for name in _references(field):
                if "properties" in definitions[name] and name not in paths:
                    paths[name] = f"{above}{key}"
                    walk(definitions[name], f"{paths[name]}.")

    walk(schema, "")
    return paths


def _references(field: object) -> Iterator[str]:
    """The names of the definitions that a field leads to."""
    if isinstance(field, Mapping):
        if "$ref" in field:
            yield _name(field)
        for inner in field.values():
            yield from _references(inner)
    elif isinstance(field, list):
        for inner in field:
            yield from _references(inner)


def _section(title: str, section: Schema, definitions: Mapping[str, Schema], paths: Mapping[str, str]) -> Iterator[str]:
    yield f"## {title}\n"
    if section["description"]:
        yield f"{section['description']}\n"
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    required = section.get("required", ())
    for key, field in section["properties"].items():
        default = "required" if key in required else _default(field)
        yield f"| `{key}` | {_kind(field, definitions, paths)} | {default} | {_meaning(field, definitions)} |"
    yield ""


def _meaning(field: Schema, definitions: Mapping[str, Schema]) -> str:
    """Of a section, when the key has nothing to add to it, its own."""
    told = field.get("description") or definitions[_name(field)]["description"]
    return " ".join(told.split())


def _kind(field: Schema, definitions: Mapping[str, Schema], paths: Mapping[str, str]) -> str:
    match field:
        case {"$ref": _} if (name := _name(field)) in paths:
            return f"section [`{paths[name]}`](#{paths[name].replace('.', '')})"
        case {"$ref": _}:
            return _kind(definitions[_name(field)], definitions, paths)
        case {"anyOf": several}:
            kinds = [_kind(each, definitions, paths) for each in several if each.get("type") != "null"]
            one_or_list = [kind for kind in kinds if kind != f"list of {kinds[0]}"]
            return " or ".join(one_or_list) + (", or a list of such" if one_or_list != kinds else "")
        case {"type": "array", "items": items}:
            return f"list of {_kind(items, definitions, paths)}"
        case _:
            return _kind_of_value(field)


def _kind_of_value(field: Schema) -> str:
    match field:
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"examples": [example, *_]}:
            return f"such as `{example}`"
        case {"minimum": low, "maximum": high}:
            return f"{low} to {high}"
        case {"minimum": low}:
            return f"{low} or more"
        case _:
            # An AE title may look like a number; it is text all the same.
            kind = field["type"]
            return _WORDS[kind[0] if isinstance(kind, list) else kind]


def _default(field: Schema) -> str:
    match field.get("default"):
        case None | "" | [] | {}:
            return ""
        case bool() as truth:
            return f"`{str(truth).lower()}`"
        case value:
            return f"`{value}`"


def _name(field: Schema) -> str:
    return str(field["$ref"]).rpartition("/")[2]
