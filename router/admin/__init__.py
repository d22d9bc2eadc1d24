"""HTTP for operators: so far the queue and reload, over a Unix socket.

Only here is the web framework known. ``application`` says what is answered, ``serve`` where.
"""

from router.admin.app import application
from router.admin.server import SocketError, serve

__all__ = ["SocketError", "application", "serve"]
