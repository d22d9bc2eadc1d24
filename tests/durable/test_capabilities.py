"""What destinations were seen to accept, kept beside the queue."""

from datetime import timedelta

import pytest

from router.durable.queue import Capability, Seen
from tests.durable.world import NOON, World

pytestmark = pytest.mark.trust

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
HOUR = timedelta(hours=1)


async def test_what_is_learned_survives_a_restart(world: World) -> None:
    """Each pair as it was seen last, with the date; another destination's are its own."""
    async with world.running("A", "B"):
        known = world.queue.capabilities
        await known.learn("A", {(CT, IMPLICIT): Seen.REFUSED, (CT, EXPLICIT): Seen.DISLIKED}, NOON)
        await known.learn("A", {(CT, IMPLICIT): Seen.ACCEPTED}, NOON + HOUR)
        await known.learn("B", {(MR, IMPLICIT): Seen.REFUSED}, NOON)
    again = World(world.directory, world.disk_work)
    async with again.running("A", "B"):
        assert await again.queue.capabilities.learned("A", NOON) == {
            (CT, IMPLICIT): Capability(Seen.ACCEPTED, NOON + HOUR),
            (CT, EXPLICIT): Capability(Seen.DISLIKED, NOON),
        }
        assert await again.queue.capabilities.learned("B", NOON) == {(MR, IMPLICIT): Capability(Seen.REFUSED, NOON)}
        assert await again.desk.learned("B") == await again.queue.capabilities.learned("B", NOON)


async def test_what_is_older_is_deleted(world: World) -> None:
    """It has expired; learned again it counts again. Another destination's stays."""
    async with world.running("A", "B"):
        known = world.queue.capabilities
        await known.learn("A", {(CT, IMPLICIT): Seen.ACCEPTED, (CT, EXPLICIT): Seen.ACCEPTED}, NOON)
        await known.learn("A", {(CT, EXPLICIT): Seen.ACCEPTED}, NOON + HOUR)
        await known.learn("B", {(MR, IMPLICIT): Seen.ACCEPTED}, NOON)
        assert set(await known.learned("A", NOON + HOUR)) == {(CT, EXPLICIT)}
        assert set(await known.learned("A", NOON)) == {(CT, EXPLICIT)}, "what has expired is still there"
        assert set(await known.learned("B", NOON)) == {(MR, IMPLICIT)}


async def test_another_address_is_another_peer(world: World) -> None:
    """What was learned from the old one is forgotten; from the same address it is kept."""
    async with world.running("A", "B"):
        known = world.queue.capabilities
        for name in ("A", "B"):
            await known.identify(name, "PACS 192.0.2.1 104")
            await known.learn(name, {(CT, IMPLICIT): Seen.ACCEPTED}, NOON)
        await known.identify("A", "PACS 192.0.2.1 104")
        assert await known.learned("A", NOON)
        await known.identify("A", "PACS 192.0.2.2 104")
        assert not await known.learned("A", NOON)
        assert await known.learned("B", NOON)
