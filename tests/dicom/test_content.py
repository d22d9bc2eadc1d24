"""The data set of a file, handed out in pieces and checked before the last."""

import errno
import os
from pathlib import Path

import pytest

from router.dicom.content import Content, ContentError
from tests.dicom.peers import written

pytestmark = pytest.mark.unit

BYTES = bytes(range(256)) * 10


def read(content: Content, size: int) -> list[bytes]:
    """All pieces."""
    pieces = []
    buffer = memoryview(bytearray(size))
    with content:
        while True:
            pieces.append(bytes(buffer[: content.read_into(buffer)]))
            if not content.remaining:
                return pieces


@pytest.mark.parametrize("size", [1, 255, 256, 2559, 2560, 2561, 10000])
def test_pieces_are_the_data_set(tmp_path: Path, size: int) -> None:
    """Each full but the last."""
    pieces = read(Content(written(tmp_path / "file", BYTES)), size)
    assert b"".join(pieces) == BYTES
    assert all(len(piece) == size for piece in pieces[:-1])


def test_head_is_passed_over(tmp_path: Path) -> None:
    """Only the data set counts, for the digest too."""
    from dataclasses import replace

    instance = written(tmp_path / "file", BYTES)
    instance.path.write_bytes(b"head" + BYTES)
    assert b"".join(read(Content(replace(instance, header_size=4, size=len(BYTES) + 4)), 1000)) == BYTES


def test_empty_data_set(tmp_path: Path) -> None:
    """One empty piece."""
    assert read(Content(written(tmp_path / "file", b"")), 10) == [b""]


def test_without_a_digest_nothing_is_compared(tmp_path: Path) -> None:
    """A file that never was in our spool."""
    from dataclasses import replace

    assert read(Content(replace(written(tmp_path / "file", BYTES, digest="x"), digest=None)), 4096) == [BYTES]


@pytest.mark.parametrize("size", [100, 4096])
def test_last_piece_of_a_changed_file_is_not_handed_out(tmp_path: Path, size: int) -> None:
    """All before it are."""
    instance = written(tmp_path / "file", BYTES)
    instance.path.write_bytes(BYTES[:-1] + b"?")
    buffer = memoryview(bytearray(size))
    with Content(instance) as content:
        for _ in range((len(BYTES) - 1) // size):
            content.read_into(buffer)
        with pytest.raises(ContentError, match="its digest differs"):
            content.read_into(buffer)


def test_shorter_and_missing_files(tmp_path: Path) -> None:
    """Said as such, with the file's name and nothing of its path."""
    instance = written(tmp_path / "file", BYTES)
    instance.path.write_bytes(BYTES[:100])
    with pytest.raises(ContentError, match="file is shorter"):
        read(Content(instance), 4096)
    instance.path.unlink()
    with pytest.raises(ContentError, match="file cannot be read: No such file") as raised:
        read(Content(instance), 4096)
    assert str(tmp_path) not in str(raised.value)


def test_link_is_not_followed(tmp_path: Path) -> None:
    """Nothing from elsewhere gets out."""
    instance = written(tmp_path / "file", BYTES)
    instance.path.rename(tmp_path / "other")
    instance.path.symlink_to(tmp_path / "other")
    with pytest.raises(ContentError, match=os.strerror(errno.ELOOP)):
        read(Content(instance), 4096)


def test_descriptor_is_closed(tmp_path: Path) -> None:
    """After an error too."""
    opened: list[int] = []

    def opener(path: Path, flags: int) -> int:
        opened.append(os.open(path, flags))
        return opened[-1]

    instance = written(tmp_path / "file", BYTES, digest="0" * 32)
    with pytest.raises(ContentError):
        read(Content(instance, opener), 4096)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
    with Content(instance, opener):
        pass
    assert len(opened) == 1
