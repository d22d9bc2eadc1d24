"""The pages: what they say, what may be ordered on them, and that nothing of a peer becomes a part of one."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from router.admin.page.words import advice, size, span
from router.admin.sessions import LASTS, MOST
from router.dicom import part10
from router.durable.queue import Seen
from router.durable.sqlite import in_thread
from router.journal import AssociationAccepted
from router.model.delivery import Order, Standing, State, Wanted
from router.model.instance import Envelope
from router.model.outcome import Cause
from router.rules.pacing import Reason, Wait
from tests.admin.browser import Answer, Browser
from tests.admin.served import OPERATOR, READER, Scripted, Served
from tests.daemon.objects import made
from tests.durable.world import NOON

pytestmark = pytest.mark.unit

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
PAGES = ("/", "/queue", "/deliveries/2", "/studies", "/destinations/PACS", "/route", "/configuration", "/login")


async def state_of(api: Served, delivery: int) -> State:
    """Of one delivery."""
    entry = await api.world.desk.entry(delivery)
    assert entry is not None
    return entry.state


async def in_trouble(api: Served, name: str = "RESEARCH", cause: Cause = Cause.CONNECT_FAILED, error: str = "") -> None:
    """A destination that has not worked for three hours."""
    standing = Standing(failures=3, since=NOON - timedelta(hours=3), cause=cause, error=error or "Cannot connect")
    await api.world.queue.standings.stand(name, standing, NOON)
    api.forwarders[name].says = Wait(Reason.IN_TROUBLE, NOON + timedelta(seconds=40))


# What they say


async def test_a_glance_tells_that_everything_works(api: Served) -> None:
    """Once nothing waits for a decision any more."""
    await api.world.queue.interventions.drop([2, 4], NOON)
    page = await Browser(api, tokens=False).see("/")
    assert "Everything works." in page.text
    assert [each["class"] for each in page.all("div") if "banner" in each.get("class", "")] == ["banner good"]


async def test_a_glance_tells_what_is_wrong_and_since_when(api: Served) -> None:
    """Who is in trouble, until when it waits, what to do; what is paused; what waits for a decision, and why."""
    await in_trouble(api)
    api.forwarders["PACS"].says = Wait(Reason.PAUSED)
    api.listening = False
    text = (await Browser(api, tokens=False).see("/")).text
    assert "Nothing can be received: the daemon is starting or stopping" in text
    assert "1 destination in trouble since 2031-05-07 09:00 UTC: RESEARCH." in text
    assert "Paused by an operator: PACS." in text
    assert "2 deliveries wait for a decision, the oldest received 2031-05-07 12:00 UTC." in text
    assert "Cannot connect What to do: Is the PACS up" in text
    assert "Since 09:00 UTC (3 h 0 min) Next attempt 12:00 UTC (in 40 s) Waiting 1 delivery, 48 bytes" in text
    assert "peer cannot understand the object" in text
    # The worst comes first.
    assert text.index("RESEARCH in trouble") < text.index("no route no route") < text.index("PACS paused")


async def test_the_banner_is_sent_again_only_when_it_says_something_new(api: Served) -> None:
    """Or a screen reader would read it out every few seconds."""
    browser = Browser(api, tokens=False)
    page = await browser.see("/")
    (asked,) = [each["hx-get"] for each in page.all("div") if each.get("hx-get", "").startswith("/banner")]
    assert (await browser.get(asked)).status == 204
    await in_trouble(api)
    changed = await browser.see(asked)
    assert "1 destination in trouble" in changed.text
    assert changed.all("div")[0]["hx-get"] != asked


async def test_open_associations_and_throughput_are_shown(api: Served) -> None:
    """Who sends now, and a line of what each destination took."""
    event = object.__new__(AssociationAccepted)
    for name, value in (("association", "7"), ("calling_ae_title", "CT7"), ("called_ae_title", "R"), ("peer", "p:1")):
        object.__setattr__(event, name, value)
    api.activity(event)
    api.activity.sending["PACS"].count(NOON, 1000)
    page = await Browser(api, tokens=False).see("/")
    assert "CT7" in page.text
    (line,) = page.all("svg")
    assert line["aria-label"] == "1 instance sent in the last hour, at most 1 in a minute"


async def test_every_link_leads_somewhere(api: Served) -> None:
    """From every page, and every page that they lead to."""
    await in_trouble(api)
    browser = Browser(api)
    await browser.log_in()
    ahead, seen = list(PAGES), set[str]()
    while ahead:
        if (url := ahead.pop()) in seen:
            continue
        seen.add(url)
        page = await browser.see(url)
        ahead += page.links()
        assert page.all("h1"), url
        assert page.all("main"), url
    assert "/queue?destination=PACS&state=dead&cause=peer+cannot+understand+the+object" in seen
    assert "/studies/2.25.9" in seen


async def test_nothing_of_a_page_is_inline_and_every_field_has_a_label(api: Served) -> None:
    """So the strict policy holds, and a keyboard or a screen reader is enough."""
    browser = Browser(api)
    await browser.log_in()
    for url in PAGES:
        page = await browser.see(url)
        labelled = {each["for"] for each in page.all("label") if "for" in each}
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), url
        for tag, attributes in page.elements:
            assert tag != "style"
            assert tag != "script" or set(attributes) == {"src", "defer"}
            assert not any(name == "style" or name.startswith(("on", "hx-on")) for name in attributes)
            if tag in {"input", "select", "textarea"} and attributes.get("type") not in {"hidden", "radio"}:
                assert attributes.get("id") in labelled or attributes.get("aria-label"), attributes


async def test_filters_are_in_the_address_and_pages_follow_each_other(api: Served) -> None:
    """A list can be linked, and its next page."""
    browser = Browser(api, tokens=False)
    page = await browser.see("/queue?destination=PACS&state=&limit=1")
    assert "1 delivery, and there are more" in page.text
    (following,) = [each["href"] for each in page.all("a") if each.get("rel") == "next"]
    assert following == "/queue?after=1&destination=PACS"
    assert "peer cannot understand the object" in (await browser.see(following)).text
    assert "No delivery matches." in (await browser.see("/queue?calling_ae_title=NOBODY")).text
    assert "no route takes this instance" in (await browser.see("/queue?destination=%28none%29")).text
    refused = await browser.get("/queue?state=lost")
    assert refused.status == 422
    assert "state: Input should be" in refused.text


async def test_the_queue_begins_with_what_waits(api: Served) -> None:
    """How many are in each other state is told beside it, also of one destination."""
    browser = Browser(api, tokens=False)
    page = await browser.see("/queue")
    assert "2 deliveries, the oldest first" in page.text
    assert "queued 2 held 1 dead 1 all" in page.text
    assert "/queue?state=dead" in page.links()
    assert "4 deliveries, the oldest first" in (await browser.see("/queue?state=")).text
    assert "queued 1 dead 1 all" in (await browser.see("/queue?destination=PACS")).text
    assert "held 1 dead 0 all" in (await browser.see("/queue?destination=%28none%29&state=held")).text
    assert "queued dead all" in (await browser.see("/queue?calling_ae_title=MR1")).text


async def test_a_delivery_tells_its_story(api: Served) -> None:
    """What happened, and what happens next."""
    browser = Browser(api, tokens=False)
    text = (await browser.see("/deliveries/2")).text
    assert "Nothing by itself. The PACS refuses the content of this object" in text
    assert "dead for PACS with status C000H" in text
    assert "universal: Implicit VR Little Endian, converted from Explicit VR Little Endian" in text
    for number in ("99", "x", "²"):
        assert (await browser.get(f"/deliveries/{number}")).status == 404


async def test_what_a_destination_accepts_is_told_in_words(api: Served) -> None:
    """SOP classes with the same answers together."""
    ct, mr = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
    implicit, jpeg, rle = "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.5"
    seen = {implicit: Seen.ACCEPTED, jpeg: Seen.REFUSED, rle: Seen.DISLIKED}
    news = {(sop_class, syntax): what for sop_class in (ct, mr) for syntax, what in seen.items()}
    await api.world.queue.capabilities.learn("PACS", news, NOON)
    text = (await Browser(api, tokens=False).see("/destinations/PACS")).text
    row = "CT Image Storage MR Image Storage Implicit VR Little Endian JPEG Lossless, Non-Hierarchical"
    assert re.search(rf"{row}.*RLE Lossless", text)
    assert "Nothing is known yet" in (await Browser(api, tokens=False).see("/destinations/RESEARCH")).text


async def test_patients_are_shown_only_if_the_configuration_says_so(api: Served) -> None:
    """Accession numbers and the comments of peers; a study is found by them all the same."""
    for shown in (False, True):
        browser = Browser(api, tokens=False, show_patient=shown)
        pages = [await browser.see(url) for url in PAGES]
        found = await browser.post("/studies", {"accession_number": "A1", "patient_id": "P1"})
        assert "1 study in the spool" in found.text
        assert "P1" not in "".join(each.text for each in (*pages, found))
        assert ("as the peer says" in "".join(each.text for each in pages)) is shown
        assert ("A1" in found.text) is shown


async def test_studies_are_found(api: Served) -> None:
    """One by its UID leads straight there; what nobody has leads nowhere."""
    browser = Browser(api, tokens=False)
    page = await browser.submit("/studies", {"study": "2.25.9"})
    assert "4 instances, 192 bytes" in page.text
    assert "No study in the spool matches." in (await browser.post("/studies", {"patient_id": "P9"})).text
    assert (await browser.get("/studies/2.25.404")).status == 404


async def test_the_configuration_in_force_is_shown_with_its_origins(api: Served) -> None:
    """Section by section; with `defaults=shown` with everything that nobody wrote."""
    browser = Browser(api, tokens=False)
    page = await browser.see("/configuration")
    assert "destinations[PACS].remote_host pacs.invalid" in page.text
    assert "router.yaml:6:" in page.text
    assert OPERATOR not in page.text
    everything = await browser.see("/configuration?defaults=shown")
    assert " default " in everything.text
    assert " default " not in page.text


# Routing


async def test_lines_are_routed_with_reasons(api: Served) -> None:
    """Each route with what was wanted and found."""
    browser = Browser(api, tokens=False)
    assert "calling_ae_title= Modality= PatientID=" in (await browser.see("/route")).text
    lines = "calling_ae_title=MR1\nModality=MR\\SR\n\nPatientID=\npeer=10.1.2.3"
    page = await browser.upload("/route", attributes=lines, file=b"")
    assert "It would go to PACS: queued RESEARCH: queued" in page.text
    assert "Modality: wanted CT, found MR \\ SR" in page.text
    assert "PatientID: wanted 1*, absent" in page.text
    page = await browser.upload("/route", attributes="Modality=SR")
    assert "It would go to no destination: held, no route takes this instance" in page.text


async def test_a_file_is_routed_without_telling_its_patient(api: Served, tmp_path: Path) -> None:
    """Lines go before what it says; values of attributes are shown only where those of patients may be."""
    content = made(1, Modality="CT", PatientID="1-DOE").write(tmp_path / "a.dcm").read_bytes()
    page = await Browser(api, tokens=False).upload("/route", attributes="", file=content)
    assert "It would go to PACS: queued" in page.text
    assert "PatientID matches" in page.text
    assert "DOE" not in page.text
    shown = Browser(api, tokens=False, show_patient=True)
    assert "found 1-DOE" in (await shown.upload("/route", attributes="", file=content)).text
    page = await shown.upload("/route", attributes="Modality=MR", file=content)
    assert "Modality: wanted CT, found MR" in page.text


REFUSED_LINES = {
    "Modality": "line 1 is not like Modality=CT",
    "Modality=CT\nmodality=CT": "line 2 begins with neither a DICOM keyword nor calling_ae_title",
    "peer=pacs": "line 1: the peer is an address",
    "Modality=CT\n" * 201: "there are more than 200 lines",
}


async def test_what_says_nothing_or_too_much_is_refused(api: Served) -> None:
    """Lines, with their number; files that are none; forms beyond their bounds or of another kind."""
    browser = Browser(api, tokens=False)
    for lines, sentence in REFUSED_LINES.items():
        page = await browser.upload("/route", attributes=lines)
        assert page.status == 422
        assert sentence in page.text
    page = await browser.upload("/route", attributes="", file=b"no DICOM")
    assert page.status == 422
    assert "the file is not a DICOM Part 10 file" in page.text
    assert (await browser.upload("/route", file=bytes((8 << 20) + 1))).status == 413
    assert (await browser.post("/route", {"attributes": "Modality=CT"})).status == 422
    assert (await browser.post("/studies", {f"f{number}": 1 for number in range(2001)})).status == 413


async def test_a_payload_of_the_spool_knows_who_sent_it(api: Served) -> None:
    """Unless lines say otherwise."""
    envelope = Envelope("MR1", "ROUTER", "192.0.2.7", 40123, "a1", NOON)
    content = part10.head(made(1).identity, envelope).content + made(1, Modality="MR").dataset
    browser = Browser(api, tokens=False)
    page = await browser.upload("/route", attributes="", file=content)
    assert "sent to ROUTER by MR1 at 192.0.2.7" in page.text
    page = await browser.upload("/route", attributes="calling_ae_title=CT1\npeer=10.1.2.3", file=content)
    assert "sent to ROUTER by CT1 at 10.1.2.3" in page.text


async def test_a_queue_that_cannot_be_read_is_a_page_too(api: Served) -> None:
    """With the queue's own sentence."""
    await in_thread(api.world.desk.close)
    page = await Browser(api, tokens=False).get("/")
    assert (page.status, "is not open" in page.text) == (503, True)


