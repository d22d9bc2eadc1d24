"""A sample of a configuration to begin with."""

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.output import CommandError, say, show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

SCHEMA = "router.schema.json"
"""What the first line of the sample names, for editors."""


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; made if it is not there.")],
) -> None:
    """Write a commented sample of a configuration to begin with; files that are there stay as they are."""
    from json import dumps

    from router.settings import schema

    sample = dict(_texts(files("router.cli") / "sample", Path()))
    sample[Path(SCHEMA)] = dumps(schema(), indent=2) + "\n"
    there = [str(folder / name) for name in sample if (folder / name).exists()]
    if there:
        sentence = f"nothing was written, because this is there already: {', '.join(there)}"
        raise CommandError(sentence, os.EX_CANTCREAT)
    try:
        for name, text in sample.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            show(str(path))
    except OSError as error:
        raise CommandError(f"{folder}: cannot be written: {error.strerror}", os.EX_CANTCREAT) from error
    say(f"Edit them, then: dicom-router check --config {folder / 'router.yaml'}")


def _texts(folder: "Traversable", below: Path) -> "Iterator[tuple[Path, str]]":
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from _texts(each, below / each.name)
        else:
            yield below / each.name, each.read_text(encoding="utf-8")
