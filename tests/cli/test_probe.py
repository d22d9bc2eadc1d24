"""``probe``, with pynetdicom as the PACS."""

import json
from collections.abc import Callable

import pytest

from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.cli.conftest import Run
from tests.peers import AE_TITLE, accepting

pytestmark = pytest.mark.negotiation

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


async def test_probe_says_what_a_pacs_takes_and_what_to_configure(router: Run) -> None:
    """In words with the UIDs beside them: the answers, the peer, the strategy and why."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, sop_classes=[CT]) as pacs:
        ended = await router("probe", f"127.0.0.1:{pacs.port}", "--aet", AE_TITLE)
    assert (ended.code, ended.talk) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["CT", "Image", "Storage", CT] in lines
    assert ["accepted", "Implicit", "VR", "Little", "Endian", IMPLICIT_VR_LITTLE_ENDIAN] in lines
    assert ["SOP", "class", "not", "supported", "any", "-"] in lines
    assert "transfer_syntax_strategy: conservative ('conservative' is the least strategy" in ended.out
    assert "PYNETDICOM" in ended.out


async def test_probe_asks_for_the_classes_that_are_named(router: Run) -> None:
    """By UID or by name; for programs too."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        words = ("probe", f"127.0.0.1:{pacs.port}", "--aet", AE_TITLE, "--json", "--sop-class")
        ended = await router(*words, "CT", "--sop-class", MR, "--sop-class", "encapsulated pdf storage")
    found = json.loads(ended.out)
    assert (ended.code, found["ok"], found["strategy"], found["associations"]) == (0, True, "universal", 1)
    assert [each["name"] for each in found["sop_classes"]] == [
        "CT Image Storage",
        "MR Image Storage",
        "Encapsulated PDF Storage",
    ]
    first = found["sop_classes"][0]["transfer_syntaxes"][0]
    assert first == {"uid": IMPLICIT_VR_LITTLE_ENDIAN, "name": "Implicit VR Little Endian", "result": "accepted"}


@pytest.mark.parametrize(("name", "hint"), [("tomography", "it may be"), ("ultrasnd", "neither a UID nor the name")])
async def test_a_name_of_no_class_or_of_several_is_a_usage_error(router: Run, name: str, hint: str) -> None:
    """With the classes that may have been meant."""
    ended = await router("probe", "127.0.0.1:104", "--sop-class", name)
    assert (ended.code, hint in ended.talk) == (64, True)


async def test_probe_says_why_a_pacs_does_not_associate(router: Run, free_port: Callable[[], int]) -> None:
    """Exit code 69."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        ended = await router("probe", f"127.0.0.1:{pacs.port}", "--aet", "ANOTHER")
    assert (ended.code, "called AE title not recognized" in ended.talk) == (69, True)
    ended = await router("probe", f"127.0.0.1:{free_port()}", "--json")
    assert (ended.code, json.loads(ended.out)["cause"]) == (69, "connect failed")
