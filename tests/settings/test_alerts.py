"""Who is told what, as it stands in the file."""

from datetime import timedelta
from pathlib import Path

import pytest

from router.model.alert import AlertRule, Command, Concern, Encryption, Mail, Silence, Webhook
from router.settings import load

pytestmark = pytest.mark.unit

WRITTEN = """
destinations: [{name: PACS, remote_ae_title: PACS, remote_host: 192.0.2.1, remote_port: 104}]
alerts:
  - webhook: https://alerts.example/secret-token
    on: disk
    after: 0s
  - smtp:
      {host: mail.example, port: 587, user: router, password: secret-word, sender: r@example.org, to: a@example.org}
    repeat: 1h
  - smtp: {host: mail.example, encryption: none, sender: r@example.org, to: [a@example.org, b@example.org]}
  - command: [/usr/local/bin/page, --now]
    on: [destination down, silent modality]
silence:
  - {ae_title: "CT*", after: 4h, only: "Mon-Fri 08:00-17:00"}
"""


def test_alerts_and_silence(tmp_path: Path) -> None:
    """Each with its channel, and what it is told; secrets are shown nowhere."""
    path = tmp_path / "router.yaml"
    path.write_text(WRITTEN)
    configuration = load(path, environment={})
    encrypted = Mail(
        "mail.example", 587, "r@example.org", ("a@example.org",), Encryption.STARTTLS, "router", "secret-word"
    )
    clear = Mail("mail.example", 25, "r@example.org", ("a@example.org", "b@example.org"), Encryption.NONE)
    told = frozenset({Concern.DESTINATION_DOWN, Concern.SILENT_MODALITY})
    assert configuration.alerts == (
        AlertRule(Webhook("https://alerts.example/secret-token"), frozenset({Concern.DISK}), after=timedelta()),
        AlertRule(encrypted, repeat=timedelta(hours=1)),
        AlertRule(clear),
        AlertRule(Command(("/usr/local/bin/page", "--now")), told),
    )
    [silence] = configuration.silences
    assert silence == Silence("CT*", timedelta(hours=4), silence.only)
    assert silence.only[0].days == frozenset(range(5))
    shown = {each.path: each.value for each in configuration.values}
    assert shown["alerts[0].webhook"] == shown["alerts[1].smtp.password"] == "***"
    assert "secret" not in f"{shown}{configuration!r}"
