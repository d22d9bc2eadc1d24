"""What a configuration file means, and what it means when nothing is written."""

import socket
from collections.abc import Callable
from datetime import time, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import keyword_dict

from router.model.delivery import Priority
from router.model.destination import (
    AssociationPer,
    BackOff,
    Destination,
    Duplicates,
    ProposeStored,
    Retry,
    Ruling,
    SendDeadlines,
    StatusRule,
    Strategy,
    Window,
)
from router.rules.acceptance import (
    Allowed,
    Listener,
    Prefer,
    ReceiveDeadlines,
    Truncated,
    UnknownSOPClasses,
)
from router.rules.conditions import AllOf, AnyOf, Between, Like, Matches, Not, PeerWithin
from router.rules.routing import Route, Target, Unrouted
from router.settings import (
    Configuration,
    ConfigurationError,
    HistorySettings,
    HttpSettings,
    Level,
    LogFormat,
    LogSettings,
    LogUIDs,
    Reserve,
    destination,
    load,
    schema,
)

pytestmark = pytest.mark.unit

CONFIG = Path(__file__).parents[2] / "config"
DESTINATION = "destinations: [{name: PACS, remote_ae_title: PACS_SCP, remote_host: pacs, remote_port: 104}]\n"
Read = Callable[..., Configuration]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load a configuration from its text, with further files beside it."""

    def read(text: str, environment: dict[str, str] | None = None, **files: str) -> Configuration:
        path = tmp_path / "router.yaml"
        path.write_bytes(text.encode())
        (tmp_path / "destinations").mkdir(exist_ok=True)
        for name, content in files.items():
            (tmp_path / "destinations" / f"{name}.yaml").write_text(content)
        return load(path, environment=environment or {})

    return read


def test_samples() -> None:
    """The commented samples are a configuration that works, four PACS in files of their own, without a warning."""
    configuration = load(CONFIG / "router.yaml", environment={}, known_keywords=frozenset(keyword_dict))
    names = [destination.name for destination in configuration.destinations]
    assert names == ["MAIN_PACS", "RESEARCH", "STANDBY", "WORKSTATION"]
    assert configuration.destinations[3].local_ae_title is None
    assert len(configuration.routes) == 4
    assert configuration.tests == 2
    assert configuration.warnings == ()
    assert (CONFIG / "router.yaml").read_text().startswith("# yaml-language-server: $schema=router.schema.json\n")


def test_commented_lines_of_the_samples_are_the_defaults(tmp_path: Path) -> None:
    """Each key that the sample shows as a comment may be uncommented, and changes nothing."""
    folder = tmp_path / "destinations"
    folder.mkdir()
    for sample in ("router.yaml", "destinations/main_pacs.yaml"):
        lines = (CONFIG / sample).read_text().splitlines()
        shown = [line.replace("# ", "", 1) if _shows_a_default(line) else line for line in lines]
        assert shown != lines
        (tmp_path / sample).write_text("\n".join(shown))
    for other in ("research.yaml", "standby.yaml", "workstation.yaml"):
        (folder / other).write_text((CONFIG / "destinations" / other).read_text())
    written = load(CONFIG / "router.yaml", environment={"RUNTIME_DIRECTORY": "/run/dicom-router"})
    assert load(tmp_path / "router.yaml", environment={}) == written


def _shows_a_default(line: str) -> bool:
    key = line.strip().removeprefix("# ").partition(":")[0]
    return line.strip().startswith("# ") and key.replace("_", "").isalpha() and key != "destinations"


def test_defaults(read: Read) -> None:
    """One destination is enough: everything else has a default, and the listener is closed."""
    configuration = read(DESTINATION)
    assert configuration.listeners == (Listener(name="0.0.0.0:11112"),)
    assert configuration.destinations == (Destination("PACS", "PACS_SCP", "pacs", 104),)
    assert configuration.spool.directory == Path("/var/lib/dicom-router")
    assert configuration.spool.reserve == Reserve(part=0.05)
    assert configuration.spool.keep_delivered == timedelta(hours=24)
    assert configuration.history == HistorySettings(timedelta(days=90), 2 << 30)
    assert [route.to for route in configuration.routes] == [(Target(("PACS",)),)]
    assert configuration.unrouted is Unrouted.HOLD
    assert configuration.log == LogSettings(Level.INFO, LogFormat.AUTO, LogUIDs.HASH)
    assert configuration.http == HttpSettings("127.0.0.1", 8080, enabled=False)
    assert configuration.socket == Path("/var/lib/dicom-router/dicom-router.sock")
    assert configuration.drain == timedelta(seconds=60)
    (warning,) = configuration.warnings
    assert "nobody can send" in warning


def test_listener(read: Read) -> None:
    """Every key of a listener."""
    text = """
        listen:
          name: CT hall
          ae_titles: [ROUTER, ROUTER_CT]
          host: 127.0.0.1
          port: 104
          allow:
            - {ae_title: CT1, hosts: [10.1.0.0/16, 192.0.2.1]}
            - {ae_title: "MR*"}
            - {hosts: "2001:db8::/32"}
          max_associations: 10
          max_associations_per_host: 3
          prefer: native
          unknown_sop_classes: refuse
          truncated: accept
          deadlines: {request: 1s, pdu: 500ms, between_pdus: 1.5m, idle: 1h}
        """
    (listener,) = read(text.replace("\n        ", "\n") + DESTINATION).listeners
    assert listener == Listener(
        name="CT hall",
        ae_titles=("ROUTER", "ROUTER_CT"),
        host="127.0.0.1",
        port=104,
        allow=(
            Allowed("CT1", (ip_network("10.1.0.0/16"), ip_network("192.0.2.1"))),
            Allowed("MR*"),
            Allowed(hosts=(ip_network("2001:db8::/32"),)),
        ),
        max_associations=10,
        max_associations_per_host=3,
        prefer=Prefer.NATIVE,
        unknown_sop_classes=UnknownSOPClasses.REFUSE,
        truncated=Truncated.ACCEPT,
        deadlines=ReceiveDeadlines(
            timedelta(seconds=1), timedelta(milliseconds=500), timedelta(seconds=90), timedelta(hours=1)
        ),
    )


def test_several_listeners(read: Read) -> None:
    """`listen` may be a list; `ae_titles: any` answers to every called AE title; one title needs no list."""
    text = "listen: [{port: 104, ae_titles: any, allow_any: true}, {port: 105, ae_titles: B, allow_any: true}]\n"
    configuration = read(text + DESTINATION)
    assert [listener.ae_titles for listener in configuration.listeners] == [None, ("B",)]
    assert configuration.warnings == ()


def test_allow_beside_allow_any_is_warned_of(read: Read) -> None:
    """Who wrote both may believe that `allow` still protects."""
    (warning,) = read("listen: {allow_any: true, allow: [{ae_title: CT1}]}\n" + DESTINATION).warnings
    assert "`allow` means nothing" in warning


@pytest.mark.parametrize(
    "title", ["ON", "NO", "0104", "1e5", "0x1F", "1_000", "2026-01-31", "true", ".inf", "CT 1", "'~'"]
)
def test_ae_titles_stay_text(read: Read, title: str) -> None:
    """What YAML would make a truth, a number or a date of is a legal AE title, in file and conditions."""
    destination = f"destinations: [{{name: PACS, remote_ae_title: {title}, remote_host: pacs, remote_port: 104}}]\n"
    text = f"listen: {{ae_title: {title}}}\nroutes: [{{when: {{calling_ae_title: {title}}}, to: PACS}}]\n{destination}"
    configuration = read(text)
    written = title.strip("'")
    assert configuration.listeners[0].ae_titles == (written,)
    assert configuration.destinations[0].remote_ae_title == written
    assert configuration.routes[0].when == Matches("calling_ae_title", (Like(written),))


def test_destination(read: Read) -> None:
    """Every key of a destination, in a file of its own."""
    one = """
