"""The end that is asked for an association: the SCP's (PS3.8 9.2)."""

from collections.abc import Sequence

from router.model.presentation_context import AnsweredContext, ContextResult
from router.protocol import association, pdu
from router.protocol.association import AssociationRequest
from router.protocol.connection import DEFAULT_MAXIMUM_LENGTH, Connection
from router.protocol.errors import LocalProtocolError
from router.protocol.events import AssociationAnnounced, Event
from router.protocol.states import Role, Stimulus


class Acceptor(Connection):
    """Begins when the transport connection is open (Sta2)."""

    def __init__(self, *, maximum_length: int = DEFAULT_MAXIMUM_LENGTH, buffer: bytearray | None = None) -> None:
        """Await an A-ASSOCIATE-RQ.

        Args:
            maximum_length: of a P-DATA-TF that will be taken, in bytes.
            buffer: to receive into; a small one is made without it.
        """
        super().__init__(Role.ACCEPTOR, maximum_length, buffer)
        self._request_pdu = b""
        self._step(Stimulus.TRANSPORT_INDICATED)

    def _associate_pdu(self, content: bytes) -> Event:
        self._request_pdu = content
        calling, called = association.read_titles(content)
        return AssociationAnnounced(calling, called, len(content))

    def request(self) -> AssociationRequest:
        """Return what `AssociationAnnounced` announced. Changes nothing, so that it may be read in a thread.

        Raises:
            LocalProtocolError: nothing was announced, or it is answered already.
            ProtocolError: it is malformed; answer with `abort_for`.
        """
        if not self._request_pdu:
            raise LocalProtocolError("there is no A-ASSOCIATE-RQ to read")
        return association.read_request(self._request_pdu)

    def accept(
        self,
        request: AssociationRequest,
        answers: Sequence[AnsweredContext],
        *,
        implementation_class_uid: str,
        implementation_version_name: str,
        user_recognised: bool = False,
    ) -> bytes:
        """Return an A-ASSOCIATE-AC.

        Args:
            request: what `request` returned.
            answers: exactly one for each presentation context that was proposed.
            implementation_class_uid: ours.
            implementation_version_name: ours, at most 16 characters; may be empty.
            user_recognised: the user identity was checked, which is said if the peer asked for that.

        Raises:
            LocalProtocolError: contexts are missing or invented, or there is nothing to accept.
        """
        if sorted(answer.id for answer in answers) != sorted(context.id for context in request.contexts):
            raise LocalProtocolError("each proposed presentation context must be answered, once")
        accepted = association.write_accepted(
            self._request_pdu[association.TITLES],
            request,
            answers,
            maximum_length=self._maximum_length,
            implementation_class_uid=implementation_class_uid,
            implementation_version_name=implementation_version_name,
            user_recognised=user_recognised,
        )
        self._step(Stimulus.ASSOCIATE_ACCEPT)
        self._request_pdu = b""
        self._contexts = frozenset(answer.id for answer in answers if answer.result is ContextResult.ACCEPTANCE)
        self.peer_maximum_length = request.maximum_length
        return accepted

    def reject(self, result: int, source: int, reason: int) -> bytes:
        """Return an A-ASSOCIATE-RJ, with the numbers of PS3.8 Table 9-21.

        Raises:
            LocalProtocolError: there is nothing to reject.
        """
        self._step(Stimulus.ASSOCIATE_REJECT)
        self._request_pdu = b""
        return pdu.reject(result, source, reason)
