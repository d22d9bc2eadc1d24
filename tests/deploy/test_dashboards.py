"""Dashboards and rules speak of metrics and labels that there are; what is provisioned fits together."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from router.journal import FIELDS

pytestmark = pytest.mark.operate

HOUSE = Path(__file__).parents[2]
DEPLOY = HOUSE / "deploy"
BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = DEPLOY / "prometheus" / "rules.yaml"

OUTSIDE = {"instance", "job", "le", "up"}
"""Labels that Prometheus itself gives, and its own metric."""


def documented() -> dict[str, set[str]]:
    """Metric → labels, as ``docs/metrics.md`` has them, which a test holds against the registry."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (HOUSE / "docs" / "metrics.md").read_text(), re.MULTILINE)
    found: dict[str, set[str]] = {}
    for name, kind, labels in rows:
        for series in [f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]:
            found[series] = set(re.findall(r"`(\w+)`", labels))
    return found


METRICS = documented()


def read(path: Path) -> Any:
    """A file of YAML, or several documents in it."""
    documents = list(YAML(typ="safe", pure=True).load_all(path))
    return documents[0] if len(documents) == 1 else documents


def expressions() -> Iterator[tuple[str, str]]:
    """Every question that is asked of Prometheus, with where it stands."""
    for board in BOARDS:
        content = json.loads(board.read_text())
        for panel in content["panels"]:
            for target in panel.get("targets", ()):
                if target["datasource"]["type"] == "prometheus":
                    yield f"{board.stem}: {panel['title']} {target['refId']}", target["expr"]
        for variable in content["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{board.stem}: ${variable['name']}", variable["definition"]
    for group in read(RULES)["groups"]:
        for rule in group["rules"]:
            yield f"rules: {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_metrics_and_their_labels_exist(place: str, expression: str) -> None:
    """None is asked for that nobody counts, nor by a label that it has not."""
    names = set(re.findall(r"\b(?:dicom_router|process)_\w+|\bup\b", expression))
    assert names, place
    for name in names - {"up"}:
        assert name in METRICS, f"{place}: there is no {name}"
    selected = re.findall(r"((?:dicom_router|process)_\w+|up)\{([^}]*)\}", expression)
    for name, selector in selected:
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert labels <= METRICS.get(name, set()) | OUTSIDE, f"{place}: {name} has no label {labels}"
    known = set().union(*(METRICS.get(name, set()) for name in names)) | OUTSIDE
    for grouped in re.findall(r"(?:\bby|\bon) \(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", grouped)) <= known, f"{place}: grouped by {grouped}"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_boards_are_whole(board: Path) -> None:
    """A fixed UID, panels that do not overlap, data sources that are variables, a name and a meaning."""
    content = json.loads(board.read_text())
    assert content["uid"] == f"dicom-router-{board.stem}"
    assert content["description"]
    variables = {each["name"] for each in content["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in content["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"].strip("${}") in variables
    assert len({panel["id"] for panel in content["panels"]}) == len(content["panels"])


def test_rules_are_all_tested() -> None:
    """Each alert has a test in which it comes; ``make deploy`` has promtool run them."""
    alerts = {rule["alert"]: rule for group in read(RULES)["groups"] for rule in group["rules"]}
    tests = read(RULES.with_name("rules.test.yaml"))["tests"]
    come = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")}
    assert come == set(alerts)
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert set(rule["annotations"]) == {"summary", "description"}, name


def test_provisioning_leads_to_the_boards() -> None:
    """The folder that Grafana reads is the one that compose mounts; both kinds of data source are there."""
    provisioning = DEPLOY / "grafana" / "provisioning"
    [provider] = read(provisioning / "dashboards" / "dashboards.yaml")["providers"]
    grafana = read(DEPLOY / "container" / "compose.yaml")["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts["../grafana/dashboards"] == provider["options"]["path"]
    assert mounts["../grafana/provisioning"] == "/etc/grafana/provisioning"
    kinds = {each["type"]: each for each in read(provisioning / "datasources" / "datasources.yaml")["datasources"]}
    services = read(DEPLOY / "container" / "compose.yaml")["services"]
    for kind in ("prometheus", "loki"):
        assert kinds[kind]["url"].split("/")[2].split(":")[0] in services


def test_logs_are_shipped_with_the_labels_that_are_asked_for() -> None:
    """Labels are few and closed: none from a peer, none per instance."""
    labels = read(DEPLOY / "vector" / "vector.yaml")["sinks"]["loki"]["labels"]
    assert set(labels) == {"application", "event", "level", "destination"}
    assert set(labels) - {"application"} <= {*FIELDS}
    asked: list[Mapping[str, Any]] = [
        target
        for board in BOARDS
        for panel in json.loads(board.read_text())["panels"]
        for target in panel.get("targets", ())
        if target["datasource"]["type"] == "loki"
    ]
    pages = [target["expr"] for target in asked]
    pages += re.findall(r"^(\{application=.*)$", (HOUSE / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    assert len(pages) > len(asked)
    for expression in pages:
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression.partition("}")[0])) <= set(labels), expression
