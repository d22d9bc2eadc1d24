"""An instance as it came to us: who sent it, what it is, where it lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

Attributes = Mapping[str, tuple[str, ...]]
"""DICOM keyword → values as text, for the attributes that routes ask about; an absent attribute has no key."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent an instance to whom, and when: also kept in the file meta information, to rebuild a lost queue."""

    calling_ae_title: str
    called_ae_title: str
    peer_host: str
    peer_port: int
    association: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """What an instance says it is: the C-STORE-RQ's SOP class and instance, and the context's transfer syntax."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete instance in the spool, durable but not yet answered for (state S2 of ``router.durable``).

    Plain values only: it may cross from the process that received to the one that owns the queue.
    """

    ulid: str
    path: PurePath
    """Where the payload will lie, relative to the spool; it never changes."""
    envelope: Envelope
    identity: Identity
    size: int
    """Bytes of the whole Part 10 file."""
    header_size: int
    """Bytes before the data set: preamble, prefix and file meta information."""
    digest: str
    """xxh3-128 of the data set's bytes, in hexadecimal."""
    study: str
    """Study Instance UID, empty when the object has none or could not be read."""
    series: str
    """Series Instance UID, as ``study``."""
    accession_number: str
    """For operators who look for a study; never in a log line."""
    patient_id: str
    """As ``accession_number``."""
    attributes: Attributes
    remark: str = ""
    """What was odd about it, in our own words; empty for nothing."""
