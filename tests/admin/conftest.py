"""One daemon's API for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.admin.served import Served, served


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    """The API, with four deliveries in the queue."""
    async with served(tmp_path) as running:
        yield running
