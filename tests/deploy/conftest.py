"""What a test gets: routers and PACS, as in ``tests/daemon``."""

from tests.daemon.conftest import pacs, routers, start

__all__ = ["pacs", "routers", "start"]
