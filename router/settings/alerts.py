"""The sections ``alerts`` and ``silence``: who is told when something is wrong, without a monitoring system."""

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from router.model.alert import AlertRule, Channel, Command, Concern, Encryption, Mail, Silence, Webhook
from router.settings.scalars import AETitle, Duration, Host, Port, WindowValue, listed
from router.settings.section import Section


def _address(text: str) -> str:
    if not re.fullmatch(r"[^\s@<>,]+@[^\s@<>,]+", text):
        raise ValueError(f"{text!r} is not a mail address such as pacs-admins@hospital.example")
    return text


def _url(secret: SecretStr) -> SecretStr:
    parts = urlsplit(secret.get_secret_value())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an address such as https://alerts.example/hook")
    return secret


Address = Annotated[str, AfterValidator(_address)]


class MailSection(Section):
    """A mail server that alerts go out by."""

    host: Host
    """Its host name or address."""
    port: Port = 25
    """Its TCP port."""
    encryption: Encryption = Encryption.STARTTLS
    """`starttls`, `tls` from the first byte on (port 465), or `none`."""
    user: str | None = None
    """Left out: nobody logs in."""
    password: SecretStr | None = None
    """Of the user."""
    sender: Address
    """From whom the mails are."""
    to: Annotated[list[Address], BeforeValidator(listed, json_schema_input_type=str | list[str]), Field(min_length=1)]
    """To whom they go."""

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` belong together")
        if self.password is not None and self.encryption is Encryption.NONE:
            raise ValueError("a password is not sent in the clear: write `encryption: starttls` or `tls`")
        return self


class AlertSection(Section):
    """Somebody who is told: by one of `webhook`, `smtp` and `command`."""

    webhook: Annotated[SecretStr, AfterValidator(_url)] | None = None
    """An address that takes JSON by HTTP POST: `https://alerts.example/hook`."""
    smtp: MailSection | None = None
    """A mail server."""
    command: Annotated[list[str], Field(min_length=1)] | None = None
    """A program and its arguments, run without a shell; it reads JSON from its standard input."""
    on: Annotated[list[Concern], BeforeValidator(listed), Field(min_length=1)] = Field(
        default_factory=lambda: list(Concern)
    )
    """What about. Left out: everything."""
    after: Duration = "5m"
    """How long something has to be wrong before it is told."""
    repeat: Duration = "24h"
    """After how long it is told again what is still wrong."""

    @model_validator(mode="after")
    def _one_channel(self) -> Self:
        if sum(channel is not None for channel in (self.webhook, self.smtp, self.command)) != 1:
            raise ValueError("an alert goes one way: write one of `webhook`, `smtp` and `command`")
        return self


class SilenceSection(Section):
    """A modality that sends regularly: when it does not, that is worth an alert."""

    ae_title: AETitle
    """Calling AE title; `*` and `?` are wildcards: then any of those will do."""
    after: Duration
    """How long without an instance is remarkable."""
    only: Annotated[
        list[WindowValue], BeforeValidator(listed, json_schema_input_type=WindowValue | list[WindowValue])
    ] = Field(default_factory=list)
    """When it is expected to send, in local time: `Mon-Fri 08:00-17:00`. Outside of it time does not count."""


def rule(section: AlertSection) -> AlertRule:
    """What a section says."""
    return AlertRule(_channel(section), frozenset(section.on), section.after, section.repeat)


def silence(section: SilenceSection) -> Silence:
    """What a section says."""
    return Silence(section.ae_title, section.after, tuple(section.only))


def _channel(section: AlertSection) -> Channel:
    if section.webhook is not None:
        return Webhook(section.webhook.get_secret_value())
    if section.command is not None:
        return Command(tuple(section.command))
    assert section.smtp is not None, "one of the three is there"
    smtp = section.smtp
    password = "" if smtp.password is None else smtp.password.get_secret_value()
    return Mail(smtp.host, smtp.port, smtp.sender, tuple(smtp.to), smtp.encryption, smtp.user, password)
