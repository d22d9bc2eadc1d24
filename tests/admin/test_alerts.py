"""Alerts: told once, again when it lasts, once more when it is over; a channel that fails stops nothing."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from router.admin import Alerts, channels
from router.admin.channels import Notice, send
from router.admin.concerns import Concerns, Condition
from router.journal import AlertFailed, Event, Journal
from router.model.alert import AlertRule, Channel, Command, Concern, Encryption, Mail, Webhook
from tests.durable.world import NOON, Clock

pytestmark = pytest.mark.unit

DOWN = Condition(Concern.DESTINATION_DOWN, "PACS", "PACS does not work: nobody listens there", NOON)
DEAD = Condition(Concern.DEAD_LETTERS, "PACS", "3 deliveries to PACS were given up")
NOTICE = Notice(Concern.DESTINATION_DOWN, "PACS", DOWN.sentence, NOON)
MINUTE = timedelta(minutes=1)
ANSWERS = {"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}
"""Of a mail server, where it is not 250."""


class Found(Concerns):
    """What is wrong is what a test says."""

    def __init__(self, *conditions: Condition) -> None:
        self.conditions: Sequence[Condition] = conditions

    async def now(self) -> Sequence[Condition]:
        """It."""
        return self.conditions


@dataclass
class Server:
    """A local server that takes what comes and answers as it is told."""

    answers: dict[str, bytes] = field(default_factory=dict)
    """SMTP: by the first word of a line, in place of 250."""
    status: str = "200 OK"
    received: list[str] = field(default_factory=list)
    port: int = 0

    async def http(self, stream: anyio.abc.SocketStream) -> None:
        """One request, one answer."""
        request = ""
        while "\r\n\r\n" not in request or len(request.partition("\r\n\r\n")[2]) < _length(request):
            request += (await stream.receive()).decode()
        self.received.append(request)
        await stream.send(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    async def smtp(self, stream: anyio.abc.SocketStream) -> None:
        """One mail."""
        lines = BufferedByteReceiveStream(stream)
        in_text = False
        await stream.send(b"220 mail.example ESMTP\r\n")
        with suppress(anyio.IncompleteRead, anyio.BrokenResourceError):
            while True:
                line = (await lines.receive_until(b"\r\n", 4096)).decode()
                self.received.append(line)
                word = "." if in_text else line.partition(" ")[0].upper()
                if in_text and line != ".":
                    continue
                in_text = word == "DATA"
                await stream.send(self.answers.get(word, ANSWERS.get(word, b"250 fine\r\n")))


def _length(request: str) -> int:
    return int(request.lower().partition("content-length: ")[2].split("\r\n")[0])


@asynccontextmanager
async def serving(protocol: str, **more: object) -> AsyncIterator[Server]:
    """A server on a free port of this machine."""
    server = Server(**more)  # type: ignore[arg-type]  # as its fields are

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await getattr(server, protocol)(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        yield server
        group.cancel_scope.cancel()


class World:
    """Alerts, a clock, and a webhook that a test can break."""

    def __init__(self, concerns: Concerns, *rules: AlertRule) -> None:
        self.clock = Clock()
        self.failures: list[Event] = []
        self.alerts = Alerts(concerns, journal=Journal(self.failures.append), clock=self.clock)
        self.alerts.configure(rules)

    async def after(self, duration: timedelta) -> None:
        """Time goes by, and it looks again."""
        self.clock.advance(duration)
        await self.alerts.look()


def told(server: Server) -> list[str]:
    """Headlines that a webhook was sent."""
    return [json.loads(each.partition("\r\n\r\n")[2])["text"].partition("\n")[0] for each in server.received]


# What is told, and when


async def test_told_once_and_when_it_is_over() -> None:
    """Not before it has been wrong for some time, and not again while it lasts."""
    found = Found(DOWN)
    async with serving("http") as server:
        world = World(found, AlertRule(Webhook(f"http://127.0.0.1:{server.port}"), after=5 * MINUTE))
        await world.after(4 * MINUTE)
        assert told(server) == []
        for _ in range(3):
            await world.after(MINUTE)
        assert told(server) == ["destination down: PACS"]
        found.conditions = ()
        for _ in range(2):
            await world.after(MINUTE)
        assert told(server) == ["destination down: PACS", "Over: destination down: PACS"]


async def test_what_passes_quickly_is_not_told() -> None:
    """Nor that it is over."""
    found = Found(DEAD)
    async with serving("http") as server:
        world = World(found, AlertRule(Webhook(f"http://127.0.0.1:{server.port}"), after=5 * MINUTE))
        await world.after(MINUTE)
        await world.after(4 * MINUTE)
        found.conditions = ()
        await world.after(MINUTE)
        found.conditions = (DEAD,)
        await world.after(MINUTE)
        await world.after(4 * MINUTE)
        assert told(server) == []
        await world.after(MINUTE)
        assert told(server) == ["dead letters: PACS"]


async def test_what_lasts_is_told_again() -> None:
    """After `repeat`."""
    async with serving("http") as server:
        world = World(Found(DOWN), AlertRule(Webhook(f"http://127.0.0.1:{server.port}"), repeat=60 * MINUTE))
        await world.after(5 * MINUTE)
        await world.after(59 * MINUTE)
        assert told(server) == ["destination down: PACS"]
        await world.after(MINUTE)
        assert told(server) == ["destination down: PACS"] * 2


async def test_each_is_told_what_concerns_it() -> None:
    """And a reload does not make it forget."""
    async with serving("http") as one, serving("http") as other:
        first = AlertRule(
            Webhook(f"http://127.0.0.1:{one.port}"), on=frozenset({Concern.DEAD_LETTERS}), after=0 * MINUTE
        )
        second = AlertRule(Webhook(f"http://127.0.0.1:{other.port}"), after=0 * MINUTE)
        world = World(Found(DOWN, DEAD), first)
        await world.after(MINUTE)
        world.alerts.configure([second, first])
        await world.after(MINUTE)
        assert told(one) == ["dead letters: PACS"]
        assert sorted(told(other)) == ["dead letters: PACS", "destination down: PACS"]


async def test_a_channel_that_fails_is_one_line_and_is_tried_again() -> None:
    """Others are told all the same; it is told all that it missed when it works again."""
    async with serving("http", status="500 broken") as broken, serving("http") as other:
        rules = [
            AlertRule(Webhook(f"http://127.0.0.1:{each.port}/secret"), after=0 * MINUTE) for each in (broken, other)
        ]
        world = World(Found(DOWN), *rules)
        for _ in range(3):
            await world.after(MINUTE)
        sentence = "the webhook at 127.0.0.1 did not take an alert: it answered HTTP status 500; it is tried again"
        assert world.failures == [AlertFailed(error=sentence)]
        assert told(other) == ["destination down: PACS"]
        broken.status = "204 No Content"
        before = len(broken.received)
        await world.after(MINUTE)
        await world.after(MINUTE)
        assert told(broken)[before:] == ["destination down: PACS"]
        broken.status = "500 broken"
        await world.after(timedelta(days=2))
        assert len(world.failures) == 2


async def test_it_goes_on_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not look where nobody is to be told."""
    looks = 0

    async def now(_: Concerns) -> Sequence[Condition]:
        nonlocal looks
        looks += 1
        if looks == 3:
            looking.cancel_scope.cancel()
        return ()

    monkeypatch.setattr("router.admin.alerts.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("router.admin.alerts.LOOK_TIMES", 0)
    monkeypatch.setattr(Found, "now", now)
    world = World(Found())
    async with anyio.create_task_group() as looking:
        looking.start_soon(world.alerts.run)
        await anyio.lowlevel.checkpoint()
        assert looks == 0
        world.alerts.configure([AlertRule(Command(("true",)))])
    assert looks == 3


# How it is told


async def test_a_webhook_gets_json() -> None:
    """What programs need, and a text for chats."""
    async with serving("http") as server:
        await send(Webhook(f"http://127.0.0.1:{server.port}/hook?token=t"), NOTICE)
    head, _, body = server.received[0].partition("\r\n\r\n")
    assert head.startswith("POST /hook?token=t HTTP/1.1")
    assert "Content-Type: application/json" in head
    assert json.loads(body) | {"router": "", "version": ""} == {
        "status": "firing",
        "concern": "destination down",
        "subject": "PACS",
        "sentence": "PACS does not work: nobody listens there",
        "since": "2031-05-07T12:00:00+00:00",
        "router": "",
        "version": "",
        "text": "destination down: PACS\n"
        "PACS does not work: nobody listens there. Since 2031-05-07 12:00:00 UTC. It lasts.",
    }


async def test_a_mail_server_gets_a_mail() -> None:
    """For everybody on the list."""
    async with serving("smtp") as server:
        recipients = ("a@example.org", "b@example.org")
        await send(Mail("127.0.0.1", server.port, "router@example.org", recipients, Encryption.NONE), NOTICE)
    talk = "\n".join(server.received)
    assert "mail FROM:<router@example.org>" in talk
    assert "rcpt TO:<a@example.org>" in talk
    assert "rcpt TO:<b@example.org>" in talk
    assert "Subject: [dicom-router] destination down: PACS" in talk
    assert "PACS does not work: nobody listens there." in talk


async def test_a_command_reads_json(tmp_path: Path) -> None:
    """Its arguments are what they are: there is no shell."""
    script = "import sys; open(sys.argv[1], 'w').write(sys.argv[2] + sys.stdin.read())"
    await send(Command((sys.executable, "-c", script, str(tmp_path / "told"), "$(id); ")), NOTICE)
    written = await anyio.Path(tmp_path / "told").read_text()
    assert written.startswith("$(id); ")
    assert json.loads(written.removeprefix("$(id); "))["subject"] == "PACS"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("503 Busy", "it answered HTTP status 503"),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", "it answered HTTP status 302"),
    ],
)
async def test_a_webhook_that_refuses(status: str, sentence: str) -> None:
    """A redirect is followed nowhere."""
    async with serving("http", status=status) as server:
        with pytest.raises(channels.ChannelError, match=sentence):
            await send(Webhook(f"http://127.0.0.1:{server.port}"), NOTICE)
    assert len(server.received) == 1