name: MAIN
remote_ae_title: PACS_SCP
remote_host: "2001:db8::1"
remote_port: 11112
local_ae_title: received
transfer_syntax_strategy: compression
max_association_retries: 0
max_associations: 4
max_instances_per_association: 500
bandwidth: 10MB/s
only: [Mon-Fri 19:00-06:00, "Sat,Sun 00:00-24:00"]
association_per: study
wait_for_quiet: 60s
propose_stored: never
duplicate_is_delivered: true
duplicates: once
duplicate_window: 12h
quota: 50GiB
best_effort: true
statuses: {0110: next strategy, A700: refuse, C000-CFFF: defer, "0124": bury, 0122: stored}
allow_return: true
renamed_from: OLD
back_off: {initial: 1s, maximum: 2m}
retry: {initial: 10s, maximum: 1h, give_up_after: 14d}
deadlines: {connect: 5s, association: 6s, response: 7s, linger: 8s}
"""
    assert read("", main=one).destinations == (
        Destination(
            name="MAIN",
            remote_ae_title="PACS_SCP",
            remote_host="2001:db8::1",
            remote_port=11112,
            local_ae_title=None,
            transfer_syntax_strategy=Strategy.COMPRESSION,
            max_association_retries=0,
            max_associations=4,
            max_instances_per_association=500,
            max_bytes_per_second=10_000_000,
            only=(
                Window(frozenset({0, 1, 2, 3, 4}), time(19), time(6)),
                Window(frozenset({5, 6}), time(), time()),
            ),
            association_per=AssociationPer.STUDY,
            wait_for_quiet=timedelta(minutes=1),
            propose_stored=ProposeStored.NEVER,
            duplicate_is_delivered=True,
            duplicates=Duplicates.ONCE,
            duplicate_window=timedelta(hours=12),
            quota=50 * 1024**3,
            best_effort=True,
            status_rules=(
                StatusRule(0x0110, 0x0110, Ruling.NEXT_STRATEGY),
                StatusRule(0xA700, 0xA700, Ruling.REFUSE),
                StatusRule(0xC000, 0xCFFF, Ruling.DEFER),
                StatusRule(0x0124, 0x0124, Ruling.BURY),
                StatusRule(0x0122, 0x0122, Ruling.STORED),
            ),
            allow_return=True,
            renamed_from="OLD",
            back_off=BackOff(timedelta(seconds=1), timedelta(minutes=2)),
            retry=Retry(timedelta(seconds=10), timedelta(hours=1), timedelta(days=14)),
            deadlines=SendDeadlines(
                timedelta(seconds=5), timedelta(seconds=6), timedelta(seconds=7), timedelta(seconds=8)
            ),
        ),
    )


def test_destinations_in_files_join_those_in_the_main_file(read: Read, tmp_path: Path) -> None:
    """In order of the files' names, each named after its file unless it says otherwise; hidden files are not read."""
    seed = "remote_ae_title: X\nremote_host: x\nremote_port: 104\n"
    (tmp_path / "destinations").mkdir()
    (tmp_path / "destinations" / ".b.yaml").write_text("not: [a, destination")
    (tmp_path / "destinations" / "README.txt").write_text("not a destination")
    configuration = read(DESTINATION + "routes: [{to: [PACS, b, OTHER]}]\n", c=f"name: OTHER\n{seed}", b=seed)
    assert [destination.name for destination in configuration.destinations] == ["PACS", "b", "OTHER"]


