"""Events are published once; a log line says what the closed list allows, and a blocked pipe stops nothing."""

import inspect
import io
import json
import os
import threading
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.journal import (
    FIELDS,
    AssociationAccepted,
    DeliveryDeferred,
    Draining,
    Event,
    Fallback,
    InstanceAccepted,
    Journal,
    Lines,
    Recovered,
    Removed,
    SpoolTrouble,
    Started,
    Stopped,
    Uids,
    events,
    log_id,
    record,
)
from router.journal.record import HASHED

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KEY = b"key"


def kinds() -> list[type[Event]]:
    """Every kind of event."""
    found = inspect.getmembers(events, inspect.isclass)
    return [kind for _, kind in found if issubclass(kind, Event) and kind is not Event]


def sample(kind: type[Event], text: str = "x") -> Event:
    """An event of a kind, made up from the types of its fields."""
    values: dict[Any, Any] = {
        str: text,
        int: 1,
        float: 1.5,
        bool: True,
        tuple[str, ...]: (text,),
        datetime | None: NOW,
    }
    hints = get_type_hints(kind)
    return kind(**{each.name: values.get(hints[each.name], {"swept": 2}) for each in fields(kind)})


def said(event: Event, uids: Uids = "hash") -> dict[str, Any]:
    """The fields of its line."""
    return record(event, now=NOW, key=KEY, uids=uids)


def test_published_once_to_everybody() -> None:
    """In the order of subscription."""
    heard: list[tuple[str, Event]] = []
    told = Journal(lambda event: heard.append(("first", event)))
    told.subscribe(lambda event: heard.append(("second", event)))
    told.publish(event := Stopped())
    assert heard == [("first", event), ("second", event)]


@pytest.mark.parametrize("kind", kinds())
def test_fields_are_of_the_closed_list(kind: type[Event]) -> None:
    """So no patient attribute can be logged by accident; their order is the list's."""
    names = {each.name for each in fields(kind)}
    assert names <= set(FIELDS)
    line = said(sample(kind))
    assert list(line) == [name for name in FIELDS if name in line]
    assert {"timestamp", "level", "event"} <= set(line)
    assert names <= set(line)
    assert line["level"] in Lines.SEVERITY
    assert line["event"]
    assert kind.__doc__


def test_texts_are_different() -> None:
    """Dashboards filter by them."""
    texts = [sample(kind).event for kind in kinds()]
    assert len(set(texts)) == len(texts)


def test_texts_of_the_design() -> None:
    """Users search for exactly these."""
    texts = {sample(kind, "universal").event for kind in kinds()}
    assert {"C-STORE successful", "Using universal fallback", "All C-STORE strategies failed"} <= texts
    assert "event" not in {each.name for each in fields(Fallback)}


@pytest.mark.parametrize("kind", kinds())
def test_uids_leave_as_hashes(kind: type[Event]) -> None:
    """Unless configured otherwise; the hash is what ``log-id`` gives."""
    uid = "1.2.840.99999.1"
    event = sample(kind, uid)
    concerned = HASHED & {each.name for each in fields(kind)}
    for name in concerned:
        assert said(event)[name] == log_id(uid, KEY)
        assert said(event, "plain")[name] == uid
        assert name not in said(event, "omit")
        assert name not in said(sample(kind, ""))


def test_log_id() -> None:
    """Twelve digits, and another key gives others."""
    assert len(log_id("1.2.3", KEY)) == 12
    assert log_id("1.2.3", KEY) == log_id("1.2.3", KEY) != log_id("1.2.3", b"other")


def test_empty_fields_are_left_out() -> None:
    """But 0 and False are said."""
    deferred = DeliveryDeferred(
        destination="PACS", instance="1", study="", attempt=0, status="", error="", next_attempt_at=None
    )
    line = said(deferred)
    assert "study" not in line
    assert "error" not in line
    assert "next_attempt_at" not in line
    assert line["attempt"] == 0
    assert said(Removed(outcome=0))["outcome"] == 0


def accepted(title: str) -> AssociationAccepted:
    """An event with a text of a peer's."""
    return AssociationAccepted(
        association="A", calling_ae_title=title, called_ae_title="R", peer="h", accepted_contexts=1, rejected_contexts=0
    )


