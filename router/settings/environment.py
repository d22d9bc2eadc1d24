"""Environment variables in place of what a file says: ``ROUTER__SPOOL__DIRECTORY=/srv/spool``.

For single values outside lists: a list cannot be written in one variable without inventing a second syntax for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import get_origin

from pydantic import BaseModel

from router.settings.document import Document, section_of
from router.settings.problems import ConfigurationError, Problem, did_you_mean
from router.settings.source import Keys, Place, Source, Value, path_text

PREFIX = "ROUTER__"


def override(source: Source, environment: Mapping[str, str]) -> None:
    """Put the values of ``ROUTER__…`` variables into the tree.

    Raises:
        ConfigurationError: a variable names nothing that can be overridden.
    """
    known = {PREFIX + "__".join(map(str, keys)).upper(): keys for keys in _scalars(Document)}
    problems: list[Problem] = []
    for name, value in sorted(environment.items()):
        if not name.startswith(PREFIX):
            continue
        if name not in known:
            problems.append(Problem(file=name, sentence="there is no such setting", hint=_hint(name, known)))
        elif not _put(source, known[name], value, Place(name, path=path_text(known[name]))):
            sentence = f"{known[name][0]} is not a section of keys in the file; set the value there"
            problems.append(Problem(file=name, path=path_text(known[name]), sentence=sentence))
    if problems:
        raise ConfigurationError(problems)


def _hint(name: str, known: Iterable[str]) -> str:
    top = PREFIX + name.removeprefix(PREFIX).split("__")[0]
    if top.removeprefix(PREFIX).lower() in Document.model_fields and not any(each.startswith(top) for each in known):
        return "this is a list; only single values outside lists can be set by the environment"
    return did_you_mean(name, known)


def _put(source: Source, keys: Keys, value: str, place: Place) -> bool:
    branch: dict[str, Value] = source.tree
    for depth, key in enumerate(map(str, keys[:-1]), start=1):
        inner = branch.get(key)
        if inner is None:
            inner = branch[key] = {}
            source.places.values[keys[:depth]] = place
        if not isinstance(inner, dict):
            return False
        branch = inner
    branch[str(keys[-1])] = value
    source.places.values[keys] = source.places.keys[keys] = place
    return True


def _scalars(section: type[BaseModel], above: Keys = ()) -> Iterator[Keys]:
    """Every value that stands outside lists; one listener may be written without a list."""
    for name, field in section.model_fields.items():
        keys = (*above, name)
        inner = section_of(field.annotation)
        is_list = get_origin(field.annotation) is list and keys != ("listen",)
        if inner is not None and not is_list:
            yield from _scalars(inner, keys)
        elif not is_list and name != "ae_titles":
            yield keys