def test_a_list_of_transfer_syntaxes_stands_in_place_of_a_strategy(read: Read) -> None:
    """By UID or by name."""
    text = DESTINATION.replace("}]", ", transfer_syntaxes: [RLE lossless, 1.2.840.10008.1.2.1], never_convert: true}]")
    (pacs,) = read(text).destinations
    assert pacs.transfer_syntax_strategy is Strategy.LISTED
    assert pacs.transfer_syntaxes == ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1")
    assert pacs.never_convert


def test_one_destination_from_a_mapping_of_python() -> None:
    """As scripts give it: numbers are numbers, and the remote AE title serves as its name."""
    written = {"remote_ae_title": "PACS", "remote_host": "pacs", "remote_port": 104, "retry": {"initial": "3s"}}
    assert destination(written, origin="config") == Destination(
        "PACS", "PACS", "pacs", 104, retry=Retry(initial=timedelta(seconds=3))
    )
    with pytest.raises(ConfigurationError, match=r"remote_prt.*no such key(.|\n)*did you mean remote_port"):
        destination({**written, "remote_prt": None}, origin="config")


def test_the_four_keys_of_the_seed_are_enough(read: Read) -> None:
    """A file with name, AE title, host and port is a destination; the two further keys have their place."""
    seed = "name: ROBUST_PACS\nremote_ae_title: PACS_SCP\nremote_host: 192.168.1.100\nremote_port: 11112\n"
    assert read("", pacs=seed).destinations == (Destination("ROBUST_PACS", "PACS_SCP", "192.168.1.100", 11112),)
    more = seed + "transfer_syntax_strategy: standard\nmax_association_retries: 2\n"
    (destination,) = read("", pacs=more).destinations
    assert destination.transfer_syntax_strategy is Strategy.STANDARD
    assert destination.max_association_retries == 2


