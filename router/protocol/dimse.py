"""Command sets of C-STORE and C-ECHO (PS3.7 9.3 and E.1), Implicit VR Little Endian."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from router.protocol import text
from router.protocol.errors import AbortReason, ProtocolError
from router.protocol.events import (
    EchoAnswered,
    EchoRequested,
    StoreAnswered,
    StoreRequested,
    UnsupportedCommand,
)

MAXIMUM_LENGTH: Final = 64 * 1024
"""Bytes of a command set that are collected; the longest legal C-STORE-RQ has some 300."""

UNRECOGNIZED_OPERATION: Final = 0x0211

Command: TypeAlias = StoreRequested | EchoRequested | StoreAnswered | EchoAnswered | UnsupportedCommand


class CommandField(IntEnum):
    """The commands that are told apart here (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF
    C_STORE_RSP = 0x8001
    C_ECHO_RSP = 0x8030


_RESPONSE = 0x8000

_NO_DATA_SET = 0x0101
_DATA_SET = 0x0001

# Element numbers of group 0000 (PS3.7 E.1).
_GROUP_LENGTH = 0x0000
_AFFECTED_SOP_CLASS = 0x0002
_REQUESTED_SOP_CLASS = 0x0003
_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_MESSAGE_ID_RESPONDED_TO = 0x0120
_PRIORITY = 0x0700
_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_OFFENDING_ELEMENT = 0x0901
_ERROR_COMMENT = 0x0902
_AFFECTED_SOP_INSTANCE = 0x1000
_REQUESTED_SOP_INSTANCE = 0x1001
_MOVE_ORIGINATOR_AE_TITLE = 0x1030
_MOVE_ORIGINATOR_MESSAGE_ID = 0x1031

_HEADER = struct.Struct("<HHI")
_COMMENT_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Received:
    """A command set, read: what it asks or answers, and whether a data set follows."""

    command: Command
    has_data_set: bool


class _CommandSet:
    """The elements of a received command set by number; unknown ones are never asked for."""

    __slots__ = ("_values",)

    def __init__(self, raw: bytes) -> None:
        self._values: dict[int, bytes] = {}
        at, end = 0, len(raw)
        while at < end:
            if at + _HEADER.size > end:
                raise _invalid("a command set ends within the header of an element")
            group, element, length = _HEADER.unpack_from(raw, at)
            at += _HEADER.size
            if group != 0:
                raise _invalid(f"a command set contains an element of group {group:04X}H")
            if at + length > end:
                raise _invalid(f"element (0000,{element:04X}) is longer than its command set")
            self._values[element] = raw[at : at + length]
            at += length

    def number(self, element: int) -> int:
        value = self.optional_number(element)
        if value is None:
            raise _invalid(f"a command set has no element (0000,{element:04X})")
        return value

    def optional_number(self, element: int) -> int | None:
        raw = self._values.get(element)
        if not raw:
            return None
        if len(raw) != 2:  # noqa: PLR2004 - VR US
            raise _invalid(f"element (0000,{element:04X}) has {len(raw)} bytes instead of 2")
        return raw[0] | raw[1] << 8

    def uid(self, element: int) -> str:
        return text.read_uid(self._values.get(element, b""), f"UID in (0000,{element:04X})")

    def first_uid(self, *elements: int) -> str | None:
        return next((self.uid(element) for element in elements if self._values.get(element)), None)

    def text(self, element: int) -> str:
        return text.read_text(self._values.get(element, b""))

    def tags(self, element: int) -> tuple[int, ...]:
        raw = self._values.get(element, b"")[: _COMMENT_LENGTH * 4]
        return tuple(group << 16 | number for group, number in struct.iter_unpack("<HH", raw[: len(raw) & ~3]))


def read(context_id: int, raw: bytes) -> Received:
    """Read one complete command set.

    Raises:
        ProtocolError: it is no command set in Implicit VR Little Endian, or it lacks or denies what PS3.7 requires.
    """
    command_set = _CommandSet(raw)
    has_data_set = command_set.number(_DATA_SET_TYPE) != _NO_DATA_SET
    return Received(_read_command(context_id, command_set, has_data_set=has_data_set), has_data_set)


def _read_command(context_id: int, command_set: _CommandSet, *, has_data_set: bool) -> Command:
    match command_set.number(_COMMAND_FIELD):
        case CommandField.C_STORE_RQ:
            if not has_data_set:
                raise ProtocolError("a C-STORE-RQ says that it has no data set", AbortReason.UNEXPECTED_PARAMETER)
            return StoreRequested(
                context_id=context_id,
                message_id=command_set.number(_MESSAGE_ID),
                sop_class=command_set.uid(_AFFECTED_SOP_CLASS),
                sop_instance=command_set.uid(_AFFECTED_SOP_INSTANCE),
                priority=command_set.optional_number(_PRIORITY) or 0,
                move_originator_ae_title=command_set.text(_MOVE_ORIGINATOR_AE_TITLE) or None,
                move_originator_message_id=command_set.optional_number(_MOVE_ORIGINATOR_MESSAGE_ID),
            )
        case CommandField.C_ECHO_RQ:
            return EchoRequested(context_id, command_set.number(_MESSAGE_ID), command_set.uid(_AFFECTED_SOP_CLASS))
        case CommandField.C_STORE_RSP:
            return StoreAnswered(
                context_id=context_id,
                message_id=command_set.number(_MESSAGE_ID_RESPONDED_TO),
                status=command_set.number(_STATUS),
                error_comment=command_set.text(_ERROR_COMMENT),
                offending_elements=command_set.tags(_OFFENDING_ELEMENT),
            )
        case CommandField.C_ECHO_RSP:
            return EchoAnswered(command_set.number(_MESSAGE_ID_RESPONDED_TO), command_set.number(_STATUS))
        case field if field & _RESPONSE:
            raise ProtocolError(
                f"a response {field:04X}H arrived to a request that was not sent", AbortReason.UNEXPECTED_PARAMETER
            )
        case field:
            # A C-CANCEL-RQ has no id of its own, only that of what it cancels (PS3.7 9.3.2.3).
            message_id = command_set.optional_number(_MESSAGE_ID)
            if message_id is None:
                message_id = command_set.number(_MESSAGE_ID_RESPONDED_TO)
            return UnsupportedCommand(
                context_id=context_id,
                message_id=message_id,
                command_field=field,
                sop_class=command_set.first_uid(_AFFECTED_SOP_CLASS, _REQUESTED_SOP_CLASS),
                sop_instance=command_set.first_uid(_AFFECTED_SOP_INSTANCE, _REQUESTED_SOP_INSTANCE),
            )


def _invalid(sentence: str) -> ProtocolError:
    return ProtocolError(sentence, AbortReason.INVALID_PARAMETER_VALUE)


def _element(number: int, value: bytes) -> bytes:
    return _HEADER.pack(0, number, len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _element(number, struct.pack("<H", value))


def _uid(number: int, uid: str) -> bytes:
    raw = text.write_uid(uid, f"UID in (0000,{number:04X})")
    return _element(number, raw + b"\0" * (len(raw) & 1))


def _text(number: int, raw: bytes) -> bytes:
    return _element(number, raw + b" " * (len(raw) & 1))


def _command_set(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return _element(_GROUP_LENGTH, struct.pack("<I", len(body))) + body


def write_store_request(
    message_id: int,
    sop_class: str,
    sop_instance: str,
    priority: int,
    move_originator: tuple[str, int] | None,
) -> bytes:
    """Return the command set of a C-STORE-RQ (PS3.7 9.3.1.1).

    Raises:
        LocalProtocolError: a UID or the AE title cannot be written.
    """
    elements = [
        _uid(_AFFECTED_SOP_CLASS, sop_class),
        _number(_COMMAND_FIELD, CommandField.C_STORE_RQ),
        _number(_MESSAGE_ID, message_id),
        _number(_PRIORITY, priority),
        _number(_DATA_SET_TYPE, _DATA_SET),
        _uid(_AFFECTED_SOP_INSTANCE, sop_instance),
    ]
    if move_originator is not None:
        title, originator_message_id = move_originator
        elements.append(_text(_MOVE_ORIGINATOR_AE_TITLE, text.write(title, "move originator AE title", 16)))
        elements.append(_number(_MOVE_ORIGINATOR_MESSAGE_ID, originator_message_id))
    return _command_set(*elements)


def write_store_answer(request: StoreRequested, status: int, error_comment: str) -> bytes:
    """Return the command set of a C-STORE-RSP (PS3.7 9.3.1.2). The comment is cut to its 64 characters of ASCII."""
    elements = [
        _uid(_AFFECTED_SOP_CLASS, request.sop_class),
        _number(_COMMAND_FIELD, CommandField.C_STORE_RSP),
        _number(_MESSAGE_ID_RESPONDED_TO, request.message_id),
        _number(_DATA_SET_TYPE, _NO_DATA_SET),
        _number(_STATUS, status),
    ]
    if error_comment:
        elements.append(_text(_ERROR_COMMENT, error_comment[:_COMMENT_LENGTH].encode("ascii", "replace")))
    elements.append(_uid(_AFFECTED_SOP_INSTANCE, request.sop_instance))
    return _command_set(*elements)


def write_echo_request(message_id: int, sop_class: str) -> bytes:
    """Return the command set of a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return _command_set(
        _uid(_AFFECTED_SOP_CLASS, sop_class),
        _number(_COMMAND_FIELD, CommandField.C_ECHO_RQ),
        _number(_MESSAGE_ID, message_id),
        _number(_DATA_SET_TYPE, _NO_DATA_SET),
    )


def write_echo_answer(request: EchoRequested, status: int) -> bytes:
    """Return the command set of a C-ECHO-RSP (PS3.7 9.3.5.2)."""
    return _command_set(
        _uid(_AFFECTED_SOP_CLASS, request.sop_class),
        _number(_COMMAND_FIELD, CommandField.C_ECHO_RSP),
        _number(_MESSAGE_ID_RESPONDED_TO, request.message_id),
        _number(_DATA_SET_TYPE, _NO_DATA_SET),
        _number(_STATUS, status),
    )


def write_unsupported_answer(command: UnsupportedCommand) -> bytes | None:
    """Return the answer «unrecognized operation» (PS3.7 C.5.17); None for a C-CANCEL-RQ, which is never answered."""
    if command.command_field == CommandField.C_CANCEL_RQ:
        return None
    elements = [
        _number(_COMMAND_FIELD, command.command_field | _RESPONSE),
        _number(_MESSAGE_ID_RESPONDED_TO, command.message_id),
        _number(_DATA_SET_TYPE, _NO_DATA_SET),
        _number(_STATUS, UNRECOGNIZED_OPERATION),
    ]
    if command.sop_class is not None:
        elements.insert(0, _uid(_AFFECTED_SOP_CLASS, command.sop_class))
    if command.sop_instance is not None:
        elements.append(_uid(_AFFECTED_SOP_INSTANCE, command.sop_instance))
    return _command_set(*elements)