async def test_a_webhook_that_is_none() -> None:
    """It speaks something else, and may quote what it was sent: of an error that is not the system's, only its kind."""
    async with serving("smtp") as server:
        with pytest.raises(channels.ChannelError, match=r"^it cannot be reached: BadStatusLine$"):
            await send(Webhook(f"http://127.0.0.1:{server.port}/secret"), NOTICE)


@pytest.mark.parametrize(
    ("channel", "sentence"),
    [
        (Webhook("http://127.0.0.1:1/secret"), "it cannot be reached: Connection refused"),
        (Mail("127.0.0.1", 1, "a@b", ("c@d",)), "it cannot be reached: Connection refused"),
        (Mail("127.0.0.1", 1, "a@b", ("c@d",), Encryption.TLS), "it cannot be reached: Connection refused"),
        (Command(("/nowhere/page",)), "it cannot be run: No such file or directory"),
        (Command(("false",)), "it ended with exit code 1"),
    ],
    ids=["webhook", "mail", "mail over TLS", "no command", "a command that fails"],
)
async def test_a_channel_that_is_not_there(channel: Channel, sentence: str) -> None:
    """The sentence says why; no secret is in it, nor in the channel's name."""
    with pytest.raises(channels.ChannelError, match=f"^{sentence}$"):
        await send(channel, NOTICE)
    assert "secret" not in channels.describe(channel)
    assert "secret" not in repr(channel)


