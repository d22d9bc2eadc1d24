"""What a configuration does, in words."""

from datetime import timedelta
from pathlib import Path

import pytest

from router.cli.explanation import duration, explanations, size
from router.settings import load

pytestmark = pytest.mark.unit

TEXT = """
listen:
  - {port: 104, ae_titles: any, allow_any: true, name: open}
  - {port: 105, ae_titles: [A, B], name: closed}
routes:
  - name: all forms
    when:
      any: [{peer: [10.0.0.0/8, 192.0.2.1]}, {Rows: {from: 1, to: 64}}]
      not: [{Modality: SR}, {any: [{Modality: PR}]}]
    to: [{first_of: [MAIN, OTHER]}, OTHER2]
    priority: urgent
unrouted: refuse
destinations:
  - name: MAIN
    remote_ae_title: MAIN
    remote_host: main
    remote_port: 104
    transfer_syntaxes: [RLE Lossless, Implicit VR Little Endian]
    duplicates: once
    duplicate_window: 90m
    quota: 500MB
    association_per: series
    only: [daily 12:00-13:30, "Mon 08:00-24:00"]
    statuses: {A700: next strategy}
  - {name: OTHER, remote_ae_title: OTHER, remote_host: other, remote_port: 104, max_instances_per_association: 1}
  - {name: OTHER2, remote_ae_title: OTHER, remote_host: other, remote_port: 105}
"""


def test_every_part_is_explained(tmp_path: Path) -> None:
    """Every form of a condition, and every limit of a destination."""
    path = tmp_path / "router.yaml"
    path.write_text(TEXT)
    words = {each.of: list(each.sentences) for each in explanations(load(path, environment={}))}
    assert words["listener open"] == ["answers to any AE title on 0.0.0.0:104", "takes instances from anybody"]
    assert words["listener closed"] == ["answers to A or B on 0.0.0.0:105", "takes instances from nobody"]
    assert words["route 'all forms'"] == [
        (
            "an instance with (its peer in 10.0.0.0/8 or 192.0.2.1 or Rows from 1 to 64) and "
            "not ((Modality SR or (Modality PR))) "
            "goes to the first of MAIN, OTHER that works, and to OTHER2 with priority urgent"
        )
    ]
    assert words["unrouted"] == ["an instance that no route takes is refused with status 0124H"]
    assert words["destination MAIN"] == [
        "MAIN at main:104, called as ROUTER over at most 2 associations",
        "proposes RLE Lossless or Implicit VR Little Endian, nothing else",
        "is sent to only daily 12:00 to 13:30 or Mon 08:00 to midnight, local time",
        "gets each series over an association of its own",
        "in trouble, is tried again after 5 seconds, then at least every 1 minute",
        (
            "an instance that fails is tried again after 5 seconds, then at least every 30 minutes; "
            "after 7 days with a working destination it is given up"
        ),
        "an instance that comes again within 90 minutes is not sent again",
        "when more than 500 MB wait for it, a warning is logged",
        "status A700H means next strategy",
    ]
    assert "gets at most 1 instance over one association" in words["destination OTHER"]


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(days=2), "2 days"),
        (timedelta(hours=25), "25 hours"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(milliseconds=1500), "1.5 seconds"),
        (timedelta(0), "0 seconds"),
    ],
)
def test_durations_are_in_their_largest_unit(span: timedelta, words: str) -> None:
    """That leaves no rest."""
    assert duration(span) == words


def test_sizes_are_as_they_were_written() -> None:
    """Binary or decimal."""
    assert [size(each) for each in (1 << 30, 10**7, 1000, 1001)] == ["1 GiB", "10 MB", "1 KB", "1001 bytes"]
