"""C-ECHO to a destination: does it answer, and if not, why."""

import os
import time
from typing import Annotated, Any

import anyio
import typer

from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath
from router.cli.output import say, show, show_json
from router.cli.peer import CALLING, Called, Calling, hint, peer
from router.model.destination import Destination
from router.model.outcome import Cause, Failed
from router.model.presentation_context import VERIFICATION, PresentationContext
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN

SUCCESS = 0x0000


def echo(
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION|HOST:PORT", help="A configured destination, or any address.")
    ],
    *,
    called: Called = None,
    calling: Calling = None,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    json: AsJson = False,
) -> None:
    """Ask a PACS whether it is there (C-ECHO)."""
    found = anyio.run(_echo, peer(destination, called, calling, config))
    if not found["ok"]:
        found["error"] += hint(destination, called, found["cause"])
    if json:
        show_json(found)
    elif found["ok"]:
        show(
            f"{found['peer']} answered C-ECHO with {found['status']}: associated in {found['associated_ms']} ms, "
            f"answered in {found['answered_ms']} ms, implementation {found['implementation'] or 'unnamed'}"
        )
    else:
        say(found["error"])
    if not found["ok"]:
        raise typer.Exit(os.EX_UNAVAILABLE)


async def _echo(destination: Destination) -> dict[str, Any]:
    from router.dicom.buffers import Buffers
    from router.dicom.scu import Address, AssociationFailedError, associate

    address = Address.of(destination, destination.local_ae_title or CALLING)
    found: dict[str, Any] = {"ok": False, "peer": str(address)}
    context = PresentationContext(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))
    started = time.monotonic()
    try:
        association = await associate(address, [context], deadlines=destination.deadlines, buffers=Buffers(1))
    except AssociationFailedError as failed:
        return found | {"error": str(failed), "cause": failed.failure.cause}
    found |= {"implementation": association.implementation_version_name, "associated_ms": _since(started)}
    if association.contexts[0].transfer_syntax is None:
        await association.release()
        return found | {"error": f"{address} does not accept the Verification SOP class", "cause": Cause.NO_CONTEXT}
    started = time.monotonic()
    answer = await association.echo(context.id)
    await association.release()
    if isinstance(answer, Failed):
        return found | {"error": answer.error, "cause": answer.cause}
    found |= {"answered_ms": _since(started), "status": f"{answer.status:04X}H"}
    if answer.status != SUCCESS:
        error = f"{address} answered C-ECHO with status {answer.status:04X}H"
        return found | {"error": error, "cause": Cause.REFUSED}
    return found | {"ok": True}


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