# Orders


async def test_what_changes_something_is_offered_to_operators_alone(api: Served) -> None:
    """Others see no button; and a form of theirs is refused, in words."""
    await in_trouble(api)
    # The reader comes last: the tokens of whom the API knows are those of the latest.
    nobody, reader = Browser(api, tokens=False), Browser(api)
    await reader.log_in(READER)
    for browser in (nobody, reader):
        for url in ("/", "/queue", "/deliveries/2", "/destinations/PACS"):
            page = await browser.see(url)
            assert {each["action"] for each in page.all("form") if each["method"] == "post"} <= {"/logout"}
            assert not any(each.get("name") == "order" for each in page.all("button"))
    refused = await reader.post("/queue", {"order": "retry", "which": "ticked", "deliveries": 2})
    assert refused.status == 403, refused.headers
    assert "the role of this token is read" in refused.text
    assert await state_of(api, 2) is State.DEAD


async def test_dead_letters_are_retried_elsewhere_and_otherwise(api: Served) -> None:
    """All that match a filter, or those that are ticked; the page that follows says how many."""
    browser = Browser(api)
    await browser.log_in()
    form = {"order": "retry", "which": "all", "destination": "PACS", "state": "dead", "then": "/queue?state=dead"}
    page = await browser.submit("/queue", form)
    assert "Due now: 1 delivery." in page.text
    assert await state_of(api, 2) is State.QUEUED
    ticked = {"order": "retry", "which": "ticked", "deliveries": [1, 4], "to": "RESEARCH", "strategy": "universal"}
    assert "Due now: 2 deliveries." in (await browser.submit("/queue", ticked)).text
    assert await api.numbers(destination="RESEARCH") == [1, 3, 4]


