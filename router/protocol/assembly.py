"""Fragments of command sets become commands, fragments of data sets are let through (PS3.7 6.3.1, PS3.8 E)."""

from router.protocol import dimse
from router.protocol.errors import AbortReason, ProtocolError
from router.protocol.events import (
    EchoAnswered,
    EchoRequested,
    Fragment,
    StoreAnswered,
    StoreRequested,
    UnsupportedCommand,
)
from router.protocol.pdu import COMMAND, LAST
from router.protocol.states import Role

_NONE = 0
"""No presentation context: their ids are odd."""


class Assembly:
    """Where the peer stands within its message.

    A data set is only let through if it belongs to a C-STORE-RQ; that of any other command is skipped.
    """

    def __init__(self, role: Role) -> None:
        self._role = role
        self._command = bytearray()
        self._command_context = _NONE
        self._data_context = _NONE
        self._skipping = False

    @property
    def mid_message(self) -> bool:
        """Whether a command set or a data set is incomplete."""
        return self._command_context != _NONE or self._data_context != _NONE

    def fragment(self, context_id: int, control: int, content: memoryview) -> dimse.Command | Fragment | None:
        """Take the next presentation data value.

        Args:
            context_id: its presentation context, an accepted one.
            control: its message control header.
            content: what follows.

        Returns:
            The command if this completes one, the fragment if it is of a wanted data set, else None.

        Raises:
            ProtocolError: it is out of order, or the command set is malformed or too long.
        """
        if control & COMMAND:
            return self._command_fragment(context_id, content, last=bool(control & LAST))
        if context_id != self._data_context:
            raise ProtocolError(
                f"a data set fragment arrived in presentation context {context_id} where none was due",
                AbortReason.UNEXPECTED_PARAMETER,
            )
        last = bool(control & LAST)
        if last:
            self._data_context = _NONE
        return None if self._skipping else Fragment(context_id, content, last)

    def _command_fragment(self, context_id: int, content: memoryview, *, last: bool) -> dimse.Command | None:
        if self._data_context != _NONE:
            raise ProtocolError("a command arrived before the data set was complete", AbortReason.UNEXPECTED_PARAMETER)
        if self._command_context not in (_NONE, context_id):
            raise ProtocolError("a command set changed its presentation context", AbortReason.INVALID_PARAMETER_VALUE)
        if len(self._command) + len(content) > dimse.MAXIMUM_LENGTH:
            raise ProtocolError(
                f"a command set has more than {dimse.MAXIMUM_LENGTH} bytes", AbortReason.INVALID_PARAMETER_VALUE
            )
        self._command += content
        self._command_context = context_id
        if not last:
            return None
        received = dimse.read(context_id, bytes(self._command))
        self._command.clear()
        self._command_context = _NONE
        if received.has_data_set:
            self._data_context = context_id
            self._skipping = not isinstance(received.command, StoreRequested)
        return self._for_role(received.command)

    def _for_role(self, command: dimse.Command) -> dimse.Command:
        """Without role selection the requestor asks and the acceptor answers (PS3.7 D.3.3.4)."""
        match command, self._role:
            case ((StoreAnswered() | EchoAnswered()), Role.ACCEPTOR):
                raise ProtocolError(
                    "a response arrived from the association's requestor", AbortReason.UNEXPECTED_PARAMETER
                )
            case StoreRequested(), Role.REQUESTOR:
                self._skipping = True
                return UnsupportedCommand(
                    command.context_id,
                    command.message_id,
                    dimse.CommandField.C_STORE_RQ,
                    command.sop_class,
                    command.sop_instance,
                )
            case EchoRequested(), Role.REQUESTOR:
                return UnsupportedCommand(
                    command.context_id, command.message_id, dimse.CommandField.C_ECHO_RQ, command.sop_class
                )
            case _:
                return command
