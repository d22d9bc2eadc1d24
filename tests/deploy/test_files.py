"""Units, image, compose file and manifests agree with each other and with the program: ports, names, paths, times."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from router import __version__
from router.settings import load
from tests.deploy.test_dashboards import DEPLOY, HOUSE, read

pytestmark = pytest.mark.operate

COMPOSE = read(DEPLOY / "container" / "compose.yaml")
DOCKERFILE = (DEPLOY / "container" / "Dockerfile").read_text()
UID = 10001


def unit(name: str) -> Mapping[str, list[tuple[str, str]]]:
    """Section → its assignments, in order; a key may come again."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.append((key, value))
    return sections


def manifests() -> Mapping[str, Any]:
    """Kind → manifest; of Services the one for HTTP is under its name."""
    found: dict[str, Any] = {}
    folder = DEPLOY / "kubernetes"
    for name in read(folder / "kustomization.yaml")["resources"]:
        documents = read(folder / name)
        for each in documents if isinstance(documents, list) else [documents]:
            found[each["metadata"]["name"] if each["kind"] == "Service" else each["kind"]] = each
    return found


# systemd


def test_the_unit_runs_the_program_that_is_installed() -> None:
    """Where ``deploy/install`` puts it, with its configuration, its user, and a stop that lasts as long as a drain."""
    service = dict(unit("dicom-router.service")["Service"])
    install = (DEPLOY / "install").read_text()
    assert "prefix=${PREFIX:-/opt/dicom-router}" in install
    for command in (service["ExecStart"], service["ExecReload"]):
        assert command.startswith("/opt/dicom-router/current/bin/dicom-router ")
        assert command.endswith(" --config /etc/dicom-router/router.yaml")
    assert f"useradd --system --user-group --home-dir /var/lib/{service['StateDirectory']}" in install
    assert service["User"] in install
    configuration = load(HOUSE / "config" / "router.yaml", environment={})
    assert configuration.spool.directory == Path("/var/lib") / service["StateDirectory"]
    assert float(service["TimeoutStopSec"]) > configuration.drain.total_seconds()
    assert service["RestartPreventExitStatus"] == "78"
    assert service["LoadCredential"].endswith("/etc/dicom-router/secrets")
    assert 'install -d -m 0700 "$configuration/secrets"' in install


def test_the_socket_is_the_listener_of_the_sample() -> None:
    """So that both work as they are."""
    [listening] = [value for key, value in unit("dicom-router.socket")["Socket"] if key == "ListenStream"]
    [listener] = load(HOUSE / "config" / "router.yaml", environment={}).listeners
    assert listening == f"{listener.host}:{listener.port}"


# Images


def test_the_image_has_what_the_program_needs() -> None:
    """The link ``router/cli/sample`` leads to a folder that is copied too, and nothing that is copied is ignored."""
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {source.rstrip("/") for line in copied for source in line.split()}
    assert sources == {"requirements", "pyproject.toml", "README.md", "LICENSE", "config", "router"}
    ignored = (DEPLOY / "container" / "Dockerfile.dockerignore").read_text().split()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == sources
    assert (HOUSE / "router" / "cli" / "sample").resolve() == HOUSE / "config"


def test_the_image_is_unprivileged_and_checks_itself() -> None:
    """By number, so that Kubernetes can see that it is not root; by the program, for there is nothing else in it."""
    assert f"USER {UID}:{UID}" in DOCKERFILE
    assert re.search(r'HEALTHCHECK .*\\\n\s+CMD \["dicom-router", "health"', DOCKERFILE)
    assert DOCKERFILE.count("--require-hashes") == 2
    [port] = {each.port for each in load(HOUSE / "config" / "router.yaml", environment={}).listeners}
    assert re.search(rf"^EXPOSE {port} ", DOCKERFILE, re.MULTILINE)


def test_compose_mounts_what_there_is() -> None:
    """Files of ours exist, or are made by ``secrets.sh``; volumes and networks are declared; images have versions."""
    folder = DEPLOY / "container"
    made = re.findall(r"secrets/[a-z.]+", (folder / "secrets.sh").read_text())
    for name, service in COMPOSE["services"].items():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (folder / source).exists() or source.removeprefix("./") in made, f"{name}: {source}"
            elif not source.startswith("/"):
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert "image" not in service or re.search(r":v?\d+\.\d+", service["image"]), name
    router = COMPOSE["services"]["router"]
    assert (folder / router["build"]["context"] / router["build"]["dockerfile"]).samefile(folder / "Dockerfile")
    assert router["read_only"]