async def test_deliveries_are_held_resumed_and_sent_again(api: Served) -> None:
    """And what makes no sense is refused."""
    browser = Browser(api)
    await browser.log_in()
    await browser.submit("/queue", {"order": "hold", "which": "ticked", "deliveries": [1, 3], "then": "/"})
    assert await state_of(api, 1) is State.HELD
    page = await browser.submit("/queue", {"order": "resume", "which": "ticked", "deliveries": [1, 2], "then": "/"})
    assert "Due now: 1 of 2 deliveries." in page.text
    await api.world.queue.interventions.drop([2], NOON)
    page = await browser.submit("/queue", {"order": "resend", "which": "ticked", "deliveries": 2, "to": "RESEARCH"})
    assert "To be sent again: 1 delivery." in page.text
    for form in ({"order": "resume", "which": "ticked"}, {"order": "burn", "destination": "PACS"}, {"order": "hold"}):
        assert (await browser.post("/queue", form)).status == 422


async def test_only_orders_that_make_sense_are_offered(api: Served) -> None:
    """For what is in this state."""
    browser = Browser(api)
    await browser.log_in()
    claim = await api.world.queue.claim("RESEARCH", "test", Wanted(1), NOON)
    await api.world.queue.interventions.drop([1], NOON)
    offered = {
        url: [each["value"] for each in (await browser.see(url)).all("button") if each.get("name") == "order"]
        for url in ("/deliveries/1", "/deliveries/2", f"/deliveries/{claim.deliveries[0].id}", "/queue?state=held")
    }
    assert list(offered.values()) == [["resend"], ["retry", "drop"], [], ["retry", "resume"]]