@pytest.mark.parametrize(
    ("answers", "mail", "sentence"),
    [
        (
            {"MAIL": b"550 no\r\n"},
            {"encryption": Encryption.NONE},
            r"it did not take the mail \(SMTPSenderRefused\)|it answered 550",
        ),
        (
            {"EHLO": b"250 fine\r\n"},
            {"encryption": Encryption.STARTTLS},
            r"it did not take the mail \(SMTPNotSupportedError\)",
        ),
        (
            {},
            {"encryption": Encryption.NONE, "user": "u", "password": "p"},
            r"it did not take the mail \(SMTPNotSupportedError\)",
        ),
        (
            {"RCPT": b"550 no\r\n"},
            {"encryption": Encryption.NONE},
            r"it did not take the mail \(SMTPRecipientsRefused\)",
        ),
    ],
    ids=["sender", "no STARTTLS", "no login", "recipient"],
)
async def test_a_mail_server_that_refuses(answers: dict[str, bytes], mail: dict[str, object], sentence: str) -> None:
    """Encryption and login that were asked for and cannot be had are errors: nothing is sent in the clear instead."""
    async with serving("smtp", answers=answers) as server:
        with pytest.raises(channels.ChannelError, match=sentence):
            await send(Mail("127.0.0.1", server.port, "a@b", ("c@d",), **mail), NOTICE)  # type: ignore[arg-type]
    assert not any(line.upper().startswith("DATA") for line in server.received)


async def test_a_channel_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than the deadline; a command is ended."""
    monkeypatch.setattr(channels, "CALL_SECONDS", 0.05)
    with pytest.raises(channels.ChannelError, match=r"it did not end within 0\.05 s"):
        await send(Command(("sleep", "60")), NOTICE)
    monkeypatch.undo()
    monkeypatch.setattr(channels, "DEADLINE_SECONDS", 0.05)
    callers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: callers.append(writer), "127.0.0.1", 0) as hung:
        with pytest.raises(channels.ChannelError, match=r"no answer within 0\.05 s"):
            await send(Webhook(f"http://127.0.0.1:{hung.sockets[0].getsockname()[1]}"), NOTICE)
        for caller in callers:
            caller.close()
            await caller.wait_closed()
