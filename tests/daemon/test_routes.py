"""Which destinations an object reaches, on the real program."""

from collections.abc import Mapping, Sequence

import pytest
from pydicom.uid import CTImageStorage, MRImageStorage

from tests.daemon.conftest import Pacses, Routers
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.program import Line, Program
from tests.daemon.sinks import Pacs, destination
from tests.daemon.waiting import until

pytestmark = pytest.mark.endtoend

OTHER_CT = {"calling_ae_title": "CT2"}
CT, MR, SECOND_CT = made(1), made(2, SOPClassUID=MRImageStorage, Modality="MR"), made(3)


def test_each_route_that_matches_adds_its_destinations(start: Routers, pacs: Pacses) -> None:
    """By calling AE title, by Modality, by SOP class; a route that stops the search stops it."""
    archive, research, station = pacs("ARCHIVE"), pacs("RESEARCH"), pacs("STATION")
    router = start(
        destinations=[sink.destination() for sink in (archive, research, station)],
        routes=[
            {"name": "quiet", "when": {"calling_ae_title": "TEST*"}, "to": "ARCHIVE", "stop": True},
            {"name": "mr", "when": {"Modality": ["MR", "MG"]}, "to": ["RESEARCH", "STATION"]},
            {
                "name": "ct",
                "when": {"SOPClassUID": CTImageStorage, "not": OTHER_CT},
                "to": "STATION",
            },
            {"name": "all", "to": "ARCHIVE"},
        ],
    )
    assert send(router.port, [CT, MR], calling="CT1") == [0, 0]
    assert send(router.port, [SECOND_CT], calling="CT2") == [0]
    tested = made(4, SOPClassUID=MRImageStorage, Modality="MR")
    assert send(router.port, [tested], calling="TEST_MR") == [0]
    router.until_delivered()
    assert _uids(archive) == {CT.uid, MR.uid, SECOND_CT.uid, tested.uid}
    assert _uids(research) == {MR.uid}
    assert _uids(station) == {CT.uid, MR.uid}
    routes = {line["instance"]: line["route"] for line in router.find("instance accepted")}
    assert routes == {
        CT.uid: ["ct", "all"],
        MR.uid: ["mr", "all"],
        SECOND_CT.uid: ["all"],
        tested.uid: ["quiet"],
    }


@pytest.mark.parametrize(
    ("unrouted", "status", "tally"),
    [("hold", 0x0000, {"held": 1}), ("discard", 0x0000, {"dropped": 1}), ("refuse", 0x0124, {})],
)
def test_what_no_route_takes(
    start: Routers, pacs: Pacses, unrouted: str, status: int, tally: Mapping[str, int]
) -> None:
    """It is kept for an operator, given up with a line in the log, or refused."""
    sink = pacs()
    routes = [{"when": {"Modality": "US"}, "to": "PACS"}]
    router = start(destinations=[sink.destination()], routes=routes, unrouted=unrouted)
    assert send(router.port, [CT]) == [status]
    assert router.tally("") == tally
    (line,) = router.wait_for("instance refused" if status else "instance accepted", instance=CT.uid)
    assert "no route" in line["error"]
    assert len(router.spooled()) == (status == 0)
    router.kill()
    router.start()
    assert router.tally("") == tally
    assert not sink.stores


def test_an_object_does_not_go_back_to_whom_it_came_from(start: Routers, pacs: Pacses) -> None:
    """The destination that is the very sender is skipped, and the log says so."""
    archive, other = pacs("ARCHIVE"), pacs("OTHER")
    router = start(
        destinations=[archive.destination(), other.destination()], routes=[{"name": "all", "to": ["ARCHIVE", "OTHER"]}]
    )
    assert send(router.port, [CT], calling="ARCHIVE") == [0]
    until(lambda: _uids(other) == {CT.uid}, "the object at the other destination")
    router.until_delivered()
    assert not archive.stores
    (line,) = router.find("instance accepted")
    assert line["destination"] == ["OTHER"]
    assert "ARCHIVE" in line["error"]


def test_a_loop_is_broken(routers: Routers) -> None:
    """Two routers that send everything to each other: after five rounds the object is held, with an alarm."""
    first, second = routers(), routers()
    for router, title, other, their_title in (first, "A", second, "B"), (second, "B", first, "A"):
        back = destination(their_title, other.port, local_ae_title=title, allow_return=True)
        router.configure(listen={"ae_title": title}, destinations=[back])
        router.start()
    assert send(first.port, [CT], called="A") == [0]
    alarm = until(lambda: [*_alarms(first), *_alarms(second)], "an object that is held")
    assert "more than 5 times" in alarm[0]["error"]
    until(lambda: first.waiting() + second.waiting() == 1, "one that waits for an operator, and nothing that moves")
    assert [len(router.find("instance accepted")) for router in (first, second)] == [6, 6]


def _alarms(router: Program) -> Sequence[Line]:
    return router.find("instance accepted", outcome="held")


def _uids(sink: Pacs) -> set[str]:
    return {each.uid for each in sink.received()}
