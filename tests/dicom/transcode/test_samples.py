"""Every sample in every transfer syntax that it can be converted to: the same pixels and elements, or a reason.

``DICOM_ROUTER_MATRIX=all`` takes the large samples too.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from router.dicom.transcode import converts
from router.dicom.transcode.header import ConversionError
from tests.dicom.transcode.witness import (
    BASELINE,
    BIG_ENDIAN,
    EXPLICIT,
    EXTENDED,
    HTJ2K,
    IMPLICIT,
    J2K,
    JPEG_LS,
    RLE,
    converted,
    differences,
    read,
    values,
)
from tests.samples import Sample, large_samples, samples

pytestmark = pytest.mark.negotiation

NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN)
COMPRESSED = (RLE, JPEG_LS, J2K, HTJ2K)
LARGE = {
    "color-pl.dcm", "color-px.dcm", "emri_small.dcm", "emri_small_big_endian.dcm", "emri_small_jpeg_ls_lossless.dcm",
    "eCT_Supplemental.dcm", "693_J2KR.dcm", "693_UNCI.dcm", "JPEG-LL.dcm", "mlut_18.dcm", "liver.dcm", "liver_expb.dcm",
    "SC_ybr_full_uncompressed.dcm", "SC_rgb_expb_16bit.dcm", "OBXXXX1A_expb_2frame.dcm", "gdcm-US-ALOKA-16_big.dcm",
}  # fmt: skip
"""Of the large samples, one of each kind."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why some samples cannot be converted to some transfer syntaxes."""

    reason: str
    names: tuple[str, ...]
    targets: tuple[str, ...] = (*NATIVE, *COMPRESSED)

    def covers(self, name: str, target: str) -> bool:
        """Whether it is about this one."""
        return target in self.targets and any(name.startswith(each) for each in self.names)


REFUSALS = (
    Refusal("runs past the end of the data set", ("MR_truncated", "rtplan_truncated")),
    Refusal("no valid VR", ("SC_rgb_jpeg.dcm",)),  # its own header is damaged
    Refusal("where the data set says", ("JPEG2000-embedded-sequence-delimiter",)),  # damaged on purpose
    Refusal("no pixel data", ("reportsi", "rtplan.dcm", "test-SR", "waveform_ecg"), COMPRESSED),
    Refusal("pixel data is 8320 bytes long, where it describes 8192", ("MR_small_padded",), COMPRESSED),
    Refusal("cells of 1 bits", ("liver",), COMPRESSED),
    Refusal("YBR_FULL_422 cannot be compressed", ("SC_ybr_full_422_uncompressed",), COMPRESSED),
    Refusal("no valid Number of Frames", ("badVR",), COMPRESSED),
    # Big Endian: nobody agrees on cells wider than their VR, and nobody knows what UN holds.
    Refusal("Big Endian|byte order", ("rtdose_expb", "SC_rgb_expb_16bit", "SC_rgb_expb_32bit")),
    Refusal("Big Endian|byte order", ("rtdose", "badVR", "SC_rgb_rle_32bit", "SC_rgb_32bit"), (BIG_ENDIAN,)),
    Refusal("Big Endian|byte order", ("SC_rgb_16bit",), (BIG_ENDIAN,)),
    Refusal("VR UN", ("J2K_pixelrep_mismatch", "bad_sequence", "explicit_VR-UN"), (BIG_ENDIAN,)),
    Refusal("as RLE only", ("rtdose", "SC_rgb_32bit", "SC_rgb_rle_32bit"), (JPEG_LS, J2K, HTJ2K)),
)


def _pairs() -> Iterator[object]:
    everything = os.environ.get("DICOM_ROUTER_MATRIX") == "all"
    for sample in (*samples(), *(each for each in large_samples() if everything or each.path.name in LARGE)):
        for target in (*NATIVE, *COMPRESSED):
            if converts(sample.transfer_syntax, target):
                yield pytest.param(sample, target, id=f"{sample.path.name}-{target[16:]}")


@cache
def original_values(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.integer]]:
    """Of a sample, once for all of its targets."""
    return values(path)


@pytest.mark.parametrize(("sample", "target"), list(_pairs()))
def test_sample(sample: Sample, target: str, tmp_path: Path) -> None:
    """Pixel values and elements are those of the original, for pydicom and DCMTK."""
    name = sample.path.name
    expected = next((refusal for refusal in REFUSALS if refusal.covers(name, target)), None)
    if expected is not None:
        with pytest.raises(ConversionError, match=expected.reason):
            converted(sample.path, target, tmp_path)
        return
    result = converted(sample.path, target, tmp_path)
    assert not differences(sample.path, result)
    original, changed = read(sample.path), read(result)
    if "PixelData" not in original:
        assert "PixelData" not in changed
    elif original.get("PhotometricInterpretation") == "YBR_FULL_422" and sample.transfer_syntax in NATIVE:
        assert changed.PixelData == original.PixelData
    elif sample.transfer_syntax in {BASELINE, EXTENDED}:
        # Decoders of lossy JPEG need not agree to the last bit (ISO/IEC 10918-2), nor on how to interpolate colours.
        assert np.abs(values(result) - original_values(sample.path)).mean() < 1
    elif name != "badVR.dcm":
        assert np.array_equal(values(result), original_values(sample.path))
    if "PixelData" in original:
        assert changed.PhotometricInterpretation == _described(original, target)
        assert changed.get("PlanarConfiguration", 0) == (
            0 if {sample.transfer_syntax, target} - set(NATIVE) else original.get("PlanarConfiguration", 0)
        )


def _described(original: object, target: str) -> str:
    """Photometric Interpretation, as it has to be."""
    name = str(getattr(original, "PhotometricInterpretation", ""))
    syntax = str(original.file_meta.TransferSyntaxUID)  # type: ignore[attr-defined]  # a pydicom Dataset
    if syntax not in NATIVE:
        name = {"YBR_RCT": "RGB", "YBR_ICT": "RGB", "YBR_FULL_422": "YBR_FULL"}.get(name, name)
    return "YBR_RCT" if name == "RGB" and target in {J2K, HTJ2K} else name
