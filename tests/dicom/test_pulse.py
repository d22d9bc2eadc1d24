"""A pulse that is felt, and never beats by itself."""

import anyio.lowlevel
import pytest

from router.dicom.pulse import Pulse, beat, living, resting

pytestmark = pytest.mark.unit


async def test_steps_show_that_work_lives_and_a_wait_need_not() -> None:
    """Whatever does not belong to any work shows nothing, and costs nothing."""
    pulses: list[Pulse] = []
    with living(pulses):
        (pulse,) = pulses
        pulse.at -= 60
        assert pulse.late(30)
        beat()
        assert not pulse.late(30)
        with resting(), resting():
            pulse.at -= 60
            assert not pulse.late(30)
        assert not pulse.late(30), "the end of a wait is a step"
        pulse.at -= 60
    assert not pulses
    beat()
    with resting():
        await anyio.lowlevel.checkpoint()
    assert pulse.late(30)
