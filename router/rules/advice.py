"""What a cause or a wait means and what an operator does about it: for commands, the API, and ``docs/operate.md``."""

from collections.abc import Mapping
from dataclasses import dataclass

from router.model.outcome import Cause
from router.rules.pacing import Reason


@dataclass(frozen=True, slots=True)
class Advice:
    """Two sentences."""

    meaning: str
    remedy: str


CAUSES: Mapping[Cause, Advice] = {
    Cause.CONNECT_FAILED: Advice(
        "Nobody takes connections at its host and port.",
        "Is the PACS up, do host and port fit, does a firewall stand between? It is tried again by itself.",
    ),
    Cause.NAME_NOT_RESOLVED: Advice(
        "Its host name has no address.",
        "Correct `remote_host` and reload, or see to the name server. It is tried again by itself.",
    ),
    Cause.TLS_FAILED: Advice(
        "The connection is not encrypted as both ends want it.",
        "Compare `tls` with what the PACS speaks on this port. It is tried again by itself.",
    ),
    Cause.TLS_VERIFICATION: Advice(
        "One end did not accept the certificate of the other.",
        "Renew the certificate or trust its CA, then reload, or resume the destination.",
    ),
    Cause.ASSOCIATION_REJECTED: Advice(
        "The PACS refuses associations, and not for an AE title.",
        "The error says its reason; ask its administrator. It is tried again by itself.",
    ),
    Cause.LOCAL_LIMIT: Advice(
        "The PACS has as many associations as it takes.",
        "Nothing; if it lasts, lower `max_associations`, or ask for a higher limit there.",
    ),
    Cause.AE_TITLE_UNKNOWN: Advice(
        "The PACS does not know our AE title, or does not go by the one that we call.",
        "Have our AE title and address entered there, or correct `remote_ae_title`; then resume the destination.",
    ),
    Cause.ASSOCIATION_ABORTED: Advice(
        "The PACS ended the association before it accepted it.",
        "Run `probe`: it may dislike what is proposed. It is tried again by itself.",
    ),
    Cause.ASSOCIATION_TIMEOUT: Advice(
        "The PACS took the connection and did not answer the association request.",
        "It may be overloaded, or something else may listen there. It is tried again by itself.",
    ),
    Cause.STORE_ABORTED: Advice(
        "The PACS aborted while it was sent this object.",
        "If only this object does it, ask the PACS's administrator for its log, then retry or drop it.",
    ),
    Cause.CONNECTION_LOST: Advice(
        "The connection was lost while this object was sent.",
        "Look at the network, and for limits on object size at the PACS; then retry.",
    ),
    Cause.RESPONSE_TIMEOUT: Advice(
        "The PACS did not answer for this object.",
        "It may be slow: raise `deadlines.response`; then retry.",
    ),
    Cause.PROTOCOL_ERROR: Advice(
        "The PACS answered something that DICOM does not allow.",
        "Show the error to its vendor; then retry.",
    ),
    Cause.NO_CONTEXT: Advice(
        "The PACS accepts no transfer syntax that this object can be sent in.",
        "The error recommends what helps; change it and reload, or retry with another strategy.",
    ),
    Cause.SOP_CLASS_NOT_SUPPORTED: Advice(
        "The PACS does not take this kind of object.",
        "Have the SOP class enabled there, and retry; or send it elsewhere, and change the route.",
    ),
    Cause.OUT_OF_RESOURCES: Advice(
        "The PACS has no room or is overloaded.",
        "Tell its administrator: its disk may be full. It is tried again by itself.",
    ),
    Cause.CANNOT_UNDERSTAND: Advice(
        "The PACS refuses the content of this object, in every transfer syntax that was tried.",
        "Look at its comment with `queue show`, correct what it dislikes there, and retry.",
    ),
    Cause.NOT_AUTHORISED: Advice(
        "The PACS does not allow us to store.",
        "Have our AE title authorised there. It is tried again by itself.",
    ),
    Cause.REFUSED: Advice(
        "The PACS refuses this object for good; its status is in the error.",
        "Look at its comment with `queue show`; retry once the reason is gone, or drop it.",
    ),
    Cause.UNKNOWN_STATUS: Advice(
        "The PACS answered a status that DICOM does not know.",
        "Ask its vendor what it means, and say so in `statuses`; then retry.",
    ),
    Cause.CANNOT_CONVERT: Advice(
        "This object cannot be converted without loss to what the PACS accepts.",
        "Have its stored transfer syntax enabled there, or send it elsewhere.",
    ),
    Cause.CONVERSION_DIED: Advice(
        "The conversion of this object ended unexpectedly, each time.",
        "Export it and report it; the machine may have been short of memory, then retry.",
    ),
    Cause.PAYLOAD_DAMAGED: Advice(
        "The stored object is not what was received: the disk changed it.",
        "See to the disk; have the modality send the object again, and drop this one.",
    ),
    Cause.PAYLOAD_MISSING: Advice(
        "The stored object is gone from the disk.",
        "See to the disk; have the modality send the object again, and drop this one.",
    ),
    Cause.LOCAL_TROUBLE: Advice(
        "This machine could not read or convert it: memory, files or disk are short.",
        "See to the machine; the log says more. It is tried again by itself.",
    ),
    Cause.NOT_CONFIGURED: Advice(
        "Its destination is no longer in the configuration.",
        "Bring it back or name it in `renamed_from`, and reload; or send it elsewhere, or drop it.",
    ),
    Cause.NO_ROUTE: Advice(
        "No route took this object.",
        "`explain` says why; add a route for the next ones, and send these with `queue retry --to`.",
    ),
    Cause.LOOP: Advice(
        "The same object came again and again from the same sender: the routers send in a circle.",
        "Break the circle in the routes of one of them, then resume or drop it.",
    ),
    Cause.DUPLICATE: Advice(
        "The destination was owed the same bytes a short time ago, and takes each only `once`.",
        "Nothing; `queue resend` sends it all the same.",
    ),
    Cause.OVER_QUOTA: Advice(
        "More waited for the destination than its quota, and it is `best_effort`.",
        "Repair the destination or raise its `quota`; retry while the object is still there.",
    ),
    Cause.LIFETIME_ENDED: Advice(
        "The destination worked for as long as `give_up_after`, and did not take this object.",
        "The error says what came last; put that right, and retry.",
    ),
    Cause.OPERATOR: Advice("Somebody held or dropped it.", "Resume it when its time has come."),
}
"""Every cause."""

