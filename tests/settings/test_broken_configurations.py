"""What bad input gets: every folder of ``tests/configurations`` is a broken configuration with its error text."""

from pathlib import Path

import pytest

from router.settings import ConfigurationError, load

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[1] / "configurations"
KEYWORDS = frozenset(
    {"BodyPartExamined", "Columns", "ImageType", "ModalitiesInStudy", "Modality", "PatientID", "Rows"}
    | {"SOPClassUID", "StudyDate"}
)


def environment(case: Path) -> dict[str, str]:
    """The variables of a case, one a line in its file ``environment``."""
    file = case / "environment"
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("case", sorted(FOLDER.iterdir()), ids=lambda case: case.name)
def test_broken_configuration(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with file, line, column, the line itself, and a suggestion where there is one."""
    monkeypatch.chdir(case)
    with pytest.raises(ConfigurationError) as caught:
        load(Path("router.yaml"), environment=environment(case), known_keywords=KEYWORDS)
    assert f"{caught.value}\n" == (case / "expected-error").read_text()