async def test_what_is_dropped_is_confirmed_by_name(api: Served) -> None:
    """The destination's, or that there is no route."""
    browser = Browser(api)
    await browser.log_in()
    assert "Type no route to confirm" in (await browser.see("/deliveries/4")).text
    form = {"order": "drop", "which": "all", "destination": "PACS", "state": "dead"}
    for confirm in ("", "pacs", "RESEARCH"):
        refused = await browser.post("/queue", {**form, "confirm": confirm})
        assert refused.status == 422
        assert "type PACS to confirm it; nothing was changed" in refused.text
    refused = await browser.post("/queue", {"order": "drop", "which": "all", "state": "dead", "confirm": ""})
    assert "filter by their destination first" in refused.text
    assert await state_of(api, 2) is State.DEAD
    assert "Given up for good: 1 delivery." in (await browser.submit("/queue", {**form, "confirm": "PACS"})).text
    form = {"order": "drop", "which": "ticked", "deliveries": "4", "destination": "(none)", "confirm": "no route"}
    await browser.submit("/queue", form)
    assert [await state_of(api, number) for number in (1, 2, 4)] == [State.QUEUED, State.DROPPED, State.DROPPED]


async def test_a_destination_is_paused_resumed_and_tried(api: Served) -> None:
    """Step by step, as far as it comes."""
    browser = Browser(api)
    await browser.log_in()
    page = await browser.submit("/destinations/PACS/pause", {})
    assert "The destination is paused." in page.text
    assert await api.world.queue.standings.paused("PACS")
    assert "/destinations/PACS/resume" in {each["action"] for each in page.all("form")}
    assert "The destination goes on." in (await browser.submit("/destinations/PACS/resume", {})).text
    assert api.forwarders["PACS"].orders == ["pause", "retry now", "resume"]
    page = await browser.post("/destinations/PACS/test", {})
    assert "DNS failed 'pacs.invalid' has no address" in page.text
    scripted = api.forwarders["PACS"]
    scripted.destination = replace(scripted.destination, local_ae_title=None)
    page = await browser.post("/destinations/PACS/test", {})
    assert "PACS_SCP at pacs.invalid:104, called as ROUTER. No object was sent." in page.text
    assert (await browser.post("/destinations/NOBODY/pause", {})).status == 404


