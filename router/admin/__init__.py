"""What operators and supervisors see: HTTP over a Unix socket, and over TCP behind a guard; systemd's notifications.

Only here is the web framework known. ``application`` says what is answered, ``serve`` and ``serve_tcp`` where.
"""

from router.admin.activity import Activity
from router.admin.alerts import Alerts
from router.admin.app import application
from router.admin.concerns import Concerns
from router.admin.guard import Guard
from router.admin.health import Health, WatchedDisk
from router.admin.metrics import Metrics
from router.admin.server import PortError, SocketError, serve, serve_tcp
from router.admin.sessions import Sessions
from router.admin.systemd import Systemd

__all__ = [
    "Activity",
    "Alerts",
    "Concerns",
    "Guard",
    "Health",
    "Metrics",
    "PortError",
    "Sessions",
    "SocketError",
    "Systemd",
    "WatchedDisk",
    "application",
    "serve",
    "serve_tcp",
]
