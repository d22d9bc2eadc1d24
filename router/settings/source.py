"""The text of a configuration file as plain values, each with its place.

Every scalar stays the text that stands in the file until a field says what it is: ``ON``, ``NO``, ``0104`` and ``1e5``
are legal AE titles. Only an empty value, ``null`` and ``~`` are None.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode

from router.settings.problems import ConfigurationError, Problem

SIZE_LIMIT = 1024 * 1024
VALUE_LIMIT = 50_000
"""Values in one file, each alias counted as often as it is used: a few lines of aliases can mean gigabytes."""

DEPTH_LIMIT = 40
TOO_DEEP = "lists and mappings nest too deeply"

_CORE = "tag:yaml.org,2002:"
_TAGS = frozenset(_CORE + kind for kind in ("null", "bool", "int", "float", "str", "timestamp", "merge", "seq", "map"))
"""What YAML 1.2 finds out by itself; any other tag would ask for an object to be made."""

Value = str | None | list["Value"] | dict[str, "Value"]
Keys = tuple[str | int, ...]
"""The way from the root to a value: keys of mappings, positions in lists."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands."""

    file: str
    line: int | None = None
    column: int | None = None
    path: str = ""
    source: str = ""

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True)
class Places:
    """Where each value of a configuration stands, over all of its files and the environment."""

    values: dict[Keys, Place] = field(default_factory=dict)
    keys: dict[Keys, Place] = field(default_factory=dict)
    """Of the key, where a value stands in a mapping."""

    def of(self, keys: Keys) -> Place:
        """Of a value, or of the nearest one around it when it is not written anywhere."""
        around = keys
        while around not in self.values:
            around = around[:-1]
        place = self.values[around]
        missing = keys[len(around) :]
        return replace(place, path=path_text(missing, place.path)) if missing else place

    def problem(self, keys: Keys, sentence: str, hint: str = "") -> Problem:
        """A problem with a value."""
        return _at(self.of(keys), sentence, hint)

    def problem_of_key(self, keys: Keys, sentence: str, hint: str = "") -> Problem:
        """A problem with a key of a mapping."""
        return _at(self.keys.get(keys) or self.of(keys), sentence, hint)

    def graft(self, other: "Places", *, at: Keys) -> None:
        """Take over the places of another tree that became a branch of this one; their paths stay as in their file."""
        self.values |= {at + keys: place for keys, place in other.values.items()}
        self.keys |= {at + keys: place for keys, place in other.keys.items()}

    def branch(self, root: Keys) -> "Places":
        """The places below ``root``, seen from there."""

        def below(places: dict[Keys, Place]) -> dict[Keys, Place]:
            return {keys[len(root) :]: place for keys, place in places.items() if keys[: len(root)] == root}

        return Places(below(self.values), below(self.keys))


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was read."""

    tree: dict[str, Value]
    places: Places


def path_text(keys: Keys, start: str = "") -> str:
    """``destinations[1].remote_port``."""
    text = start
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if text else key
    return text


def read(path: Path) -> Source:
    """The mapping in the file at ``path``; an empty file is an empty mapping.

    Raises:
        ConfigurationError: the file cannot be read, is too large, or is not a YAML mapping.
    """
    text = _text(path)
    # Typed as the round trip, so that YAML 1.2 rules apply; composed only, so that nothing is made of any value.
    yaml = YAML(typ="rt", pure=True)
    # An anchor may be set anew, and an alias means the latest (YAML 1.2.2, 3.2.2.2): nothing to warn of.
    yaml.composer.warn_double_anchors = False
    try:
        _check_depth(path, text, yaml)
        root: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        raise ConfigurationError([_syntax_problem(path, text, error)]) from None
    except YAMLError as error:  # a character that YAML forbids
        raise ConfigurationError([Problem(file=str(path), sentence=str(error).splitlines()[0])]) from None
    return _Walk(str(path), text.splitlines()).source(root)


def _check_depth(path: Path, text: str, yaml: YAML) -> None:
    """Before anything is composed: the composer recurses, and the time of the scanner grows with the depth squared."""
    depth = 0
    for event in yaml.parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            mark = event.start_mark
            raise ConfigurationError(
                [Problem(file=str(path), line=mark.line + 1, column=mark.column + 1, sentence=TOO_DEEP)]
            )


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError([Problem(file=str(path), sentence="is not a regular file")])
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError([Problem(file=str(path), sentence=f"cannot be read: {error.strerror}")]) from error
    if len(content) > SIZE_LIMIT:
        raise ConfigurationError([Problem(file=str(path), sentence=f"is larger than {SIZE_LIMIT} bytes")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        sentence = "is not UTF-8 text"
        raise ConfigurationError([Problem(file=str(path), line=line, sentence=sentence)]) from None


def _syntax_problem(path: Path, text: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    hint = "YAML indents with spaces, never with tabs" if "'\\t'" in str(error.problem) else ""
    return Problem(
        file=str(path),
        line=mark.line + 1,
        column=mark.column + 1,
        sentence=", ".join(part for part in (error.context, error.problem) if part),
        hint=hint,
        source=lines[mark.line] if mark.line < len(lines) else "",
    )


def _at(place: Place, sentence: str, hint: str) -> Problem:
    return Problem(
        file=place.file,
        line=place.line,
        column=place.column,
        path=place.path,
        sentence=sentence,
        hint=hint,
        source=place.source,
    )


@dataclass(slots=True)
class _Walk:
    """From the nodes of one file to plain values; collects what is wrong on the way."""

    file: str
    lines: list[str]
    places: Places = field(default_factory=Places)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0

    def source(self, root: Node | None) -> Source:
        self.places.values[()] = Place(self.file, 1, 1, source=self.lines[0] if self.lines else "")
        tree = {} if root is None else self._value(root, ())
        if not isinstance(tree, dict):
            self.problems.append(Problem(file=self.file, line=1, sentence="is not a mapping of keys to values"))
            tree = {}
        if self.problems:
            raise ConfigurationError(self.problems)
        return Source(tree, self.places)

    def _value(self, node: Node, keys: Keys) -> Value:
        self.count += 1
        if self.count > VALUE_LIMIT:
            sentence = f"more than {VALUE_LIMIT} values; aliases multiply them"
            raise ConfigurationError([self._problem(node, keys[:1], sentence)])
        # An alias to what is around it never ends, and so ends here.
        if len(keys) > DEPTH_LIMIT:
            raise ConfigurationError([self._problem(node, keys[:1], TOO_DEEP)])
        if keys:
            self.places.values[keys] = self._place(node, keys)
        if str(node.tag) not in _TAGS:
            self.problems.append(self._problem(node, keys, f"the tag {node.tag} means nothing here"))
        match node:
            case ScalarNode():
                return None if str(node.tag) == f"{_CORE}null" else str(node.value)
            case SequenceNode():
                return [self._value(each, (*keys, position)) for position, each in enumerate(node.value)]
            case _:
                return self._mapping(node, keys)

    def _mapping(self, node: Node, keys: Keys) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.problems.append(self._problem(key, keys, "a list or mapping cannot be a key"))
                continue
            name = str(key.value)
            here = (*keys, name)
            if name in values:
                first = self.places.keys[here]
                sentence = f"the key stands here twice; the first is in line {first.line}"
                self.problems.append(self._problem(key, here, sentence))
                continue
            self.places.keys[here] = self._place(key, here)
            values[name] = self._value(value, here)
            if values[name] is None:
                # YAML places an empty value where the next token begins.
                self.places.values[here] = self.places.keys[here]
        return values

    def _problem(self, node: Node, keys: Keys, sentence: str) -> Problem:
        return _at(self._place(node, keys), sentence, "")

    def _place(self, node: Node, keys: Keys) -> Place:
        line = node.start_mark.line
        source = self.lines[line] if line < len(self.lines) else ""
        return Place(self.file, line + 1, node.start_mark.column + 1, path_text(keys), source)
