"""A queue that was lost: the next start makes a new one from spool and history, and nobody has to do anything."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest

from tests.daemon.conftest import Pacses, Routers
from tests.daemon.ledger import ledger, same
from tests.daemon.modality import LostError, Modality, send
from tests.daemon.objects import made
from tests.daemon.program import Program
from tests.daemon.sinks import Pacs
from tests.daemon.waiting import until

pytestmark = [
    pytest.mark.trust,
    pytest.mark.row("F7", "the queue's database is deleted, cut or overwritten, also after SIGKILL; the history too"),
]

ROUTED = [made(number) for number in range(1, 7)]
UNROUTED = made(7, Modality="SR")
PAGE = 4096


def delete(spool: Path) -> None:
    """Nothing of it is left."""
    for path in spool.glob("queue.db*"):
        path.unlink()


def delete_database(spool: Path) -> None:
    """Its log is left behind."""
    (spool / "queue.db").unlink()


def truncate(spool: Path) -> None:
    """Half of it is gone."""
    path = spool / "queue.db"
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)


def overwrite(spool: Path) -> None:
    """It begins like a database, but that is all."""
    path = spool / "queue.db"
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(Random(4711).randbytes(path.stat().st_size - PAGE))


def set_aside(router: Program) -> list[str]:
    """The names that damaged files were given."""
    return [path.name for path in router.spool.glob("*.damaged-*") if not path.name.endswith(("-wal", "-shm"))]


def with_a_backlog(start: Routers, up: Pacs, down: Pacs) -> Program:
    """A router that delivered to one destination, owes everything to the other, and holds what no route took."""
    router = start(
        destinations=[up.destination(), down.destination()],
        routes=[{"when": {"Modality": "CT"}, "to": [up.name, down.name]}],
    )
    assert set(send(router.port, [*ROUTED, UNROUTED])) == {0}
    until(lambda: router.tally(up.name) == {"delivered": len(ROUTED)}, "everything at one of them")
    return router


@pytest.mark.parametrize("damage", [delete, truncate, overwrite])
def test_a_lost_queue_is_made_again(start: Routers, pacs: Pacses, damage: Callable[[Path], None]) -> None:
    """Everything that was acknowledged arrives; what was delivered is not sent again, what was held is held."""
    up, down = pacs("UP"), pacs("DOWN", up=False)
    router = with_a_backlog(start, up, down)
    assert router.stop() == 0
    damage(router.spool)
    router.start()
    (rebuilt,) = router.find("queue rebuilt")
    assert rebuilt["outcome"] == {"adopted": 7, "delivered": 6, "held": 1, "queued": 6}
    assert "error" not in rebuilt, "the history knows the rest"
    damaged = damage is not delete
    assert len(set_aside(router)) == damaged
    assert [set_aside(router)[0] in line["error"] for line in router.find("spool in trouble")] == [True] * damaged
    down.start()
    until(lambda: router.tally(down.name) == {"delivered": len(ROUTED)}, "everything at the other, too")
    for sink in up, down:
        same(ledger(ROUTED), sink)
        assert len(sink.stores) == len(ROUTED), "each of them once"
    assert router.tally("") == {"held": 1}


def test_a_queue_that_is_lost_after_a_kill_is_made_again(start: Routers, pacs: Pacses) -> None:
    """What the history had no time to note is sent again; nothing is missing."""
    up, down = pacs("UP"), pacs("DOWN", up=False)
    router = with_a_backlog(start, up, down)
    router.kill()
    delete_database(router.spool)
    down.start()
    router.start()
    until(lambda: router.tally(down.name) == {"delivered": len(ROUTED)}, "everything at the other, too")
    until(lambda: router.tally(up.name) == {"delivered": len(ROUTED)}, "nothing that waits")
    for sink in up, down:
        same(ledger(ROUTED), sink)


def test_without_the_history_everything_is_sent_again(start: Routers, pacs: Pacses) -> None:
    """The log says so; what no route takes is held again by the rules."""
    up, down = pacs("UP"), pacs("DOWN")
    router = with_a_backlog(start, up, down)
    until(lambda: router.tally(down.name) == {"delivered": len(ROUTED)}, "everything at the other, too")
    assert router.stop() == 0
    delete(router.spool)
    (router.spool / "history.db").unlink()
    router.start()
    (rebuilt,) = router.find("queue rebuilt")
    assert rebuilt["outcome"] == {"adopted": 7, "held": 1, "queued": 12}
    assert "sent again" in rebuilt["error"]
    until(lambda: len(up.stores) == len(down.stores) == 2 * len(ROUTED), "everything for the second time")
    for sink in up, down:
        same(ledger(ROUTED), sink)
    assert router.tally("") == {"held": 1}


def test_damage_that_shows_in_operation_ends_the_daemon(start: Routers, pacs: Pacses) -> None:
    """It promises nothing any more, says why, and ends; the next start makes a new queue."""
    up, down = pacs("UP"), pacs("DOWN", up=False)
    router = with_a_backlog(start, up, down)
    # What is answered with A700H here may lie in the spool already, and is sent all the same.
    promised = ledger(ROUTED).items()
    path = router.spool / "queue.db"
    # Another writer makes the daemon forget what it has read of the file.
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE claim SET token = token + 1")
        until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, "a checkpoint")
        overwrite(router.spool)
    with suppress(LostError), closing(Modality(router.port, [ROUTED[0].pair])) as modality:
        assert modality.store(made(8)) == 0xA700
    assert router.ended() == 74
    assert "is damaged" in router.words.pop()
    assert any("is damaged" in line["error"] for line in router.find("spool in trouble"))
    assert len(set_aside(router)) == 1
    down.start()
    router.start()
    until(lambda: promised <= ledger(down.received()).items(), "everything at the other, too")
    assert promised <= ledger(up.received()).items()
    assert router.tally("") == {"held": 1}


def test_a_file_of_another_program_is_not_touched(routers: Routers, pacs: Pacses) -> None:
    """That is a spool directory named by mistake: the daemon does not start."""
    router = routers(destinations=[pacs(up=False).destination()])
    router.spool.mkdir()
    with closing(sqlite3.connect(router.spool / "queue.db")) as connection:
        connection.executescript("PRAGMA application_id=7; CREATE TABLE somebody(s)")
    before = (router.spool / "queue.db").read_bytes()
    router.launch()
    assert router.ended() == 73
    assert "not a queue of dicom-router" in router.words.pop()
    assert (router.spool / "queue.db").read_bytes() == before
