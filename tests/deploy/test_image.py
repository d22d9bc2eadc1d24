"""What the image and the installation contain, built from the locks and run as they would be. For root; minutes.

There is no Docker here: the Dockerfile's own commands make ``/opt/dicom-router`` in an empty root, which is read-only
when the program runs in it as user 10001, with the mounts of ``compose.yaml`` and without any capability.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router import __version__
from tests.daemon.conftest import FreePort, Pacses
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.waiting import until
from tests.deploy.test_dashboards import HOUSE
from tests.deploy.test_files import DOCKERFILE, UID

pytestmark = [pytest.mark.operate, pytest.mark.timeout(900)]

PYTHON = "/usr/bin/python3"
"""In place of the base image's."""

ENTER = """
set -eu
root=$1; shift
mount -t tmpfs none "$root"
cd "$root"
mkdir -p usr etc/dicom-router opt proc dev tmp var/lib/dicom-router run/dicom-router
for link in bin lib lib64 sbin; do ln -s usr/$link $link; done
mount --rbind -o ro /usr usr
mount --bind "$OPT" opt
mount --bind "$SPOOL" var/lib/dicom-router
mount --bind "$CONFIGURATION" etc/dicom-router
mount -t proc proc proc
mount -t tmpfs -o uid=10001,gid=10001,mode=0750 none run/dicom-router
mount -t tmpfs -o mode=1777 none tmp
touch dev/null && mount --bind /dev/null dev/null
touch dev/urandom && mount --bind /dev/urandom dev/urandom
for each in usr opt etc/dicom-router .; do mount -o remount,bind,ro "$root/$each"; done
exec chroot "$root" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all \
    /usr/bin/env -i PATH=/opt/dicom-router/bin:/usr/bin ROUTER_CONFIG=/etc/dicom-router/router.yaml \
    RUNTIME_DIRECTORY=/run/dicom-router PYTHONDONTWRITEBYTECODE=1 "$@"
"""


def dockerfile_commands() -> str:
    """The commands of the stage that builds, one a line."""
    stage = DOCKERFILE.partition("AS build")[2].partition("\nFROM ")[0].replace("\\\n", " ")
    return "\n".join(f" {command}" for command in re.findall(r"^RUN (.*)$", stage, re.MULTILINE))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``/opt`` of the image."""
    place = tmp_path_factory.mktemp("image")
    (place / "source").mkdir()
    copied = ["config", "requirements", "router", "pyproject.toml", "README.md", "LICENSE"]
    subprocess.run(["cp", "-a", *(str(HOUSE / each) for each in copied), str(place / "source")], check=True)
    commands = re.sub(r"(?<= )/(build|wheel)", rf"{place}/\1", dockerfile_commands())
    # A virtual environment knows its own path: it is made where it will be, in a namespace of its own.
    script = f"""set -eu
mkdir -p {place}/opt
mount --bind {place}/opt /opt
cd {place}/source
python() {{ {PYTHON} "$@"; }}
{commands}
"""
    subprocess.run(["unshare", "--mount", "bash", "-c", script], check=True, stdout=subprocess.DEVNULL)
    return place / "opt"


@contextmanager
def inside(image: Path, folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a container."""
    environment = {
        **os.environ,
        "OPT": str(image),
        "SPOOL": str(folder / "spool"),
        "CONFIGURATION": str(folder / "configuration"),
    }
    (folder / "root").mkdir(exist_ok=True)
    arguments = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", ENTER, "enter"]
    with subprocess.Popen(
        [*arguments, str(folder / "root"), *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_program_runs_in_the_image(image: Path, tmp_path: Path, pacs: Pacses, free_port: FreePort) -> None:
    """It receives, converts, forwards and says that it is healthy; nothing but its volume can be written."""
    sink, port = pacs(), free_port()
    for name in ("spool", "configuration"):
        (tmp_path / name).mkdir()
    os.chown(tmp_path / "spool", UID, UID)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    (tmp_path / "configuration" / "router.yaml").write_text(f"""
listen: {{port: {port}, host: 127.0.0.1, allow_any: true}}
drain: 1s
destinations: [{{name: PACS, remote_ae_title: PACS, remote_host: 127.0.0.1, remote_port: {sink.port}}}]
""")
    with inside(image, tmp_path, "dicom-router", "run") as running:
        assert running.stdout is not None
        said: list[str] = []
        while '"started"' not in "".join(said):
            said.append(running.stdout.readline())
            assert said[-1], "".join(said)
        assert send(port, [made(1)]) == [0]
        until(lambda: len(sink.received()) == 1, "a delivery")
        [daemon] = [int(each) for each in _children(running.pid)]
        health = ["/opt/dicom-router/bin/dicom-router", "health", "--socket", "/run/dicom-router/dicom-router.sock"]
        looking = ["nsenter", f"--target={daemon}", "--mount", "--pid", "--root", "--setuid", str(UID), *health]
        ended = subprocess.run(looking, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (0, "ready\n"), ended.stderr
    wanted = 'id -u; for each in / /opt /usr /etc/dicom-router; do touch "$each/x" 2>&1 || :; done'
    with inside(image, tmp_path, "/usr/bin/sh", "-c", wanted) as trying:
        out, _ = trying.communicate()
    assert out.splitlines()[0] == str(UID)
    assert out.count("Read-only file system") == 4, out


def test_the_image_brings_the_samples_and_no_installer(image: Path, tmp_path: Path) -> None:
    """``init`` writes what ``config/`` has; nothing in the image could fetch more."""
    for name in ("spool", "configuration"):
        (tmp_path / name).mkdir()
    with inside(image, tmp_path, "dicom-router", "init", "/tmp/sample") as running:
        out, _ = running.communicate()
    assert "/tmp/sample/destinations/main_pacs.yaml" in out
    assert not list((image / "dicom-router").glob("lib/*/site-packages/pip"))


def test_the_installation_is_whole(tmp_path: Path) -> None:
    """``deploy/install``, twice: a version of its own, the link to it, units, a configuration that is right."""
    script = f"""set -eu
cp -a /etc {tmp_path}/etc && mount --bind {tmp_path}/etc /etc
mkdir -p {tmp_path}/opt && mount --bind {tmp_path}/opt /opt
PYTHON={PYTHON} {HOUSE}/deploy/install
/opt/dicom-router/current/bin/dicom-router check
stat --format=%U:%G:%a /etc/dicom-router /etc/dicom-router/secrets
grep ^socket: /etc/dicom-router/router.yaml
readlink /opt/dicom-router/current
echo '# ours' >> /etc/dicom-router/router.yaml
PYTHON={PYTHON} {HOUSE}/deploy/install
tail -n 1 /etc/dicom-router/router.yaml
ls /etc/systemd/system/dicom-router.*
"""
    command = ["unshare", "--mount", "bash", "-c", script]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert "root:dicom-router:750" in lines
    assert "root:root:700" in lines
    assert "socket: /run/dicom-router/dicom-router.sock" in lines
    assert __version__ in lines
    assert lines[-3:] == ["# ours", *(f"/etc/systemd/system/dicom-router.{each}" for each in ("service", "socket"))]


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