def test_routes(read: Read) -> None:
    """Every form of a condition."""
    text = """
routes:
  - name: first
    when:
      calling_ae_title: "CT*"
      called_ae_title: [ROUTER, ROUTER_CT]
      peer: [10.1.0.0/16, "::1"]
      Modality: [CT, PT]
      InstanceNumber: {from: 1, to: 5.5}
      StudyDate: {from: 2026-01-31}
      Rows: [{to: 64}, 512]
      not: {Modality: SR, BodyPartExamined: HEAD}
      any: [{PatientSex: F}, {PatientSex: O}]
      all: [{StationName: A}, {not: [{StationName: B}, {StationName: C}]}]
    to: PACS
    stop: true
  - when: {}
    to: [PACS]
  - when: {peer: 10.0.0.1}
    to: [PACS]
"""
    first, second, third = read(text + DESTINATION).routes
    assert first == Route(
        "first",
        AllOf(
            (
                Matches("calling_ae_title", (Like("CT*"),)),
                Matches("called_ae_title", (Like("ROUTER"), Like("ROUTER_CT"))),
                PeerWithin((ip_network("10.1.0.0/16"), ip_network("::1"))),
                Matches("Modality", (Like("CT"), Like("PT"))),
                Matches("InstanceNumber", (Between(1, 5.5),)),
                Matches("StudyDate", (Between(20260131, None),)),
                Matches("Rows", (Between(None, 64), Like("512"))),
                Not(AllOf((Matches("Modality", (Like("SR"),)), Matches("BodyPartExamined", (Like("HEAD"),))))),
                AnyOf((Matches("PatientSex", (Like("F"),)), Matches("PatientSex", (Like("O"),)))),
                AllOf(
                    (
                        Matches("StationName", (Like("A"),)),
                        Not(AnyOf((Matches("StationName", (Like("B"),)), Matches("StationName", (Like("C"),))))),
                    )
                ),
            )
        ),
        (Target(("PACS",)),),
        stop=True,
    )
    assert second == Route("route 2", AllOf(()), (Target(("PACS",)),))
    assert third == Route("route 3", PeerWithin((ip_network("10.0.0.1"),)), (Target(("PACS",)),))


def test_targets_and_priorities(read: Read) -> None:
    """A name, several of which the first that works has it, or a list of both; how urgent it is."""
    text = """
destinations:
  - &pacs {name: A, remote_ae_title: A, remote_host: a, remote_port: 104}
  - {name: B, remote_ae_title: B, remote_host: b, remote_port: 104}
  - {name: C, remote_ae_title: C, remote_host: c, remote_port: 104}
routes:
  - {to: {first_of: [A, B], failover_after: 10m}, priority: urgent}
  - {to: [C, {first_of: [B, A]}], priority: bulk}
  - {to: C, priority: normal}
"""
    routes = read(text).routes
    assert [route.to for route in routes] == [
        (Target(("A", "B"), timedelta(minutes=10)),),
        (Target(("C",)), Target(("B", "A"))),
        (Target(("C",)),),
    ]
    assert [route.priority for route in routes] == [Priority.URGENT, Priority.BULK, Priority.NORMAL]