@given(title=st.text(min_size=1))
@example(title="\u2066\u200f\u202e\u2028\x9b")
def test_controls_never_reach_a_terminal(title: str) -> None:
    """Nor do they split a line."""
    shown = said(accepted(title))["calling_ae_title"]
    assert len(shown.splitlines()) == 1
    assert all(character.isprintable() or ord(character) > 0x9F for character in shown)
    assert not set(shown) & {"\x1b", "\n", "\r", "\u2028", "\u202e", "\u2066", "\u200f"}


# Lines


def written(*events: Event, **settings: Any) -> list[str]:
    """The lines of some events."""
    stream = io.StringIO()
    lines = Lines(stream, key=KEY, clock=lambda: NOW, **settings)
    for event in events:
        lines(event)
    lines.close()
    assert not lines.dropped
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("kind", kinds())
def test_every_event_is_a_line_of_json(kind: type[Event]) -> None:
    """With instants in UTC."""
    (line,) = written(sample(kind, "Müller"), level="debug")
    decoded = json.loads(line)
    assert decoded["timestamp"] == "2026-01-02T03:04:05.678Z"
    assert list(decoded) == list(said(sample(kind, "Müller")))
    if any(each.name == "next_attempt_at" for each in fields(kind)):
        assert decoded["next_attempt_at"] == "2026-01-02T03:04:05.678Z"


@pytest.mark.parametrize("kind", kinds())
def test_every_event_is_a_line_for_people(kind: type[Event]) -> None:
    """Without colours where there is no terminal."""
    (line,) = written(sample(kind), level="debug", json=False)
    assert sample(kind).event in line
    assert "\x1b" not in line


def test_level() -> None:
    """What is below it is not written."""
    events = [Removed(outcome=1), Started(version="1"), SpoolTrouble(error="full")]
    assert [json.loads(line)["event"] for line in written(*events, level="info")] == ["started", "spool in trouble"]
    assert [json.loads(line)["event"] for line in written(*events, level="error")] == ["spool in trouble"]
    assert len(written(*events, level="debug")) == 3


def test_values_of_other_kinds() -> None:
    """Counts stay counts."""
    (line,) = written(Recovered(outcome={"swept": 1}))
    assert json.loads(line)["outcome"] == {"swept": 1}


class Blocked(io.StringIO):
    """A stream that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.free = threading.Event()

    def write(self, text: str) -> int:
        """Wait, then write."""
        self.reached.set()
        assert self.free.wait(10)
        return super().write(text)


def test_blocked_pipe_stops_nothing() -> None:
    """What finds no room is counted, and the count is written with the next line that finds room."""
    stream = Blocked()
    lines = Lines(stream, key=KEY, clock=lambda: NOW, room=2)
    lines(Started(version="1"))
    assert stream.reached.wait(10)
    for _ in range(5):
        lines(Draining())
    assert lines.dropped == 3
    stream.free.set()
    lines.close()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["started", "log lines lost", "draining", "draining"]
    assert events[1]["error"].startswith("3 lines")
    assert events[1]["level"] == "warning"


def test_close_does_not_wait_for_ever() -> None:
    """A pipe that stays blocked is left."""
    stream = Blocked()
    lines = Lines(stream, key=KEY, clock=lambda: NOW, room=1)
    lines(Started(version="1"))
    assert stream.reached.wait(10)
    lines(Draining())
    lines.close(0.05)
    stream.free.set()
    lines.close()


def test_closed_pipe_stops_nothing() -> None:
    """The loss is counted, in the thread that writes."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    lines = Lines(stream, key=KEY, clock=lambda: NOW)
    for _ in range(3):
        lines(Stopped())
    lines.close()
    assert lines.dropped >= 3
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_closed_stream_stops_nothing() -> None:
    """Likewise."""
    stream = io.StringIO()
    lines = Lines(stream, key=KEY, clock=lambda: NOW)
    stream.close()
    lines(Stopped())
    lines.close()
    assert lines.dropped == 1


def test_accepted_instance_has_its_whole_story() -> None:
    """The line that people look for first."""
    names = {each.name for each in fields(InstanceAccepted)}
    assert {"association", "calling_ae_title", "peer", "instance", "digest", "bytes", "destination", "route"} <= names
