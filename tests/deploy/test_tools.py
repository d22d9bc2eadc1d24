"""What other programs say of our files: systemd-analyze, promtool, kubectl if there is one. For ``make deploy``."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_dashboards import DEPLOY, RULES, read

pytestmark = pytest.mark.operate

WORST = 2.0
"""Exposure that systemd-analyze may find, of 10."""


def run(*arguments: str | Path, folder: Path = DEPLOY) -> str:
    """What a program prints; it has to be content."""
    ended = subprocess.run(
        list(map(str, arguments)), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def promtool(*arguments: str) -> str:
    """Prometheus' own judge of files, which ``make deploy`` unpacks."""
    return run(os.environ.get("PROMTOOL", "promtool"), *arguments, folder=RULES.parent)


def test_the_unit_is_hardened() -> None:
    """By the scale of systemd itself."""
    service = DEPLOY / "systemd" / "dicom-router.service"
    judged = run("systemd-analyze", "security", "--offline=true", f"--threshold={WORST * 10:g}", service)
    assert "Overall exposure level" in judged


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """Every word of them; the program is where it would be installed."""
    program = tmp_path / "opt/dicom-router/current/bin/dicom-router"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in ("dicom-router.service", "dicom-router.socket"):
        text = (DEPLOY / "systemd" / name).read_text()
        (units / name).write_text(text.replace("=/opt/", f"={tmp_path}/opt/"))
    said = run("systemd-analyze", "verify", "--man=no", units / "dicom-router.service", units / "dicom-router.socket")
    assert "dicom-router" not in said, said


def test_rules_do_what_they_say() -> None:
    """Each alert comes when it should, and not before."""
    assert "14 rules found" in promtool("check", "rules", "rules.yaml")
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yaml")


def test_prometheus_understands_its_configuration(tmp_path: Path) -> None:
    """With its token beside it."""
    for name in ("prometheus.yaml", "rules.yaml"):
        shutil.copy(RULES.with_name(name), tmp_path)
    (tmp_path / "token").touch()
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yaml"))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="Debian has no package of kubectl")
def test_kustomize_puts_the_manifests_together() -> None:
    """All of them, with the configuration under a name that changes with it."""
    rendered = run("kubectl", "kustomize", "kubernetes")
    kinds = [line.removeprefix("kind: ") for line in rendered.splitlines() if line.startswith("kind: ")]
    declared = read(DEPLOY / "kubernetes" / "kustomization.yaml")["resources"]
    assert len(kinds) == len(declared) + 2  # two Services in one file, and the ConfigMap
    assert "name: dicom-router-" in rendered.partition("configMap:")[2]