async def test_no_form_leads_to_another_site(api: Served) -> None:
    """Wherever it says that it came from."""
    browser = Browser(api)
    for then in ("//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:alert(1)"):
        assert (await browser.log_in(then=then)).headers["location"] == "/"
    answer = await browser.post("/queue", {"order": "hold", "which": "ticked", "deliveries": 1, "then": "//evil"})
    assert answer.headers["location"] == "/?done=hold&changed=1&matched=1"
    assert "49" not in (await browser.see("/?done=<b>7</b>&changed={{7*7}}&matched=x")).text


# Logging in


async def test_whoever_has_no_session_is_led_to_the_form_and_back(api: Served) -> None:
    """Also by htmx, which would follow a redirect out of sight."""
    browser = Browser(api)
    answer = await browser.get("/queue?state=dead")
    assert (answer.status, answer.headers["location"]) == (303, "/login?then=%2Fqueue%3Fstate%3Ddead")
    answer = await browser.get("/", hx_request="true")
    assert (answer.status, answer.headers["hx-redirect"]) == (401, "/login?then=%2F")
    refused = await browser.log_in("wrong-0123456789")
    assert refused.status == 403
    assert "is not one of this router's" in refused.text
    answer = await browser.log_in(then="/queue")
    assert (answer.status, answer.headers["location"]) == (303, "/queue")
    assert {"HttpOnly", "SameSite=strict"} <= {each.strip() for each in answer.headers["set-cookie"].split(";")}
    assert "Secure" not in answer.headers["set-cookie"]
    assert OPERATOR not in answer.headers["set-cookie"]
    await browser.see("/queue")


async def test_behind_tls_the_cookie_stays_there(api: Served) -> None:
    """As the browser says that it is so."""
    answer = await Browser(api).post("/login", {"token": OPERATOR}, origin="https://localhost:8080")
    assert "Secure" in answer.headers["set-cookie"]


async def test_a_session_ends(api: Served) -> None:
    """With a logout, with its token, after a shift, and when too many came after it."""
    browser = Browser(api)

    async def logged_in() -> bool:
        return (await browser.get("/")).status == 200

    await browser.log_in()
    cookie = dict(browser.cookies)
    await browser.post("/logout", {})
    assert not await logged_in()
    browser.cookies = cookie
    assert not await logged_in(), "whoever kept the cookie"
    Browser(api, tokens=False)
    browser.guard.settings = replace(browser.guard.settings, tokens=())
    assert "Read only" in (await browser.see("/")).text, "a cookie is no login"
    browser.guard.settings = Browser(api).guard.settings
    await browser.log_in()
    api.world.clock.advance(LASTS)
    assert not await logged_in()
    await browser.log_in()
    for _ in range(MOST):
        assert api.sessions.begin(OPERATOR)
    assert not await logged_in()
    await browser.log_in()
    assert await logged_in()
    Browser(api, tokens=False)
    assert not await logged_in(), "the token is gone"


