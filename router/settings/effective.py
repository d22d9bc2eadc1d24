"""Every value that is in force, as it would stand in the file, and where it comes from; secrets are masked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from router.settings.configuration import Effective
from router.settings.document import Document, section_of
from router.settings.source import Keys, Places, Source, Value, path_text

DEFAULT = "default"
MASK = "***"


def effective(source: Source, section: type[BaseModel] = Document) -> Iterator[Effective]:
    """The values of a file that was found right, in the order of the reference."""
    yield from _Walk(source.places).section(section, source.tree, (), "")


@dataclass(frozen=True, slots=True)
class _Walk:
    """Through the sections, and what is written for each; ``keys`` and ``path`` say where."""

    places: Places

    def section(
        self, section: type[BaseModel], written: Mapping[str, Value], keys: Keys, path: str
    ) -> Iterator[Effective]:
        for name, field in section.model_fields.items():
            here, there = (*keys, name), path_text((name,), path)
            inner = section_of(field.annotation)
            if inner is None:
                yield self._value(field, written.get(name), here, there)
            else:
                yield from self._sections(inner, field, written.get(name), here, there)

    def _sections(
        self, section: type[BaseModel], field: FieldInfo, written: Value, keys: Keys, path: str
    ) -> Iterator[Effective]:
        """One section or a list of them; what is written in a shorter form is shown so."""
        match field.get_default(call_default_factory=True) if written is None else written:
            case BaseModel():
                yield from self.section(section, {}, keys, path)
            case dict() as one:
                yield from self.section(section, one, keys, path)
            case [_, *_] as several if all(isinstance(each, BaseModel | dict) for each in several):
                for position, each in enumerate(several):
                    one = each if isinstance(each, dict) else {}
                    yield from self.section(section, one, (*keys, position), f"{path}[{one.get('name') or position}]")
            case _:
                yield self._value(field, written, keys, path)

    def _value(self, field: FieldInfo, written: Value, keys: Keys, path: str) -> Effective:
        if written is None:
            return Effective(path, _text(field.get_default(call_default_factory=True)), DEFAULT)
        text = MASK if _is_secret(field.annotation) else _text(written)
        return Effective(path, text, str(self.places.of(keys)))


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(_text, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {_text(each)}' for key, each in value.items())}}}"
        case _:
            return str(value)
