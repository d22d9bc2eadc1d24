"""The data set of a file, handed out in pieces and checked before the last."""

import errno
import os
import pickle
import resource
from pathlib import Path

import pytest

from router.dicom.content import Content, ContentError
from router.model.outcome import Cause, Failed
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
    with pytest.raises(ContentError, match="file is shorter") as shorter:
        read(Content(instance), 4096)
    assert shorter.value.failure.cause is Cause.PAYLOAD_DAMAGED
    instance.path.unlink()
    with pytest.raises(ContentError, match="file cannot be read: No such file") as missing:
        read(Content(instance), 4096)
    assert missing.value.failure.cause is Cause.PAYLOAD_MISSING
    assert str(tmp_path) not in str(missing.value)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EIO, errno.EACCES, errno.ENOMEM])
def test_trouble_of_this_machine_is_no_damage(tmp_path: Path, number: int) -> None:
    """It passes: the payload is as good as ever."""

    def opener(path: Path, _: int) -> int:
        raise OSError(number, os.strerror(number), path)

    with pytest.raises(ContentError, match=os.strerror(number)) as raised:
        read(Content(written(tmp_path / "file", BYTES), opener), 4096)
    assert raised.value.failure.cause is Cause.LOCAL_TROUBLE
    assert str(tmp_path) not in str(raised.value)


def test_disk_that_fails_in_mid_file_is_no_damage(tmp_path: Path) -> None:
    """A descriptor that was opened for writing only reads like a failing disk."""
    instance = written(tmp_path / "file", BYTES)
    with pytest.raises(ContentError, match="cannot be read") as raised:
        read(Content(instance, lambda path, _: os.open(path, os.O_WRONLY)), 4096)
    assert raised.value.failure.cause is Cause.LOCAL_TROUBLE


def test_no_file_can_be_opened_any_more(tmp_path: Path) -> None:
    """The limit of open files, for real."""
    instance = written(tmp_path / "file", BYTES)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(ContentError) as raised:
            read(Content(instance), 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised.value.failure.cause is Cause.LOCAL_TROUBLE


def test_link_is_not_followed(tmp_path: Path) -> None:
    """Nothing from elsewhere gets out; an administrator has to look after it."""
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


def test_error_crosses_to_another_process() -> None:
    """As it is: a worker reads payloads too."""
    failure = Failed(Cause.PAYLOAD_DAMAGED, "why")
    error = pickle.loads(pickle.dumps(ContentError(failure)))
    assert isinstance(error, ContentError)
    assert error.failure == failure
