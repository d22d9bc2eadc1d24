"""From the tree of a file to a ``Document``, and from pydantic's errors to problems with places."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.settings.document import Document, section_of
from router.settings.problems import ConfigurationError, Problem, did_you_mean
from router.settings.source import Keys, Places, Value

_KINDS = {
    "model_type": "keys and values are expected here",
    "dict_type": "keys and values are expected here",
    "list_type": "a list is expected here",
    "string_type": "one value is expected here",
    "bool_type": "true or false is expected here",
    "int_type": "a whole number is expected here",
    "int_parsing": "{input!r} is not a whole number",
    "int_parsing_size": "{input!r} is too large",
    "greater_than_equal": "{input} is less than {ge}",
    "less_than_equal": "{input} is more than {le}",
    "too_short": "{min_length} or more are needed",
    "string_too_short": "is empty",
    "enum": "{input!r} is not one of {expected}",
    "literal_error": "{input!r} is not one of {expected}",
}
"""Our sentence for each kind of error that pydantic may report here."""
_CHOICES = ("enum", "literal_error")
_KEY = "[key]"
"""How pydantic calls the place of a key in a mapping of values."""
_CHOICE = re.compile("'([^']*)'")


def validate(tree: dict[str, Value], places: Places) -> Document:
    """Check the whole tree.

    Raises:
        ConfigurationError: everything that is wrong with keys and single values.
    """
    known = Document.model_fields
    # A section without content («routes:» and nothing below) is one that is not written.
    written: dict[str, Any] = {key: value for key, value in tree.items() if key in known and value is not None}
    problems = [_unknown_key((key,), known, places) for key in tree if key not in known]
    try:
        document = Document(**written)
    except ValidationError as error:
        problems += [_problem(details, places) for details in error.errors(include_url=False)]
        raise ConfigurationError(problems) from None
    if problems:
        raise ConfigurationError(problems)
    return document


def _problem(details: ErrorDetails, places: Places) -> Problem:
    keys, kind, given = details["loc"], details["type"], details["input"]
    if kind == "extra_forbidden":
        return _unknown_key(keys, _fields(keys[:-1]), places)
    if kind == "missing":
        return places.problem(keys[:-1], f"{keys[-1]} is missing")
    if keys[-1:] == (_KEY,):
        return places.problem_of_key(keys[:-1], str(details["ctx"]["error"]))
    if kind == "value_error":
        return places.problem(keys, str(details["ctx"]["error"]))
    if given is None:
        return places.problem(
            keys, "has no value", hint="write a value, or leave the key out; the text null needs quotes"
        )
    context = details.get("ctx", {})
    sentence = _KINDS.get(kind, details["msg"]).format_map({**context, "input": given})
    hint = (
        did_you_mean(given, _CHOICE.findall(context["expected"])) if kind in _CHOICES and isinstance(given, str) else ""
    )
    return places.problem(keys, sentence, hint)


def _unknown_key(keys: Keys, known: Iterable[str], places: Places) -> Problem:
    return places.problem_of_key(keys, "there is no such key", did_you_mean(str(keys[-1]), known))


def _fields(keys: Keys) -> Iterable[str]:
    """The keys that the section at ``keys`` may have."""
    section: type[BaseModel] = Document
    for key in keys:
        if isinstance(key, str):
            section = section_of(section.model_fields[key].annotation) or section
    return section.model_fields