def test_every_priority_can_be_written(read: Read) -> None:
    """By its name in lower case."""
    for priority in Priority:
        (route,) = read(f"routes: [{{to: PACS, priority: {priority.name.lower()}}}]\n" + DESTINATION).routes
        assert route.priority is priority


def test_nothing_to_wait_for_is_no_waiting(read: Read) -> None:
    """`wait_for_quiet: 0s` is as if it were not there."""
    (pacs,) = read(DESTINATION.replace("}]", ", wait_for_quiet: 0s}]")).destinations
    assert pacs.wait_for_quiet is None


@pytest.mark.parametrize(
    ("written", "warning"),
    [
        ("best_effort: true", "`best_effort` means nothing without a `quota`"),
        ("duplicate_window: 1h", "`duplicate_window` means nothing without `duplicates: once`"),
        ("association_per: study, max_instances_per_association: 9", "may end an association within a study"),
        ("statuses: {A700-A7FF: defer, A701: bury}", "A701 means nothing below A700-A7FF"),
    ],
)
def test_what_means_nothing_is_warned_of(read: Read, written: str, warning: str) -> None:
    """Legal, but hardly meant."""
    (told,) = read("listen: {allow_any: true}\n" + DESTINATION.replace("}]", f", {written}}}]")).warnings
    assert told.startswith("destination PACS: ")
    assert warning in told


TESTED = """
routes:
  - {name: CT, when: {calling_ae_title: CT1, called_ae_title: ROUTER, peer: 10.0.0.0/8, Modality: CT}, to: PACS}
  - {name: rest, when: {any: [{SOPClassUID: "1.2.*"}, {ImageType: [DERIVED, SECONDARY]}]}, to: PACS}
tests:
"""


@pytest.mark.parametrize(
    "test",
    [
        "{given: {calling_ae_title: CT1, peer: 10.1.2.3, Modality: CT}, expect: PACS}",
        "{given: {calling_ae_title: CT1, peer: 10.1.2.3, Modality: CT}, expect: [PACS]}",
        "{given: {calling_ae_title: CT1, peer: 10.1.2.3, Modality: CT}, expect: {to: PACS, route: CT}}",
        "{given: {SOPClassUID: 1.2.840}, expect: {route: [rest]}}",
        "{given: {ImageType: [ORIGINAL, SECONDARY]}, expect: {to: [PACS], route: rest}}",
        "{given: {calling_ae_title: CT1, peer: 192.0.2.1, Modality: CT}, expect: unrouted}",
        "{given: {calling_ae_title: CT1, called_ae_title: X, peer: 10.1.2.3, Modality: CT}, expect: unrouted}",
        "{given: {}, expect: unrouted}",
    ],
)
def test_routing_tests_that_hold(read: Read, test: str) -> None:
    """The called AE title is the listener's if none is given; whatever else is left out is absent."""
    assert read(f"{TESTED}  - {test}\n{DESTINATION}").tests == 1


def test_a_routing_test_that_fails_is_an_error(read: Read) -> None:
    """Not run while anything else is wrong: it would fail a second time for the same reason."""
    failing = f"{TESTED}  - {{given: {{Modality: CT}}, expect: PACS}}\n"
    with pytest.raises(ConfigurationError, match="expected PACS; found unrouted"):
        read(failing + DESTINATION)
    with pytest.raises(ConfigurationError) as caught:
        read(failing + DESTINATION.replace("PACS", "PAX", 1))
    assert all("there is no destination" in problem.sentence for problem in caught.value.problems)


def test_unknown_keywords_without_a_dictionary(read: Read) -> None:
    """Without the list of keywords only their form is checked."""
    read(DESTINATION + "routes: [{when: {Modalty: CT}, to: PACS}]")
    with pytest.raises(ConfigurationError, match="did you mean calling_ae_title"):
        read(DESTINATION + "routes: [{when: {calling_aet: CT}, to: PACS}]")


