"""``destination test``, and what ``probe`` teaches a daemon, with pynetdicom as the PACS."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.admin.served import Served
from tests.cli.conftest import Here, invoked
from tests.peers import AE_TITLE, accepting

pytestmark = pytest.mark.operate

CT = "1.2.840.10008.5.1.4.1.1.2"


def configured(folder: Path, port: int) -> Path:
    """A configuration with one destination."""
    config = folder / "router.yaml"
    destination = f"{{name: PACS, remote_ae_title: {AE_TITLE}, remote_host: 127.0.0.1, remote_port: {port}}}"
    config.write_text(f"destinations: [{destination}]\n")
    return config


async def test_a_destination_is_tried_step_by_step_without_a_daemon(tmp_path: Path) -> None:
    """From the configuration; as JSON for programs."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        config = configured(tmp_path, pacs.port)
        ended = await invoked(f"destination test PACS --sop-class CT --config {config}")
        told = await invoked(f"destination test PACS --sop-class CT --json --config {config}")
    assert (ended.code, ended.talk) == (0, f"PACS_SCP at 127.0.0.1:{pacs.port}, called as ROUTER\n")
    steps = [line.split()[:2] for line in ended.out.splitlines()]
    assert steps == [[name, "ok"] for name in ("DNS", "TCP", "association", "C-ECHO", "contexts")]
    assert "1 of the 2 of strategy conservative accepted: CT Image Storage in Implicit VR" in ended.out
    found = json.loads(told.out)
    assert (told.code, found["ok"], [each["step"] for each in found["steps"]]) == (0, True, [step[0] for step in steps])


async def test_any_address_is_tried(free_port: Callable[[], int]) -> None:
    """The step that fails says what to do; exit code 69."""
    ended = await invoked(f"destination test 127.0.0.1:{free_port()} --aet PACS")
    assert ended.code == 69
    *_, failed, advice = ended.out.splitlines()
    assert failed.split()[:2] == ["TCP", "FAILED"]
    assert advice.strip().startswith("Is the PACS up")
    ended = await invoked(f"destination test 127.0.0.1:{free_port()} --json")
    assert (ended.code, json.loads(ended.out)["ok"]) == (69, False)


async def test_a_missing_ae_title_or_configuration_is_hinted_at(tmp_path: Path) -> None:
    """What to give, and how."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        for command in ("echo", "probe"):
            ended = await invoked(f"{command} 127.0.0.1:{pacs.port}")
            assert ended.code == 69
            sentence = "called AE title not recognized; without --aet it is called ANY-SCP: give the AE title"
            assert sentence in ended.talk
        ended = await invoked(f"send {__file__} --to NAME --config {tmp_path / 'none.yaml'}")
        assert ended.code == 78
        assert ended.talk == (
            f"there is no configuration {tmp_path / 'none.yaml'} that could know 'NAME': name one with --config, "
            "or say HOST:PORT in place of the name, with --aet for its AE title\n"
        )


async def test_a_daemon_remembers_what_a_probe_found_out(here: Here, api: Served, tmp_path: Path) -> None:
    """Of its own destination, by the name and AE titles that it knows; what is not definite teaches nothing."""
    forwarder = api.forwarders["PACS"]
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN, sop_classes=[CT]) as pacs:
        config = configured(tmp_path, pacs.port)
        line = f"probe PACS --sop-class {CT} --config {config}"
        ended = await here(line)
        assert ended.code == 0
        assert ended.talk.startswith("the daemon does not remember it: the daemon knows PACS as PACS_SCP at pacs")
        forwarder.destination = replace(forwarder.destination, remote_host="127.0.0.1", remote_port=pacs.port)
        assert (await here(f"{line} --aet {AE_TITLE}")).talk == ""
        assert not forwarder.learned
        ended = await here(line)
    assert ended.talk == f"the daemon remembers these {len(forwarder.learned)} answers\n"
    assert forwarder.learned[CT, IMPLICIT_VR_LITTLE_ENDIAN]
    assert not forwarder.learned[CT, EXPLICIT_VR_LITTLE_ENDIAN]
