"""What a test gets: routers and PACS, as in ``tests/daemon``."""

import os

from tests.daemon.conftest import pacs, routers, start

__all__ = ["pacs", "routers", "start"]

collect_ignore = [] if os.environ.get("DICOM_ROUTER_DEPLOY") == "all" else ["test_image.py", "test_tools.py"]
"""These install from the network, or need programs that only ``make deploy`` gets: minutes, and root."""
