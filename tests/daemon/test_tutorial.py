"""``docs/tutorial.md``, typed from the first to the last section, on ports that are free here."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from tests.cli.conftest import Ended, invoked
from tests.daemon.program import Program
from tests.daemon.sinks import Storescp
from tests.docs.pages import DOCS, Page
from tests.samples import samples

pytestmark = pytest.mark.endtoend

PREPARATION = {"git", "cd", "make", "alias", "export", "mkdir", "cp", "ls"}
"""The folder of the test is there already, and so is a CT."""

DONE = Ended(0, "", "")


class Typist:
    """Types the commands of the page, a section at a time."""

    def __init__(self, folder: Path, free_port: Callable[[], int], dcmtk: Callable[[str], Path]) -> None:
        router, pacs = free_port(), free_port()
        text = Page(DOCS / "tutorial.md").text.replace("11112", str(router)).replace("11113", str(pacs))
        self._sections = re.split(r"^## \d\. ", text, flags=re.MULTILINE)
        self._dcmtk = dcmtk
        self.pacs = Storescp(dcmtk("storescp"), folder / "tutorial" / "pacs", pacs)
        self.program = Program(folder / "tutorial", router)
        files = re.findall(r"^`(tutorial/\S+\.yaml)`.*?^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for name, content in files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)

    def types(self, section: int) -> Iterator[tuple[str, Ended]]:
        """Each command of a section when its turn comes, and what it left."""
        for block in re.findall(r"^```console\n(.*?)^```$", self._sections[section], re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ "))
                yield " ".join(words[:3]), self._type(words)

    def _type(self, words: list[str]) -> Ended:
        match words:
            case ["storescp", *options]:
                self.pacs._command = [str(self._dcmtk("storescp")), *options]
                self.pacs.start()
            case ["storescu", *options]:
                sent = subprocess.run([self._dcmtk("storescu"), *options], capture_output=True, text=True, check=False)
                return Ended(sent.returncode, sent.stdout, sent.stderr)
            case ["dicom-router", "run"]:
                self.program.start()
            case ["dicom-router", *arguments]:
                return anyio.run(invoked, shlex.join([*arguments, "--config", str(self.program.path)]))
            case [first, *_]:
                assert first in PREPARATION
        return DONE


def test_the_tutorial_works_as_it_is_written(
    tmp_path: Path, free_port: Callable[[], int], dcmtk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command ends as the page says, and what it promises to be seen is seen."""
    monkeypatch.chdir(tmp_path)
    you = Typist(tmp_path, free_port, dcmtk)
    sample = next(each for each in samples() if each.path.name == "CT_small.dcm")
    shutil.copy(sample.path, tmp_path / "tutorial" / "ct.dcm")
    with ExitStack() as ending:
        program = ending.enter_context(you.program)
        for section in (1, 2, 3):
            for command, ended in you.types(section):
                assert ended.code == 0, (command, ended)
                if command.startswith("storescp"):
                    ending.callback(you.pacs.stop)
                if command.startswith("dicom-router destination"):
                    assert ended.out.count(" ok ") == 5
        for command, ended in you.types(4):
            assert ended.code == 0, (command, ended)
            if command.startswith("storescu"):
                program.wait_for("C-STORE successful")
        assert "state        delivered" in ended.out
        assert [line["event"] for line in program.lines[-4:]] == [
            "association accepted",
            "instance accepted",
            "association released",
            "C-STORE successful",
        ]
        you.pacs.stop()
        for command, ended in you.types(5):
            assert ended.code == 0, (command, ended)
            match command.split()[1]:
                case "--call":
                    program.wait_for("destination in trouble")
                case "status":
                    assert "in trouble" in ended.out
                    you.pacs.start()
                case "destination":
                    program.wait_for("C-STORE successful", times=2)
        assert ended.out.count("delivered") == 2
        ((_, refused),) = you.types(6)
        assert refused.code != 0
        assert "Calling AE Title Not Recognized" in refused.talk
