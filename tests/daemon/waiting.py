"""The one way in which these tests wait for another process."""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 15.0
"""Seconds for anything that is to happen; a test fails after that, so a slow machine costs nothing when all is well."""


def until(condition: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """Wait until ``condition()`` is true, and return what it gave; ``what`` names it when it does not come."""
    deadline = monotonic() + within
    pause = Event()
    while not (value := condition()):
        if monotonic() > deadline:
            raise AssertionError(f"after {within:g} s there is still not: {what}")
        pause.wait(0.01)
    return value
