"""What a PACS accepts, found out without sending anything, and the strategy to configure for it."""

import os
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import anyio
import typer

from router.cli.client import Client, NobodyError
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import CommandError, say, show, show_json, table
from router.cli.peer import CALLING, Called, Calling, hint, peer
from router.model.presentation_context import MAXIMUM_CONTEXTS, ContextResult
from router.model.transfer_syntax import transfer_syntax

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.flow.probe import Matrix
    from router.model.destination import Destination

RESULTS = {
    ContextResult.ACCEPTANCE: "accepted",
    ContextResult.USER_REJECTION: "rejected by the user",
    ContextResult.NO_REASON: "rejected without a reason",
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: "SOP class not supported",
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: "transfer syntax not supported",
}
"""PS3.8 Table 9-18 in words."""
ENDED = "association ended by the peer"
NOT_ASKED = "not asked"
NAMES_SHOWN = 8
"""SOP classes that a name may have meant."""

DEFINITE = {
    ContextResult.ACCEPTANCE: True,
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: False,
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: False,
}
"""Answers that teach something, and whether they are acceptances."""

Classes = Annotated[
    list[str] | None,
    typer.Option("--sop-class", metavar="UID|NAME", help="Ask for this class; otherwise for common ones."),
]


def probe(
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION|HOST:PORT", help="A configured destination, or any address.")
    ],
    *,
    sop_class: Classes = None,
    called: Called = None,
    calling: Calling = None,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Find out what a PACS accepts, and which strategy to configure; nothing is sent.

    SOP classes × transfer syntaxes, one presentation context each, in as few associations as it takes. A daemon that
    runs remembers what was found out about its destination.
    """
    from router.dicom.scu import AssociationFailedError

    classes = sop_classes(sop_class)
    asked = peer(destination, called, calling, config)
    address = f"{asked.remote_ae_title} at {asked.remote_host}:{asked.remote_port}"
    try:
        matrix = anyio.run(_probe, asked, classes)
    except AssociationFailedError as failed:
        error = str(failed) + hint(destination, called, failed.failure.cause)
        if json:
            show_json({"ok": False, "peer": address, "error": error, "cause": failed.failure.cause})
        else:
            say(error)
        raise typer.Exit(os.EX_UNAVAILABLE) from failed
    if json:
        show_json({"ok": True, "peer": address, **_in_full(matrix)})
    else:
        _tell(address, matrix)
    # Another AE title is another peer: what is true of it is not what the daemon wants to know.
    if ":" not in destination and called is None and calling is None:
        _teach(Client(socket, config), asked, matrix)


def _teach(client: Client, asked: "Destination", matrix: "Matrix") -> None:
    """Have the daemon remember it, if one runs."""
    answers = [
        {"sop_class": sop_class, "transfer_syntax": syntax, "accepted": DEFINITE[result]}
        for (sop_class, syntax), result in matrix.answers.items()
        if result in DEFINITE
    ]
    address = {
        "remote_ae_title": asked.remote_ae_title,
        "remote_host": asked.remote_host,
        "remote_port": asked.remote_port,
    }
    try:
        path = f"/api/destinations/{quote(asked.name, safe='')}/learned"
        learned = client.post(path, {**address, "answers": answers})["learned"]
    except NobodyError:
        return
    except CommandError as error:
        say(f"the daemon does not remember it: {error}")
    else:
        say(f"the daemon remembers these {learned} answers")


async def _probe(destination: "Destination", classes: "Sequence[str]") -> "Matrix":
    from router.dicom.buffers import Buffers
    from router.dicom.scu import Address
    from router.flow.probe import probe as ask
    from router.rules.probing import pairs_of

    address = Address.of(destination, destination.local_ae_title or CALLING)
    return await ask(address, pairs_of(classes), deadlines=destination.deadlines, buffers=Buffers(1))


def sop_classes(named: "Sequence[str] | None") -> "Sequence[str]":
    """The UIDs of those that were named; without any, of common ones.

    Raises:
        CommandError: a name means none, or several.
    """
    from router.rules.probing import COMMON_SOP_CLASSES

    return [_sop_class(text) for text in named] if named else COMMON_SOP_CLASSES


def _sop_class(text: str) -> str:
    """The UID that is meant: itself, or the class of this name; «CT» is «CT Image Storage»."""
    if all(part.isdecimal() for part in text.split(".")):
        return text
    from router.dicom.sop_classes import storage_sop_classes

    wanted = _letters(text)
    known = {_letters(name): uid for uid, name in storage_sop_classes().items()}
    for name in (wanted, f"{wanted}storage", f"{wanted}imagestorage"):
        if name in known:
            return known[name]
    near = [uid for name, uid in known.items() if wanted in name]
    if len(near) == 1:
        return near[0]
    names = ", ".join(storage_sop_classes()[uid] for uid in near[:NAMES_SHOWN])
    hint = f"; it may be {names}" if near else ""
    raise CommandError(f"{text!r} is neither a UID nor the name of one Storage SOP class{hint}", os.EX_USAGE)


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _by_class(matrix: "Matrix") -> "Mapping[str, Mapping[str, str]]":
    """SOP class → transfer syntax → what became of it, in words."""
    found: dict[str, dict[str, str]] = {}
    words = {pair: RESULTS[result] for pair, result in matrix.answers.items()}
    words |= dict.fromkeys(matrix.unanswered, ENDED) | dict.fromkeys(matrix.not_asked, NOT_ASKED)
    for (sop_class, syntax), result in words.items():
        found.setdefault(sop_class, {})[syntax] = result
    return found


def _tell(address: str, matrix: "Matrix") -> None:
    from router.dicom.sop_classes import name_of

    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for sop_class, answers in _by_class(matrix).items():
        groups.setdefault(tuple(sorted(answers.items(), key=_accepted_first)), []).append(sop_class)
    for results, classes in groups.items():
        show(table(["SOP CLASS", "UID"], [[name_of(uid), uid] for uid in classes]))
        show(table(["  ANSWER", "TRANSFER SYNTAX", "UID"], [*_rows(results)]))
        show("")
    name = matrix.implementation_version_name or "unnamed"
    many = matrix.most_contexts
    show(
        table(
            ["PEER", address],
            [
                ["implementation", f"{name} ({matrix.implementation_class_uid})"],
                ["maximum length", f"{matrix.maximum_length} bytes" if matrix.maximum_length else "unlimited"],
                ["contexts at once", many if many < MAXIMUM_CONTEXTS else f"{many}, as many as there can be"],
                ["associations", matrix.associations],
                ["recommendation", _recommendation(matrix)],
            ],
        )
    )
    if matrix.trouble:
        say(f"It ended early: {matrix.trouble}")


def _accepted_first(result: tuple[str, str]) -> bool:
    return result[1] != RESULTS[ContextResult.ACCEPTANCE]


def _rows(results: "Sequence[tuple[str, str]]") -> "Iterable[Sequence[str]]":
    """One for each transfer syntax; one for all of them if the class itself is not supported."""
    if {words for _, words in results} == {RESULTS[ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED]}:
        yield f"  {results[0][1]}", "any", "-"
        return
    for syntax, words in results:
        yield f"  {words}", transfer_syntax(syntax).name, syntax


def _recommendation(matrix: "Matrix") -> str:
    if matrix.strategy is None:
        return f"none: {matrix.words}"
    return f"transfer_syntax_strategy: {matrix.strategy} ({matrix.words})"


def _in_full(matrix: "Matrix") -> dict[str, Any]:
    from router.dicom.sop_classes import name_of

    return {
        "implementation_class_uid": matrix.implementation_class_uid,
        "implementation_version_name": matrix.implementation_version_name,
        "maximum_length": matrix.maximum_length,
        "most_contexts": matrix.most_contexts,
        "associations": matrix.associations,
        "strategy": matrix.strategy,
        "recommendation": matrix.words,
        "trouble": matrix.trouble,
        "sop_classes": [
            {
                "uid": sop_class,
                "name": name_of(sop_class),
                "transfer_syntaxes": [
                    {"uid": syntax, "name": transfer_syntax(syntax).name, "result": words}
                    for syntax, words in results.items()
                ],
            }
            for sop_class, results in _by_class(matrix).items()
        ],
    }