def test_compose_s_router_reaches_what_is_beside_it(tmp_path: Path) -> None:
    """Its configuration is right, its PACS is Orthanc, and Prometheus finds it under a name that it answers to."""
    written = (DEPLOY / "container" / "router.yaml").read_text()
    tokens = tmp_path / "http.tokens"
    tokens.write_text("prometheus read 0123456789abcdef0123")
    tokens.chmod(0o600)
    path = tmp_path / "router.yaml"
    assert "/run/secrets/http.tokens" in written
    path.write_text(written.replace("/run/secrets/http.tokens", str(tokens)))
    configuration = load(path, environment={})
    [orthanc] = configuration.destinations
    service = COMPOSE["services"][orthanc.remote_host]
    assert service["environment"]["ORTHANC__DICOM_AET"] == orthanc.remote_ae_title
    assert service["environment"]["ORTHANC__DICOM_PORT"] == str(orthanc.remote_port)
    [scrape] = read(DEPLOY / "prometheus" / "prometheus.yaml")["scrape_configs"]
    [target] = scrape["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in COMPOSE["services"]
    assert (host in configuration.http.allowed_hosts, int(port)) == (True, configuration.http.port)
    published = {each.rpartition(":")[2] for each in COMPOSE["services"]["router"]["ports"]}
    assert published == {str(configuration.listeners[0].port), port}
    rules = read(DEPLOY / "prometheus" / "prometheus.yaml")["rule_files"]
    assert f"../prometheus/{rules[0]}:/etc/prometheus/{rules[0]}:ro" in COMPOSE["services"]["prometheus"]["volumes"]


def test_secrets_are_for_those_who_read_them(tmp_path: Path) -> None:
    """One token in two files, each for one user alone; a second run changes nothing."""
    script = tmp_path / "secrets.sh"
    script.write_bytes((DEPLOY / "container" / "secrets.sh").read_bytes())
    seen = set()
    for _ in range(2):
        ended = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
        tokens, token = tmp_path / "secrets" / "http.tokens", tmp_path / "secrets" / "prometheus.token"
        if ended.returncode:
            assert "run this as root" in ended.stderr
            assert not tokens.exists()
            return
        assert tokens.read_text() == f"prometheus read {token.read_text()}\n"
        assert (tokens.stat().st_uid, token.stat().st_uid) == (UID, 65534)
        assert {tokens.stat().st_mode & 0o777, token.stat().st_mode & 0o777} == {0o600}
        seen.add(token.read_text())
    assert len(seen) == 1


# Kubernetes


def test_manifests_select_the_router() -> None:
    """An empty selector would be every Pod of the namespace."""
    found = manifests()
    pod = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["StatefulSet"]["spec"]["selector"]["matchLabels"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        found["dicom-router"]["spec"]["selector"],
        found["dicom-router-dicom"]["spec"]["selector"],
    ]
    assert selectors == [pod] * 5
    monitored = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= found["dicom-router"]["metadata"]["labels"].items()
    assert "labels" not in found["dicom-router-dicom"]["metadata"]
    assert found["StatefulSet"]["spec"]["serviceName"] in found


def test_manifests_agree_on_ports_and_volumes(tmp_path: Path) -> None:
    """Ports have one name everywhere, what is mounted is a volume, and the configuration fits all of it."""
    found = manifests()
    spec = found["StatefulSet"]["spec"]["template"]["spec"]
    [router] = spec["containers"]
    ports = {each["name"]: each["containerPort"] for each in router["ports"]}
    named = [
        each["targetPort"] for name in ("dicom-router", "dicom-router-dicom") for each in found[name]["spec"]["ports"]
    ]
    named += [router[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    named += [port["port"] for rule in found["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
    assert set(named) == set(ports)
    assert {each["port"] for each in found["ServiceMonitor"]["spec"]["endpoints"]} <= {"http"}
    volumes = {each["name"] for each in (*spec["volumes"],)}
    volumes |= {each["metadata"]["name"] for each in found["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    mounts = {each["name"]: each["mountPath"] for each in router["volumeMounts"]}
    assert set(mounts) == volumes
    tokens = tmp_path / "http.tokens"
    tokens.write_text("prometheus read 0123456789abcdef0123")
    tokens.chmod(0o440)
    written = (DEPLOY / "kubernetes" / "router.yaml").read_text()
    assert f"{mounts['tokens']}/http.tokens" in written
    path = tmp_path / "router.yaml"
    path.write_text(written.replace(mounts["tokens"], str(tmp_path)))
    configuration = load(path, environment={})
    assert (configuration.listeners[0].port, configuration.http.port) == (ports["dicom"], ports["http"])
    assert str(configuration.spool.directory) == mounts["spool"]
    assert spec["terminationGracePeriodSeconds"] > configuration.drain.total_seconds()
    assert router["image"] == f"dicom-router:{__version__}"
    egress = {each["ports"][0]["port"] for each in found["NetworkPolicy"]["spec"]["egress"]}
    assert {each.remote_port for each in configuration.destinations} <= egress


def test_the_pod_is_unprivileged() -> None:
    """The user of the image, one replica for one spool, nothing to write but what is mounted."""
    found = manifests()["StatefulSet"]["spec"]
    spec = found["template"]["spec"]
    assert found["replicas"] == 1
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == UID
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
