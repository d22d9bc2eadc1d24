"""The configuration that the router runs with here: a file like any other, which `--keep` leaves to begin with."""

import socket
from collections.abc import Sequence
from pathlib import Path

from router.demo.modality import AE_TITLE
from router.demo.pacs import HOST, Pacs

ROUTER_YAML = """\
# What `dicom-router demo` ran with. Everything that is not here has its default.
listen:
  ae_title: ROUTER
  host: {host}
  port: {port}
  allow:
    - {{ae_title: {modality}, hosts: {host}}}
spool:
  directory: spool
  reserve: 1MiB
routes:
  - name: everything to everybody
    to: [{names}]
destinations:
{destinations}
http: {{host: {host}, port: {page}}}
socket: router.sock
drain: 5s
"""

DESTINATION = """\
  - name: {name}
    remote_ae_title: {name}
    remote_host: {host}
    remote_port: {port}
    transfer_syntax_strategy: {strategy}
    propose_stored: {propose_stored}
    max_associations: 1
    back_off: {{initial: 500ms, maximum: 1s}}     # 5s and 60s by default: nobody watches for so long
    retry: {{initial: 500ms, maximum: 1s}}        # 5s and 30m by default
"""


def write(path: Path, port: int, page: int, pacs: Sequence[Pacs]) -> None:
    """Write the configuration of a router on ``port`` that brings everything to each of ``pacs``.

    Args:
        path: of the file.
        port: of the router's AE.
        page: port of its status page.
        pacs: the destinations.
    """
    destinations = (
        DESTINATION.format(
            name=each.name,
            host=HOST,
            port=each.port,
            strategy=each.strategy.value,
            propose_stored=each.propose_stored.value,
        )
        for each in pacs
    )
    text = ROUTER_YAML.format(
        host=HOST,
        port=port,
        page=page,
        modality=AE_TITLE,
        names=", ".join(each.name for each in pacs),
        destinations="".join(destinations).rstrip(),
    )
    path.write_text(text, encoding="utf-8")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as place:
        place.bind((HOST, 0))
        port: int = place.getsockname()[1]
        return port
