"""The end that asks for an association: the SCU's (PS3.8 9.2)."""

from collections.abc import Sequence

from router.model.presentation_context import MAXIMUM_CONTEXTS, VERIFICATION, ContextResult, PresentationContext
from router.protocol import association, dimse, pdu
from router.protocol.connection import DEFAULT_MAXIMUM_LENGTH, Connection
from router.protocol.errors import LocalProtocolError
from router.protocol.events import Event
from router.protocol.states import Role, Stimulus


class Requestor(Connection):
    """Begins idle (Sta1); call `associate` once the transport connection is open."""

    def __init__(self, *, maximum_length: int = DEFAULT_MAXIMUM_LENGTH, buffer: bytearray | None = None) -> None:
        """Prepare an association.

        Args:
            maximum_length: of a P-DATA-TF that will be taken, in bytes.
            buffer: to receive into; a small one is made without it.
        """
        super().__init__(Role.REQUESTOR, maximum_length, buffer)
        self._proposed: tuple[PresentationContext, ...] = ()

    def associate(
        self,
        *,
        calling_ae_title: str,
        called_ae_title: str,
        contexts: Sequence[PresentationContext],
        implementation_class_uid: str,
        implementation_version_name: str,
    ) -> bytes:
        """Return an A-ASSOCIATE-RQ.

        Args:
            calling_ae_title: ours, at most 16 ASCII characters.
            called_ae_title: the peer's, likewise.
            contexts: 1 to 128, with odd ids of their own.
            implementation_class_uid: ours.
            implementation_version_name: ours, at most 16 characters; may be empty.

        Raises:
            LocalProtocolError: one of these is impossible, or the association was asked for already.
        """
        ids = {context.id for context in contexts}
        if not 1 <= len(contexts) <= MAXIMUM_CONTEXTS or len(ids) != len(contexts) or not ids <= _IDS:
            raise LocalProtocolError("1 to 128 presentation contexts with different odd ids up to 255 can be proposed")
        request = association.write_request(
            calling_ae_title,
            called_ae_title,
            contexts,
            maximum_length=self._maximum_length,
            implementation_class_uid=implementation_class_uid,
            implementation_version_name=implementation_version_name,
        )
        self._step(Stimulus.ASSOCIATE_REQUEST)
        self._step(Stimulus.TRANSPORT_CONFIRMED)
        self._proposed = tuple(contexts)
        return request

    def _associate_pdu(self, content: bytes) -> Event:
        accepted = association.read_accepted(content, self._proposed)
        self._contexts = frozenset(
            answer.id for answer in accepted.contexts if answer.result is ContextResult.ACCEPTANCE
        )
        self.peer_maximum_length = accepted.maximum_length
        return accepted

    def store_request(
        self,
        context_id: int,
        message_id: int,
        sop_class: str,
        sop_instance: str,
        *,
        priority: int = 0,
        move_originator: tuple[str, int] | None = None,
    ) -> bytes:
        """Return a C-STORE-RQ; `fragments` of its data set are to follow.

        Args:
            context_id: an accepted presentation context.
            message_id: repeated in the answer.
            sop_class: of the instance.
            sop_instance: of the instance.
            priority: 0 medium, 1 high, 2 low.
            move_originator: AE title and message id of the C-MOVE that this belongs to.

        Raises:
            LocalProtocolError: the context is not an accepted one, a UID cannot be written, or nothing can be sent now.
        """
        command_set = dimse.write_store_request(message_id, sop_class, sop_instance, priority, move_originator)
        self._check_accepted(context_id)
        return self._command(context_id, command_set)

    def fragments(self, context_id: int, content: memoryview, *, last: bool) -> list[bytes | memoryview]:
        """Return a part of a data set as P-DATA-TF: headers and slices of `content` in turn, to be gathered.

        The PDUs are as large as the peer allows, at most 128 KiB; a peer that allows less than 8 bytes is sent 8.

        Args:
            context_id: that of the C-STORE-RQ.
            content: of even length unless it is the last part (PS3.8 E.1).
            last: whether it ends the data set.

        Raises:
            LocalProtocolError: an odd part that is not the last, or nothing can be sent now.
        """
        if len(content) & 1 and not last:
            raise LocalProtocolError("only the last part of a data set may have an odd length")
        self._check_accepted(context_id)
        self._step(Stimulus.P_DATA_REQUEST)
        return list(pdu.fragments(context_id, content, self.peer_maximum_length, command=False, last=last))

    def echo_request(self, context_id: int, message_id: int) -> bytes:
        """Return a C-ECHO-RQ.

        Raises:
            LocalProtocolError: the context is not an accepted one, or nothing can be sent now.
        """
        self._check_accepted(context_id)
        return self._command(context_id, dimse.write_echo_request(message_id, VERIFICATION))

    def _check_accepted(self, context_id: int) -> None:
        if context_id not in self._contexts:
            raise LocalProtocolError(f"presentation context {context_id} is not one that was accepted")


_IDS = frozenset(range(1, 256, 2))