REASONS: Mapping[Reason, Advice] = {
    Reason.PAUSED: Advice(
        "Somebody paused the destination: objects wait, and do not age.", "`destination resume` goes on."
    ),
    Reason.HELD: Advice(
        "Only an administrator can help: an AE title or a certificate. It is tried every five minutes.",
        "See its cause below; then `destination resume` tries it at once.",
    ),
    Reason.IN_TROUBLE: Advice(
        "The destination does not work. It is tried again by itself, and objects do not age.",
        "See its cause below; `destination test` finds the step that fails.",
    ),
    Reason.OUTSIDE_WINDOW: Advice(
        "The configuration (`only`) allows sending later.", "Nothing, or change `only` and reload."
    ),
    Reason.BANDWIDTH: Advice(
        "The destination had its share of bytes (`bandwidth`).",
        "Nothing: this lasts moments; raise the limit if the backlog grows.",
    ),
    Reason.FEWER_ASSOCIATIONS: Advice(
        "The PACS takes fewer associations than `max_associations`; the others of ours go on.",
        "Nothing; lower `max_associations`, or ask for a higher limit there.",
    ),
}
"""Every reason to wait."""


def table() -> str:
    """All of it in Markdown, as it stands in ``docs/operate.md``."""
    reasons = "".join(f"| {name} | {each.meaning} | {each.remedy} |\n" for name, each in REASONS.items())
    causes = "".join(f"| {name} | {each.meaning} | {each.remedy} |\n" for name, each in CAUSES.items())
    return (
        "| what it waits for | what it means | what to do |\n|---|---|---|\n"
        f"{reasons}\n| cause | what it means | what to do |\n|---|---|---|\n{causes}"
    )
