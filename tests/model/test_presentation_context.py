import pytest

from router.model.presentation_context import AnsweredContext, ContextResult
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN

pytestmark = pytest.mark.unit

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
REJECTIONS = [result for result in ContextResult if result is not ContextResult.ACCEPTANCE]


def test_an_accepted_context_names_its_transfer_syntax() -> None:
    """The acceptor's choice comes with the acceptance."""
    context = AnsweredContext(1, CT_IMAGE_STORAGE, ContextResult.ACCEPTANCE, EXPLICIT_VR_LITTLE_ENDIAN)
    assert context.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN


def test_an_acceptance_without_transfer_syntax_is_refused() -> None:
    """Nothing can be sent over it."""
    with pytest.raises(ValueError, match="exactly when it is accepted"):
        AnsweredContext(1, CT_IMAGE_STORAGE, ContextResult.ACCEPTANCE)


@pytest.mark.parametrize("result", REJECTIONS)
def test_a_rejected_context_has_no_transfer_syntax(result: ContextResult) -> None:
    """PS3.8 9.3.3.2: the transfer syntax of a rejected context is not significant, so it is not kept."""
    assert AnsweredContext(1, CT_IMAGE_STORAGE, result).transfer_syntax is None
    with pytest.raises(ValueError, match="exactly when it is accepted"):
        AnsweredContext(1, CT_IMAGE_STORAGE, result, EXPLICIT_VR_LITTLE_ENDIAN)


def test_results_are_the_standards() -> None:
    """PS3.8 Table 9-18 numbers them 0 to 4."""
    assert [int(result) for result in ContextResult] == [0, 1, 2, 3, 4]
