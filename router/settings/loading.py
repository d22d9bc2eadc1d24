"""Read a configuration from its files and the environment."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.model.destination import Destination
from router.settings import assembly, checks, credentials, routing_tests, tokens
from router.settings.conditions import Reader
from router.settings.configuration import Configuration
from router.settings.document import Document
from router.settings.effective import effective
from router.settings.environment import override
from router.settings.problems import ConfigurationError, Problem
from router.settings.source import Place, Places, Source, Value, read
from router.settings.validation import validate

DESTINATIONS = "destinations"


def load(
    path: Path,
    *,
    environment: Mapping[str, str],
    known_keywords: frozenset[str] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Configuration:
    """The configuration in the file at ``path``, the files in ``destinations/`` beside it, and the environment.

    Reads files and asks the machine for its addresses: run it in a thread where an event loop runs.

    Args:
        path: of the main file.
        environment: variables; those that begin with ``ROUTER__`` override single values, ``RUNTIME_DIRECTORY`` is
            where the socket goes by default.
        known_keywords: every DICOM keyword, to find misspelt ones in ``when``; None: they are not checked.
        now: the time of day, for the ends of certificates.

    Raises:
        ConfigurationError: everything that is wrong, as far as it can be told at once.
    """
    source = read(path)
    _add_destinations(source, path.parent / DESTINATIONS)
    override(source, environment)
    listen = source.tree.get("listen")
    if isinstance(listen, dict):
        # One listener is a list of one from here on; its places move along.
        source.tree["listen"] = [listen]
        source.places.graft(source.places.branch(("listen",)), at=("listen", 0))
    document = validate(source.tree, source.places)
    reader = Reader(source.places, known_keywords)
    tokens_file = None if document.http is None else document.http.tokens_file
    known = () if tokens_file is None else tokens.read(path.parent / tokens_file)
    configuration = assembly.configuration(document, reader, path.parent, environment, known)
    problems = [
        *reader.problems,
        *checks.problems(configuration, source.places),
        *routing_tests.misspelt(document.tests, configuration, known_keywords, source.places),
    ]
    # Routes that are wrong in themselves would only make their tests fail a second time.
    problems = problems or list(routing_tests.failures(document.tests, configuration, source.places))
    if problems:
        raise ConfigurationError(problems)
    certificates = credentials.certificates(configuration)
    return replace(
        configuration,
        tests=len(document.tests),
        values=tuple(effective(source)),
        certificates=certificates,
        warnings=(*configuration.warnings, *credentials.warnings(configuration, certificates, now())),
    )


def destination(written: Mapping[str, object], *, origin: str) -> Destination:
    """One destination, as in a file of its own but already read; ``name`` is the remote AE title if left out.

    Args:
        written: keys and values as in ``destinations/*.yaml``.
        origin: what errors call the place it comes from.

    Raises:
        ConfigurationError: everything that is wrong with it.
    """
    entry: dict[str, Value] = {key: _as_text(value) for key, value in written.items()}
    entry.setdefault("name", entry.get("remote_ae_title"))
    root = Place(origin)
    document = validate({DESTINATIONS: [entry]}, Places({(): root, (DESTINATIONS, 0): root}))
    return assembly.destination(document.destinations[0], Path())


def _as_text(value: object) -> Value:
    """A value of Python as it would stand in a file: validation reads texts."""
    if isinstance(value, Mapping):
        return {str(key): _as_text(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(each) for each in value]
    return None if value is None else str(value)


def _add_destinations(source: Source, folder: Path) -> None:
    """One file of the folder is one more entry of ``destinations``; its places stay those of its own file.

    Hidden files do not count: editors and Kubernetes' ConfigMaps keep their own there.
    """
    files = sorted(file for file in folder.glob("*.y*ml") if not file.name.startswith("."))
    problems: list[Problem] = []
    written = source.tree.get(DESTINATIONS) or []
    for file in files:
        try:
            one = read(file)
        except ConfigurationError as error:
            problems += error.problems
            continue
        one.tree.setdefault("name", file.stem)
        if isinstance(written, list):
            source.places.graft(one.places, at=(DESTINATIONS, len(written)))
            written.append(one.tree)
    if files:
        source.tree[DESTINATIONS] = written
    if problems:
        raise ConfigurationError(problems)


def schema() -> dict[str, Any]:
    """The JSON schema of the file, with a description, unit and default for each key."""
    return Document.model_json_schema()
