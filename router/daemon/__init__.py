"""The composition root: builds every object once, plugs the ports, runs all in one task group, stops it in order.

``daemon.py`` says what runs and in which order it starts and stops; ``program.py`` is the process around it.
"""

from router.daemon.daemon import Daemon
from router.daemon.program import rebuild, run
from router.daemon.starting import StartError

__all__ = ["Daemon", "StartError", "rebuild", "run"]