async def test_without_tokens_the_form_says_what_to_do(api: Served) -> None:
    """Nobody can log in."""
    browser = Browser(api, tokens=False)
    assert "This router knows no tokens" in (await browser.see("/login")).text
    assert (await browser.log_in()).status == 403


async def test_another_site_cannot_use_the_session(api: Served) -> None:
    """Its forms are refused, whatever cookie comes with them."""
    browser = Browser(api)
    await browser.log_in()
    form = {"order": "retry", "which": "ticked", "deliveries": 2}
    for headers in ({"origin": "http://evil.example"}, {"sec_fetch_site": "same-site"}):
        assert (await browser.post("/queue", form, **headers)).status == 403
    assert await state_of(api, 2) is State.DEAD


# Peers


async def test_nothing_from_a_peer_becomes_markup(api: Served) -> None:
    """Names, AE titles, UIDs, errors: all of it is text, on every page."""
    # A name has no slash: the configuration sees to that, and to the rest of it as well.
    name = HOSTILE.replace("/", "")
    api.forwarders[name] = Scripted(name)
    api.activity.configure(api.forwarders)
    await api.world.queue.standings.configured(dict.fromkeys(api.forwarders), NOON)
    await in_trouble(api, name, error=HOSTILE)
    for order in (Order(name), Order(name, State.HELD, Cause.LOOP, HOSTILE)):
        await api.world.accepted(order, calling=HOSTILE, sop_instance=HOSTILE, study=HOSTILE, accession_number=HOSTILE)
    learned = {(HOSTILE, HOSTILE): Seen.ACCEPTED}
    await api.world.queue.capabilities.learn(name, learned, NOON)
    browser = Browser(api, show_patient=True)
    await browser.log_in()
    overview = await browser.see("/")
    links = [url for url in overview.links() if "script" in url]
    pages = [overview, *[await browser.see(url) for url in (*links, "/queue", "/deliveries/5", "/studies")]]
    pages.append(await browser.upload("/route", attributes=f"PatientID={HOSTILE}\ncalling_ae_title={HOSTILE}"))
    strange = (f"/queue?study={HOSTILE[:9]}", f"/deliveries/{HOSTILE}", "/destinations/<script>", "/login?then=/<b>")
    pages += [await browser.get(url) for url in strange]
    for page in pages:
        _harmless(page)
    assert sum(HOSTILE in page.text for page in pages) >= 5


def _harmless(page: Answer) -> None:
    assert not page.all("img")
    assert not page.all("b")
    assert "{{" not in page.content.decode().replace("{{ 7*7 }}", "")
    assert all(set(each) == {"src", "defer"} for each in page.all("script"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for url in page.links():
        assert url.startswith("/")
        assert not url.startswith("//")


# Files and words


async def test_files_are_given_to_everybody_and_kept(api: Served) -> None:
    """Their names change with their content; no name becomes a path."""
    browser = Browser(api)
    page = await browser.see("/login")
    files = [each["src"] for each in page.all("script")] + [each["href"] for each in page.all("link")]
    assert len(files) == 4
    for url in files:
        answer = await browser.get(url)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
    for name in ("VENDORED.md", "..%2Frow.py", "%2Fetc%2Fpasswd"):
        assert (await browser.get(f"/static/{name}")).status in {401, 404}


def test_amounts_read_well() -> None:
    """In units that people use."""
    assert [size(each) for each in (0, 999, 1000, 12_345, 1_400_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "12 kB",
        "1.4 GB",
    ]
    spans = (timedelta(seconds=-3), timedelta(seconds=59), timedelta(minutes=7), timedelta(hours=3, minutes=20))
    assert [span(each) for each in (*spans, timedelta(days=2, hours=4))] == [
        "0 s",
        "59 s",
        "7 min",
        "3 h 20 min",
        "2 d 4 h",
    ]
    assert advice("Run `a<b`; then <go>") == "Run <code>a&lt;b</code>; then &lt;go&gt;"
