"""Who may associate, and which presentation contexts are accepted with which transfer syntax."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.presentation_context import VERIFICATION, AnsweredContext, ContextResult, PresentationContext
from router.model.transfer_syntax import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from router.rules.acceptance import (
    Admitted,
    Allowed,
    Listener,
    Prefer,
    Rejection,
    admit_association,
    answer_contexts,
    is_named,
    may_connect,
)

pytestmark = pytest.mark.unit

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
NETWORK = ip_network("10.1.0.0/16")
LISTENER = Listener(
    ae_titles=("ROUTER", "ROUTER_CT"),
    allow=(
        Allowed("CT1", (NETWORK,)),
        Allowed("CT1", (ip_network("192.0.2.7"),)),
        Allowed("MR*"),
        Allowed("US[1]?"),
        Allowed(hosts=(ip_network("198.51.100.0/24"), ip_network("2001:db8::/32"))),
    ),
    max_associations=4,
    max_associations_per_host=2,
)


def admit(
    calling: str,
    host: str = "10.1.2.3",
    *,
    called: str = "ROUTER",
    listener: Listener = LISTENER,
    associations: int = 0,
    associations_of_host: int = 0,
) -> Admitted | Rejection:
    """Ask for one association."""
    return admit_association(
        calling=calling,
        called=called,
        host=host,
        listener=listener,
        associations=associations,
        associations_of_host=associations_of_host,
    )


def codes(answer: Admitted | Rejection) -> tuple[int, int, int]:
    """Result, source and reason (PS3.8 Table 9-21)."""
    assert isinstance(answer, Rejection)
    return answer.result, answer.source, answer.reason


@pytest.mark.parametrize(
    ("calling", "host"),
    [
        ("CT1", "10.1.2.3"),
        ("CT1", "::ffff:10.1.2.3"),
        ("CT1", "192.0.2.7"),
        (" CT1 ", "10.1.2.3"),
        ("MR", "203.0.113.1"),
        ("MR_2", "2001:db8:1::1"),
        ("US[1]A", "203.0.113.1"),
        ("ANYBODY", "198.51.100.9"),
        ("ANYBODY", "2001:db8::1"),
        ("CT1", "198.51.100.9"),
    ],
)
def test_who_is_allowed(calling: str, host: str) -> None:
    """A title, hosts, or both; titles with wildcards; what one allowance refuses another may allow."""
    assert admit(calling, host) == Admitted()


@pytest.mark.parametrize(
    ("calling", "host", "sentence"),
    [
        ("CT2", "10.1.2.3", "calling AE title 'CT2' is not allowed from 10.1.2.3"),
        ("CT1", "10.2.0.1", "calling AE title 'CT1' is not allowed from 10.2.0.1"),
        ("CT1", "a-name", "calling AE title 'CT1' is not allowed from a-name"),
        ("ct1", "10.1.2.3", "calling AE title 'ct1' is not allowed from 10.1.2.3"),
    ],
)
def test_who_is_not(calling: str, host: str, sentence: str) -> None:
    """Everybody else gets: rejected permanent, service user, calling AE title not recognized."""
    answer = admit(calling, host)
    assert codes(answer) == (1, 1, 3)
    assert answer == Rejection(1, 1, 3, sentence)


CERTIFIED = Listener(
    allow=(
        Allowed("CT1", (NETWORK,), "ct1.hospital.test"),
        Allowed("MR1", certificate="mr1.hospital.test"),
        Allowed(certificate="Gateway"),
        Allowed("US*"),
    )
)


@pytest.mark.parametrize(
    ("calling", "host", "names", "why"),
    [
        ("CT1", "10.1.2.3", ["ct1.hospital.test"], None),
        ("CT1", "10.1.2.3", ["CT 1", "CT1.Hospital.Test"], None),
        ("CT1", "10.1.2.3", ["gateway"], None),
        ("MR1", "192.0.2.1", ["mr1.hospital.test"], None),
        ("US1", "192.0.2.1", [], None),
        ("US1", "192.0.2.1", ["anything"], None),
        ("CT1", "10.1.2.3", ["mr1.hospital.test"], "is not allowed from 10.1.2.3 with this certificate"),
        ("CT1", "10.1.2.3", [], "is not allowed from 10.1.2.3 with no certificate"),
        ("CT1", "192.0.2.1", ["ct1.hospital.test"], "is not allowed from 192.0.2.1 with this certificate"),
        ("XA1", "192.0.2.1", [], "is not allowed from 192.0.2.1 with no certificate"),
    ],
)
def test_title_bound_to_a_certificate(calling: str, host: str, names: list[str], why: str | None) -> None:
    """A row with a certificate lets in who shows it; DNS names have no case."""
    answer = admit_association(
        calling=calling,
        called="ROUTER",
        host=host,
        listener=CERTIFIED,
        associations=0,
        associations_of_host=0,
        certificate_names=names,
    )
    expected = Admitted() if why is None else Rejection(1, 1, 3, f"calling AE title {calling!r} {why}")
    assert answer == expected


def test_who_may_connect_at_all() -> None:
    """Any row that admits the address is enough; what its AE title is shows later."""
    assert may_connect("10.1.2.3", LISTENER)
    assert may_connect("203.0.113.1", LISTENER)
    networks = Listener(allow=(Allowed("CT1", (NETWORK,)), Allowed(hosts=(ip_network("192.0.2.7"),))))
    assert may_connect("::ffff:10.1.2.3", networks)
    assert may_connect("192.0.2.7", networks)
    assert not may_connect("192.0.2.8", networks)
    assert not may_connect("10.1.2.3", Listener())
    assert may_connect("192.0.2.8", Listener(allow_any=True))


def test_who_is_named() -> None:
    """By its address, or with few others; a wide network, a name, and `allow_any` name nobody."""
    rows = (
        Allowed("CT1", (ip_network("192.0.2.7/32"), ip_network("10.0.0.0/8"))),
        Allowed("MR1", (ip_network("198.51.100.16/28"),)),
        Allowed("ANY"),
    )
    named = Listener(allow_any=True, allow=rows)
    assert is_named("::ffff:192.0.2.7", named)
    assert is_named("198.51.100.31", named)
    assert not is_named("198.51.100.32", named)
    assert not is_named("10.1.2.3", named)
    assert not is_named("198.51.100.16", Listener(allow=(Allowed("MR1", (ip_network("198.51.100.0/27"),)),)))
    assert not is_named("192.0.2.7", Listener(allow_any=True))


def test_closed_by_default() -> None:
    """A listener that names nobody lets nobody in, and says it in other words than for a wrong host."""
    assert admit("CT1", listener=Listener()) == Rejection(1, 1, 3, "calling AE title 'CT1' is not in `allow`")


def test_allow_any() -> None:
    """`allow_any` lets in any calling AE title from anywhere."""
    assert admit("X", "203.0.113.1", listener=Listener(allow_any=True)) == Admitted()


def test_called_ae_title() -> None:
    """Another called AE title is rejected as such, before anything else; several or any may be ours."""
    assert codes(admit("CT2", called="OTHER")) == (1, 1, 7)
    assert admit("CT1", called="ROUTER_CT") == Admitted()
    assert admit("CT1", called="ROUTER   ") == Admitted()
    assert admit("CT1", called="OTHER", listener=Listener(ae_titles=None, allow_any=True)) == Admitted()


def test_limits_are_transient() -> None:
    """At a ceiling: rejected transient, presentation related, local limit exceeded; strangers learn nothing of it."""
    assert admit("CT1", associations=3, associations_of_host=1) == Admitted()
    everybody = admit("CT1", associations=4)
    assert codes(everybody) == (2, 3, 2)
    one_host = admit("CT1", associations=2, associations_of_host=2)
    assert codes(one_host) == (2, 3, 2)
    assert everybody != one_host
    assert codes(admit("CT2", associations=4)) == (1, 1, 3)


RLE = "1.2.840.10008.1.2.5"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
MPEG_4 = "1.2.840.10008.1.2.4.102"
PRIVATE = "1.2.840.113619.5.2"
IMPLICIT, EXPLICIT = IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
BIG_ENDIAN, DEFLATED = EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN


def answer(abstract_syntax: str, *syntaxes: str, prefer: Prefer = Prefer.REQUESTOR) -> AnsweredContext:
    """The answer to one context; only CT Image Storage is a Storage class."""
    (answered,) = answer_contexts(
        [PresentationContext(7, abstract_syntax, syntaxes)], storage=lambda uid: uid == CT_IMAGE, prefer=prefer
    )
    assert (answered.id, answered.abstract_syntax) == (7, abstract_syntax)
    return answered


@pytest.mark.parametrize(
    ("prefer", "proposed", "chosen"),
    [
        # The requestor's first.
        (Prefer.REQUESTOR, (IMPLICIT, EXPLICIT), IMPLICIT),
        (Prefer.REQUESTOR, (EXPLICIT, IMPLICIT), EXPLICIT),
        (Prefer.REQUESTOR, (RLE, IMPLICIT), RLE),
        (Prefer.REQUESTOR, (PRIVATE, IMPLICIT), PRIVATE),
        (Prefer.REQUESTOR, (MPEG_4,), MPEG_4),
        # Lossy: only if it stands first or nothing else is acceptable.
        (Prefer.REQUESTOR, (JPEG_BASELINE, IMPLICIT), JPEG_BASELINE),
        (Prefer.REQUESTOR, (DEFLATED, JPEG_BASELINE, JPEG_2000, IMPLICIT), IMPLICIT),
        (Prefer.REQUESTOR, (JPEG_BASELINE, JPEG_2000), JPEG_BASELINE),
        (Prefer.REQUESTOR, (BIG_ENDIAN, JPEG_2000, JPEG_BASELINE), JPEG_2000),
        # Deflated and Big Endian: only if nothing else is.
        (Prefer.REQUESTOR, (DEFLATED, BIG_ENDIAN, EXPLICIT), EXPLICIT),
        (Prefer.REQUESTOR, (BIG_ENDIAN, DEFLATED), BIG_ENDIAN),
        (Prefer.REQUESTOR, (DEFLATED,), DEFLATED),
        # Native first.
        (Prefer.NATIVE, (JPEG_2000_LOSSLESS, JPEG_BASELINE, EXPLICIT, IMPLICIT), EXPLICIT),
        (Prefer.NATIVE, (DEFLATED, RLE), RLE),
        (Prefer.NATIVE, (BIG_ENDIAN, JPEG_2000), JPEG_2000),
        # Compressed first, but never with loss for its sake.
        (Prefer.COMPRESSED, (EXPLICIT, JPEG_BASELINE, RLE, JPEG_2000_LOSSLESS), RLE),
        (Prefer.COMPRESSED, (EXPLICIT, JPEG_BASELINE), EXPLICIT),
        (Prefer.COMPRESSED, (JPEG_BASELINE, RLE), RLE),
    ],
)
def test_transfer_syntax_of_a_storage_context(prefer: Prefer, proposed: tuple[str, ...], chosen: str) -> None:
    """Which of the proposed transfer syntaxes is answered."""
    assert answer(CT_IMAGE, *proposed, prefer=prefer).transfer_syntax == chosen


@pytest.mark.parametrize("prefer", Prefer)
@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ((RLE, EXPLICIT, IMPLICIT), EXPLICIT),
        ((BIG_ENDIAN, IMPLICIT), IMPLICIT),
        ((JPEG_BASELINE,), JPEG_BASELINE),
    ],
)
def test_transfer_syntax_of_verification(prefer: Prefer, proposed: tuple[str, ...], chosen: str) -> None:
    """C-ECHO has no data set: little endian first, whatever is preferred for images."""
    assert answer(VERIFICATION, *proposed, prefer=prefer).transfer_syntax == chosen


def test_abstract_syntax_that_is_not_ours() -> None:
    """Neither a Storage class nor Verification: result 3, without a transfer syntax."""
    answered = answer("1.2.840.10008.5.1.4.1.2.2.1", IMPLICIT)
    assert (answered.result, answered.transfer_syntax) == (ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, None)


@pytest.mark.parametrize(
    "proposed", [(), ("",), ("../../etc",), ("1..2",), ("1.2\n",), ("1." * 32 + "1",), ("1.2 ",), ("١.٢",)]
)
@pytest.mark.parametrize("abstract_syntax", [CT_IMAGE, VERIFICATION])
def test_no_legal_transfer_syntax(abstract_syntax: str, proposed: tuple[str, ...]) -> None:
    """No transfer syntax, or nothing that is a UID: result 4."""
    answered = answer(abstract_syntax, *proposed)
    assert answered.result is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED


def test_what_is_no_uid_is_passed_over() -> None:
    """One illegal transfer syntax does not spoil the others."""
    assert answer(CT_IMAGE, "x", JPEG_BASELINE, IMPLICIT).transfer_syntax == JPEG_BASELINE


@given(
    st.lists(
        st.tuples(
            st.sampled_from([CT_IMAGE, VERIFICATION, "1.2.3"]),
            st.lists(st.sampled_from([IMPLICIT, RLE, JPEG_2000, DEFLATED, PRIVATE, ""]) | st.text(max_size=70)),
        ),
        max_size=128,
    ),
    st.sampled_from(Prefer),
)
def test_every_context_is_answered_with_something_proposed(
    proposal: list[tuple[str, list[str]]], prefer: Prefer
) -> None:
    """Whatever is proposed, each context is answered in its place, and only with one of its own transfer syntaxes."""
    proposed = [
        PresentationContext(2 * position + 1, abstract_syntax, tuple(syntaxes))
        for position, (abstract_syntax, syntaxes) in enumerate(proposal)
    ]
    answered = answer_contexts(proposed, storage=lambda uid: uid == CT_IMAGE, prefer=prefer)
    assert [each.id for each in answered] == [each.id for each in proposed]
    for asked, got in zip(proposed, answered, strict=True):
        assert got.transfer_syntax is None or got.transfer_syntax in asked.transfer_syntaxes