def test_destination_that_no_route_uses_is_warned_of(read: Read) -> None:
    """It costs nothing, and is hardly meant."""
    other = "remote_ae_title: X\nremote_host: x\nremote_port: 104\n"
    text = "listen: {allow_any: true}\nroutes: [{to: PACS}]\n" + DESTINATION
    assert read(text, other=other).warnings == ("destination other: no route leads there",)


def test_spool_log_http_and_the_rest(read: Read, tmp_path: Path) -> None:
    """The remaining keys; a relative folder is meant from the file's folder."""
    text = """
spool: {directory: spool, reserve: 2GiB, keep_delivered: 0s}
unrouted: refuse
log: {level: debug, format: json, uids: omit}
http: {host: 0.0.0.0, port: 9042, enabled: false}
socket: router.sock
drain: 5s
"""
    configuration = read(text + DESTINATION)
    assert configuration.spool.directory == tmp_path / "spool"
    assert configuration.spool.reserve.of(10**12) == 2 * 1024**3
    assert configuration.spool.keep_delivered == timedelta(0)
    assert configuration.unrouted is Unrouted.REFUSE
    assert configuration.log == LogSettings(Level.DEBUG, LogFormat.JSON, LogUIDs.OMIT)
    assert configuration.http == HttpSettings("0.0.0.0", 9042, enabled=False)
    assert configuration.socket == tmp_path / "router.sock"
    assert configuration.drain == timedelta(seconds=5)


def test_a_section_without_content_is_not_written(read: Read) -> None:
    """`spool:` with every key commented out is no error, and `routes:` neither when one destination is there."""
    assert read("spool:\nroutes:\nlisten:\n" + DESTINATION) == read(DESTINATION)


def test_socket_lies_in_the_runtime_directory(read: Read) -> None:
    """The service manager says where; of several directories the first."""
    path = read(DESTINATION, environment={"RUNTIME_DIRECTORY": "/run/a:/run/b"}).socket
    assert path == Path("/run/a/dicom-router.sock")


def test_environment_overrides(read: Read) -> None:
    """Single values outside lists, one listener among them, whether the file has the section or not."""
    environment = {
        "ROUTER__LISTEN__PORT": "10104",
        "ROUTER__LISTEN__DEADLINES__IDLE": "1m",
        "ROUTER__LISTEN__ALLOW_ANY": "true",
        "ROUTER__SPOOL__DIRECTORY": "/srv/spool",
        "ROUTER__HTTP__ENABLED": "false",
        "ROUTER__DRAIN": "1s",
        "ROUTERS": "not ours",
        "SPOOL": "not ours",
    }
    configuration = read("listen: {port: 104, ae_title: A}\nspool:\n" + DESTINATION, environment)
    (listener,) = configuration.listeners
    assert (listener.port, listener.ae_titles, listener.allow_any) == (10104, ("A",), True)
    assert listener.deadlines.idle == timedelta(minutes=1)
    assert configuration.spool.directory == Path("/srv/spool")
    assert not configuration.http.enabled
    assert configuration.drain == timedelta(seconds=1)
    assert configuration.warnings == ()


