"""Sends one alert: to a webhook, by mail, or to a command. Each has a deadline, and none is waited for by anybody else.

All of them block; they run in threads of their own number, so that a slow server takes no thread from the disk.
"""

import http.client
import json
import smtplib
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import assert_never
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
from anyio import CapacityLimiter, to_thread

from router import __version__
from router.model.alert import Channel, Command, Concern, Encryption, Mail, Webhook

DEADLINE_SECONDS = 20.0
CALL_SECONDS = 10.0
"""For one answer of a server, within the deadline, or for a command."""

AT_ONCE = 4
"""Threads that may wait for servers; more alerts wait for these, within their deadline."""

_LIMITER = anyio.lowlevel.RunVar[CapacityLimiter]("alerts")


class ChannelError(Exception):
    """An alert was not taken; the sentence says why, without any secret."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told."""

    concern: Concern
    subject: str
    sentence: str
    since: datetime
    over: bool = False
    """It is not so any more."""

    @property
    def headline(self) -> str:
        """In a few words."""
        return f"{'Over: ' * self.over}{self.concern}: {self.subject}"

    @property
    def text(self) -> str:
        """In a sentence or two."""
        ending = "It is over." if self.over else "It lasts."
        return f"{self.sentence}. Since {self.since:%Y-%m-%d %H:%M:%S} UTC. {ending}"

    def json(self) -> bytes:
        """For programs; ``text`` is what Slack, Mattermost and Teams show."""
        return json.dumps(
            {
                "status": "resolved" if self.over else "firing",
                "concern": self.concern,
                "subject": self.subject,
                "sentence": self.sentence,
                "since": self.since.isoformat(),
                "router": socket.gethostname(),
                "version": __version__,
                "text": f"{self.headline}\n{self.text}",
            }
        ).encode()


def describe(channel: Channel) -> str:
    """A channel without its secrets."""
    match channel:
        case Webhook(url):
            return f"the webhook at {urlsplit(url).hostname}"
        case Mail():
            return f"the mail server {channel.host}"
        case Command(arguments):
            return f"the command {arguments[0]}"
        case _:
            assert_never(channel)


async def send(channel: Channel, notice: Notice) -> None:
    """Send one alert, within the deadline.

    Raises:
        ChannelError: it was not taken.
    """
    try:
        with anyio.fail_after(DEADLINE_SECONDS):
            await to_thread.run_sync(_send, channel, notice, abandon_on_cancel=True, limiter=_limiter())
    except TimeoutError as error:
        raise ChannelError(f"no answer within {DEADLINE_SECONDS:g} s") from error


def _limiter() -> CapacityLimiter:
    """Of the event loop that runs."""
    try:
        return _LIMITER.get()
    except LookupError:
        _LIMITER.set(limiter := CapacityLimiter(AT_ONCE))
        return limiter


def _send(channel: Channel, notice: Notice) -> None:
    match channel:
        case Webhook():
            _post(channel, notice)
        case Mail():
            _mail(channel, notice)
        case Command():
            _run(channel, notice)
        case _:
            assert_never(channel)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An alert goes where the configuration says, nowhere else."""

    def redirect_request(self, *_: object) -> None:
        """Nowhere: the redirect is the error."""


def _post(channel: Webhook, notice: Notice) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": f"dicom-router/{__version__}"}
    request = urllib.request.Request(channel.url, notice.json(), headers)  # noqa: S310 -- http or https, says `check`
    try:
        urllib.request.build_opener(_NoRedirect).open(request, timeout=CALL_SECONDS).close()
    except urllib.error.HTTPError as error:
        with error:
            raise ChannelError(f"it answered HTTP status {error.code}") from None
    except urllib.error.URLError as error:
        raise ChannelError(f"it cannot be reached: {_reason(error.reason)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise ChannelError(f"it cannot be reached: {_reason(error)}") from None


def _mail(channel: Mail, notice: Notice) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"] = channel.sender, ", ".join(channel.to)
    mail["Subject"] = f"[dicom-router] {notice.headline}"
    mail.set_content(f"{notice.text}\n\nRouter: {socket.gethostname()}, version {__version__}\n")
    context = ssl.create_default_context()
    try:
        with (
            smtplib.SMTP_SSL(channel.host, channel.port, timeout=CALL_SECONDS, context=context)
            if channel.encryption is Encryption.TLS
            else smtplib.SMTP(channel.host, channel.port, timeout=CALL_SECONDS)
        ) as server:
            if channel.encryption is Encryption.STARTTLS:
                server.starttls(context=context)
            if channel.user is not None:
                server.login(channel.user, channel.password)
            server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        raise ChannelError(f"it answered {error.smtp_code}") from None
    except smtplib.SMTPException as error:
        raise ChannelError(f"it did not take the mail ({type(error).__name__})") from None
    except OSError as error:
        raise ChannelError(f"it cannot be reached: {_reason(error)}") from None


def _run(channel: Command, notice: Notice) -> None:
    nowhere = subprocess.DEVNULL
    try:
        subprocess.run(  # noqa: S603 -- what the administrator configured, and no shell
            channel.arguments, input=notice.json(), stdout=nowhere, stderr=nowhere, check=True, timeout=CALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ChannelError(f"it did not end within {CALL_SECONDS:g} s") from None
    except subprocess.CalledProcessError as error:
        raise ChannelError(f"it ended with exit code {error.returncode}") from None
    except OSError as error:
        raise ChannelError(f"it cannot be run: {_reason(error)}") from None


def _reason(error: object) -> str:
    """What the operating system says; of all else only the kind, for the text may quote an address with its token."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
