"""The configuration, checked before anything starts.

``load`` reads ``router.yaml``, the files in ``destinations/`` beside it and ``ROUTER__…`` variables; what leaves is a
``Configuration`` of plain values, or a ``ConfigurationError`` that tells every problem with its place. The way of
a value: ``source`` (text with places) → ``environment`` → ``validation`` against ``document`` →
``assembly`` → ``checks``.
"""

from router.settings.configuration import (
    Configuration,
    Effective,
    HistorySettings,
    HttpSettings,
    Level,
    LogFormat,
    LogSettings,
    LogUIDs,
    Reserve,
    Role,
    SpoolSettings,
    Token,
)
from router.settings.loading import destination, load, schema
from router.settings.problems import ConfigurationError, Problem
from router.settings.reference import reference
from router.settings.routing_tests import subject_of

__all__ = [
    "Configuration",
    "ConfigurationError",
    "Effective",
    "HistorySettings",
    "HttpSettings",
    "Level",
    "LogFormat",
    "LogSettings",
    "LogUIDs",
    "Problem",
    "Reserve",
    "Role",
    "SpoolSettings",
    "Token",
    "destination",
    "load",
    "reference",
    "schema",
    "subject_of",
]