def test_nothing_else_of_the_environment_is_read(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables without our prefix mean nothing, also to the libraries below."""
    monkeypatch.setenv("UNROUTED", "refuse")
    monkeypatch.setenv("ROUTER__UNROUTED", "discard")
    assert read(DESTINATION).unrouted is Unrouted.HOLD


def test_line_ends_and_byte_order_mark(read: Read) -> None:
    """A file from a Windows editor is the same file."""
    text = "listen:\n  port: 104\n" + DESTINATION
    assert read("\ufeff" + text.replace("\n", "\r\n")) == read(text)


def test_aliases_are_fine(read: Read) -> None:
    """Anchors share what several destinations have in common."""
    text = """
destinations:
  - {name: A, remote_ae_title: A, remote_host: a, remote_port: 104, retry: &patient {give_up_after: 30d}}
  - {name: B, remote_ae_title: B, remote_host: b, remote_port: 104, retry: *patient}
routes: [{to: [A, B]}]
"""
    assert [each.retry.give_up_after.days for each in read(text).destinations] == [30, 30]


def test_file_that_is_too_large(tmp_path: Path) -> None:
    """More than a mebibyte is not a configuration, and is not parsed."""
    path = tmp_path / "router.yaml"
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="is larger than 1048576 bytes"):
        load(path, environment={})


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """A folder, a pipe or a device is refused before anything is read from it."""
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        load(tmp_path, environment={})


@pytest.mark.parametrize(
    ("listen", "host", "ours"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "127.8.8.8", True),
        ("0.0.0.0", "0.0.0.0", True),
        ("0.0.0.0", "LOCALHOST", True),
        ("0.0.0.0", socket.gethostname(), True),
        ("0.0.0.0", "192.0.2.1", False),
        ("0.0.0.0", "2001:db8::1", False),
        ("0.0.0.0", "pacs.example.org", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "192.0.2.1", False),
        ("router.example.org", "router.example.org", True),
        ("router.example.org", "192.0.2.1", False),
    ],
)
def test_our_own_listener_is_no_destination(read: Read, listen: str, host: str, ours: bool) -> None:  # noqa: FBT001
    """A destination that is one of our listeners would send every instance round and round."""
    text = f"listen: {{host: {listen}}}\nspool: {{directory: /s}}\n"
    same = f"remote_ae_title: ROUTER\nremote_host: '{host}'\nremote_port: 11112\n"
    if ours:
        with pytest.raises(ConfigurationError, match="this is our own listener"):
            read(text, pacs=same)
    else:
        read(text, pacs=same)
    read(text, pacs=same.replace("11112", "11113"))
    read(text, pacs=same.replace("ROUTER", "OTHER"))


def test_own_address_is_found_without_a_name(read: Read) -> None:
    """An address of this machine beyond loopback counts as ours when a listener is on every address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks the routing table which address would be used
        except OSError:
            pytest.skip("this machine has no address beyond loopback")
        own = probe.getsockname()[0]
    with pytest.raises(ConfigurationError, match="this is our own listener"):
        read("", pacs=f"remote_ae_title: ROUTER\nremote_host: {own}\nremote_port: 11112\n")


def test_schema_describes_every_key() -> None:
    """Each key of the file has a meaning, and a default where it may be left out, in the file's own notation."""
    described = schema()
    sections = [described, *(part for part in described["$defs"].values() if part["type"] == "object")]
    for section in sections:
        assert section["additionalProperties"] is False
        for name, key in section["properties"].items():
            # A key whose meaning is that of its section has it there alone.
            meaning = key if "description" in key else described["$defs"][key["$ref"].rpartition("/")[2]]
            assert meaning["description"], name
    assert described["properties"]["drain"]["default"] == "60s"
    assert described["$defs"]["SpoolSection"]["properties"]["reserve"]["default"] == "5%"


@given(st.text(max_size=400))
def test_any_text_is_a_configuration_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever stands in the file: a configuration, or an error that names the file; never anything else."""
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigurationError) as caught:
        load(path, environment={})
    assert all(problem.file == str(path) for problem in caught.value.problems)


_keys = st.sampled_from(
    [
        "tests",
        "given",
        "expect",
        "first_of",
        "statuses",
        "only",
        "quota",
        "listen",
        "spool",
        "routes",
        "destinations",
        "when",
        "to",
        "not",
        "any",
        "Modality",
        "from",
        "name",
        "allow",
        "hosts",
    ]
)
_scalars = st.sampled_from(["1", "true", "~", "PACS", "10.0.0.0/8", "30s", "5%", "any", "''"])
_trees = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]")
        | st.dictionaries(_keys, inner, max_size=4).map(
            lambda each: "{" + ", ".join(f"{key}: {value}" for key, value in each.items()) + "}"
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(_keys, _trees, max_size=4))
def test_any_shape_is_a_configuration_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, sections: dict[str, str]
) -> None:
    """The right keys in all the wrong places never end in anything but an error with places."""
    path = tmp_path_factory.getbasetemp() / "shape.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()))
    with pytest.raises(ConfigurationError) as caught:
        load(path, environment={}, known_keywords=frozenset({"Modality"}))
    assert all(problem.line for problem in caught.value.problems)
