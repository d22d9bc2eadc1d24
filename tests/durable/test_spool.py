"""The spool: parts, payloads, folders, the lock."""

import errno
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest
from xxhash import xxh3_128_hexdigest

from router.durable.disk import Disk
from router.durable.spool import Spool, SpoolLocked
from tests.durable.world import DIGEST_AT, HEAD, Clock, ScriptedDisk, failing, io_error

pytestmark = pytest.mark.trust


@pytest.fixture
def clock() -> Clock:
    """The spool's clock."""
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    """An open spool."""
    spool = Spool(tmp_path / "new" / "spool", clock=clock)
    spool.open()
    yield spool
    spool.close()


def files(spool: Spool) -> list[str]:
    """The suffixes of all files below `objects`."""
    return sorted(path.suffix for path in spool.directory.glob("objects/*/*/*"))


def published(spool: Spool) -> PurePosixPath:
    """S1 → S3: the path of a payload."""
    with spool.begin(HEAD, DIGEST_AT) as part:
        part.seal()
    assert not spool.publish([part.path])
    return part.path


def test_a_payload_is_the_head_with_the_digest_and_the_data_set(spool: Spool) -> None:
    """The digest, of the data set's bytes only, stands in its slot; the path has only names of our own."""
    with spool.begin(HEAD, DIGEST_AT) as part:
        assert files(spool) == []
        part.write([memoryview(b"one "), memoryview(b""), memoryview(b"two ")])
        part.write([memoryview(b"three")])
        assert part.read(4, 100) == b"two three"
        digest = part.seal()
    assert digest == xxh3_128_hexdigest(b"one two three")
    assert files(spool) == [".part"]
    assert not spool.publish([part.path])
    content = (spool.directory / part.path).read_bytes()
    assert content == b"HEAD" + digest.encode() + b"MORE" + b"one two three"
    assert part.size == len(content)
    assert part.path == PurePosixPath("objects/0/2031050712", f"{part.ulid}.dcm")
    assert list(spool.payloads()) == [part.path]


def test_an_empty_data_set_is_sealed_too(spool: Spool) -> None:
    """Nothing was written: the payload is the head alone, and there was nothing to read."""
    with spool.begin(HEAD, DIGEST_AT) as part:
        assert part.read(0, 10) == b""
        digest = part.seal()
    spool.publish([part.path])
    assert (spool.directory / part.path).read_bytes() == b"HEAD" + digest.encode() + b"MORE"


def test_a_part_left_unsealed_is_abandoned(spool: Spool) -> None:
    """S2 → S1: nothing stays of it, however often it is abandoned."""
    with spool.begin(HEAD, DIGEST_AT) as part:
        part.write([memoryview(b"half")])
    part.abandon()
    assert files(spool) == []


def test_abandoning_a_published_part_leaves_the_payload(spool: Spool) -> None:
    """S3: a late ``abandon`` finds no ``.part``, and harms nothing."""
    with spool.begin(HEAD, DIGEST_AT) as part:
        part.seal()
    spool.publish([part.path])
    part.abandon()
    assert files(spool) == [".dcm"]


class SmallBites(Disk):
    """Takes a few bytes at a time, as a nearly full disk does."""

    def __init__(self) -> None:
        self.most_buffers = 0

    def write(self, file: int, buffers: Sequence[memoryview]) -> int:
        """Three bytes."""
        self.most_buffers = max(self.most_buffers, len(buffers))
        return super().write(file, [buffers[0][:3]])

    def pwrite(self, file: int, buffer: memoryview, offset: int) -> int:
        """Five bytes."""
        return super().pwrite(file, buffer[:5], offset)


def test_short_writes_are_continued(tmp_path: Path, clock: Clock) -> None:
    """Whatever the disk takes at once, every byte arrives in order, the digest too."""
    spool = Spool(tmp_path, disk=SmallBites(), clock=clock)
    spool.open()
    with spool.begin(HEAD, DIGEST_AT) as part:
        part.write([memoryview(b"abcdefgh"), memoryview(b"ij"), memoryview(b"klmnop")])
        digest = part.seal()
    spool.publish([part.path])
    assert (tmp_path / part.path).read_bytes() == b"HEAD" + digest.encode() + b"MORE" + b"abcdefghijklmnop"
    spool.close()


def test_no_call_gets_more_buffers_than_the_system_takes(tmp_path: Path, clock: Clock) -> None:
    """IOV_MAX: thousands of fragments are written in several calls."""
    disk = SmallBites()
    spool = Spool(tmp_path, disk=disk, clock=clock)
    spool.open()
    content = bytes(range(250)) * 10
    with spool.begin(HEAD, DIGEST_AT) as part:
        part.write([memoryview(content)[at : at + 1] for at in range(len(content))])
        assert part.read(0, len(content)) == content
    assert disk.most_buffers == os.sysconf("SC_IOV_MAX")
    spool.close()


def test_a_disk_that_takes_nothing_is_full(tmp_path: Path, clock: Clock) -> None:
    """A write of no bytes is an error and no endless loop."""

    class Full(Disk):
        def write(self, _file: int, _buffers: Sequence[memoryview]) -> int:
            return 0

    spool = Spool(tmp_path, disk=Full(), clock=clock)
    spool.open()
    with pytest.raises(OSError, match="no more bytes") as caught, spool.begin(HEAD, DIGEST_AT) as part:
        part.write([memoryview(b"x")])
    assert caught.value.errno == errno.ENOSPC
    assert files(spool) == []
    spool.close()


@pytest.mark.parametrize("call", ["create", "write", "pwrite", "fsync", "close"])
def test_a_failing_seal_abandons_the_part(tmp_path: Path, clock: Clock, call: str) -> None:
    """S2 → S1: after a failed fsync the file is never fsynced again, it goes; so with every other call."""
    disk = ScriptedDisk(error=io_error)
    spool = Spool(tmp_path, disk=disk, clock=clock)
    spool.open()
    with spool.begin(HEAD, DIGEST_AT) as rehearsal:
        before = len(disk.calls)
        rehearsal.seal()
    rehearsal.abandon()
    # The hour's folder exists by now, so that its fsync is not among the calls.
    calls = [name for name in disk.calls[before:] if name != "fsync_directory"]
    disk.stop_at = len(disk.calls) + calls.index(call) + 1
    part = spool.begin(HEAD, DIGEST_AT)
    with pytest.raises(OSError, match="Input/output error"):
        part.seal()
    assert files(spool) == []
    assert disk.calls[before:].count("fsync") <= 2
    spool.close()


def test_abandoning_never_fails(tmp_path: Path, clock: Clock) -> None:
    """What a failing disk does not remove is swept at the next start (S2 → S1)."""
    disk = ScriptedDisk(error=io_error)
    spool = Spool(tmp_path, disk=disk, clock=clock)
    spool.open()
    part = spool.begin(HEAD, DIGEST_AT)
    part.write([memoryview(b"x")])
    disk.stop_at = len(disk.calls) + 2  # the unlink
    part.abandon()
    assert files(spool) == [".part"]
    assert spool.sweep() == 1
    assert files(spool) == []
    spool.close()


def test_publish_says_what_failed(spool: Spool) -> None:
    """A part that is gone, or a path that is not ours, fails alone; the others are published."""
    with spool.begin(HEAD, DIGEST_AT) as good:
        good.seal()
    gone = spool.begin(HEAD, DIGEST_AT).path
    foreign = PurePosixPath("objects/0/2031050712/../../../../etc/passwd.dcm")
    failed = spool.publish([good.path, gone, foreign])
    assert {path: error.errno for path, error in failed.items()} == {gone: errno.ENOENT, foreign: errno.EINVAL}
    assert list(spool.payloads()) == [good.path]


def test_publish_fsyncs_each_folder_once(tmp_path: Path, clock: Clock) -> None:
    """One fsync of the directory covers a whole batch; when it fails, all in it fail (they are left in S3)."""
    disk = ScriptedDisk(error=io_error)
    spool = Spool(tmp_path, disk=disk, clock=clock)
    spool.open()
    paths = []
    for _ in range(6):
        with spool.begin(HEAD, DIGEST_AT) as part:
            part.seal()
        paths.append(part.path)
        clock.advance(timedelta(minutes=20))
    disk.calls.clear()
    assert spool.publish(paths[:3]) == {}
    assert disk.calls == ["rename"] * 3 + ["fsync_directory"]
    disk.stop_at = len(disk.calls) + 4
    assert list(spool.publish(paths[3:])) == paths[3:]
    assert len(list(spool.payloads())) == 6
    spool.close()


def test_remove_takes_what_is_there(spool: Spool, clock: Clock) -> None:
    """S6 → S7, twice: what is gone already is fine; an hour that is over loses its empty folder."""
    first = published(spool)
    second = published(spool)
    assert spool.remove([first]) == {}
    assert list(spool.payloads()) == [second]
    clock.advance(timedelta(hours=1))
    assert spool.remove([first, second]) == {}
    assert spool.remove([first, second]) == {}
    assert not (spool.directory / first.parent).exists()
    assert files(spool) == []


def test_the_hour_that_runs_keeps_its_folder(spool: Spool) -> None:
    """A folder in use is not removed and made again for every instance."""
    path = published(spool)
    spool.remove([path])
    assert (spool.directory / path.parent).is_dir()


def test_a_retired_folder_is_made_again(spool: Spool, clock: Clock) -> None:
    """A part may begin in one hour and write first in the next, when the folder is gone."""
    late = spool.begin(HEAD, DIGEST_AT)
    path = published(spool)
    clock.advance(timedelta(hours=1))
    spool.remove([path])
    late.seal()
    assert spool.publish([late.path]) == {}


def test_remove_says_what_failed(tmp_path: Path, clock: Clock) -> None:
    """What cannot be unlinked is named; the rest is gone."""
    disk = ScriptedDisk(error=failing(errno.EPERM))
    spool = Spool(tmp_path, disk=disk, clock=clock)
    spool.open()
    paths = [published(spool) for _ in range(3)]
    disk.stop_at = len(disk.calls) + 2
    assert list(spool.remove(paths)) == [paths[1]]
    assert list(spool.payloads()) == [paths[1]]
    spool.close()


def test_sweep_takes_only_our_own_parts(tmp_path: Path, clock: Clock) -> None:
    """S2 → S1 after a crash; payloads, strange files and other writers' parts stay; empty old folders go."""
    other = Spool(tmp_path, writer="1", clock=clock)
    other.open()
    theirs = other.begin(HEAD, DIGEST_AT)
    theirs.write([memoryview(b"x")])
    other.close()

    spool = Spool(tmp_path, clock=clock)
    spool.open()
    ours = spool.begin(HEAD, DIGEST_AT)
    ours.write([memoryview(b"x")])
    clock.advance(timedelta(hours=1))
    kept = published(spool)
    strange = (tmp_path / kept).with_name("notes.txt")
    strange.touch()
    clock.advance(timedelta(hours=1))
    assert spool.sweep() == 1
    assert {path.name for path in tmp_path.glob("objects/*/*/*")} == {kept.name, "notes.txt", f"{theirs.ulid}.part"}
    assert list(spool.payloads()) == [kept]
    assert not (tmp_path / ours.path.parent).exists()
    spool.close()


def test_payloads_come_oldest_first(spool: Spool, clock: Clock) -> None:
    """By hour and by name."""
    paths = []
    for _ in range(5):
        paths.append(published(spool))
        clock.advance(timedelta(minutes=25))
    assert list(spool.payloads()) == paths


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "lock",
        "objects/0/2031050712/../../../lock",
        "objects/0/2031050712/01HZZZZZZZZZZZZZZZZZZZZZZZ.part",
        "objects/../2031050712/01HZZZZZZZZZZZZZZZZZZZZZZZ.dcm",
        "objects/0/٢٠٣١٠٥٠٧١٢/01HZZZZZZZZZZZZZZZZZZZZZZZ.dcm",
        "objects/0/2031050712/01HZZZZZZZZZZZZZZZZZZZZZZZ.dcm\n",
    ],
)
def test_paths_outside_the_layout_are_refused(spool: Spool, path: str) -> None:
    """Nothing but a payload of the spool has a place."""
    with pytest.raises(OSError, match="not a payload's path") as caught:
        spool.absolute(PurePosixPath(path))
    assert caught.value.errno == errno.EINVAL


def test_one_daemon_holds_the_lock(spool: Spool, clock: Clock) -> None:
    """A second one is told who holds it; after a close the spool is free."""
    second = Spool(spool.directory, clock=clock)
    with pytest.raises(SpoolLocked, match=rf"process {os.getpid()}\b.*stop it"):
        second.open()
    second.close()
    (spool.directory / "lock").write_bytes(b"")
    with pytest.raises(SpoolLocked, match="another daemon works on the spool"):
        second.open()
    spool.close()
    second.open()
    second.close()


def test_a_new_folder_is_durable_before_anything_lies_in_it(tmp_path: Path, clock: Clock) -> None:
    """The parents of new folders are fsynced: of the spool's, and once of each hour's."""
    disk = ScriptedDisk()
    spool = Spool(tmp_path / "a" / "b", disk=disk, clock=clock)
    spool.open()
    assert disk.calls == ["fsync_directory"] * 4  # a, b, objects, 0
    disk.calls.clear()
    for _ in range(2):
        spool.begin(HEAD, DIGEST_AT).seal()
    assert disk.calls[:2] == ["fsync_directory", "create"]
    assert disk.calls.count("fsync_directory") == 1
    spool.close()


def test_a_folder_that_could_not_be_made_durable_is_not_used(tmp_path: Path, clock: Clock) -> None:
    """The next part tries again."""
    disk = ScriptedDisk(error=io_error)
    spool = Spool(tmp_path, disk=disk, clock=clock)
    spool.open()
    disk.calls.clear()
    disk.stop_at = 1
    with pytest.raises(OSError, match="Input/output"):
        spool.begin(HEAD, DIGEST_AT).seal()
    spool.begin(HEAD, DIGEST_AT).seal()
    assert disk.calls[:3] == ["fsync_directory", "unlink", "fsync_directory"]
    spool.close()


class SmallDisk:
    """A file system of 64 blocks, of which ``others`` are taken by others: what the two calls say that ask for it."""

    def __init__(self, spool: Spool) -> None:
        self.others = 0
        self._ballast = spool.directory / "ballast"

    def statvfs(self, _: Path) -> os.statvfs_result:
        """Blocks of 512 bytes."""
        taken = self.others + (self._ballast.stat().st_size // 512 if self._ballast.exists() else 0)
        return os.statvfs_result((512, 512, 64, 64 - taken, 64 - taken, 9, 9, 9, 0, 255))

    def posix_fallocate(self, file: int, offset: int, size: int) -> None:
        """As the system does it."""
        if size > (64 - self.others) * 512:
            raise OSError(errno.ENOSPC, "full")
        os.ftruncate(file, offset + size)


@pytest.fixture
def small_disk(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    """Of the spool."""
    disk = SmallDisk(spool)
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    monkeypatch.setattr(os, "posix_fallocate", disk.posix_fallocate)
    return disk


def test_free_space_is_told(spool: Spool, small_disk: SmallDisk) -> None:
    """Bytes free for payloads, which the ballast's are not, and in total."""
    small_disk.others = 10
    assert spool.free() == (50 * 512, 64 * 512)
    assert (spool.directory / "ballast").stat().st_size == 4 * 512


def test_the_ballast_is_given_up_on_a_full_disk(spool: Spool, small_disk: SmallDisk) -> None:
    """Its room is the queue's, not the payloads'; with room enough it is taken again, and not to and fro."""
    ballast = spool.directory / "ballast"
    seen = []
    for small_disk.others in (56, 57, 60, 62, 52, 51, 56):
        free, _ = spool.free()
        seen.append((free // 512, ballast.exists()))
    assert seen == [(4, False), (3, False), (0, False), (-2, False), (8, False), (9, True), (4, True)]
    small_disk.others = 57
    assert spool.free() == (3 * 512, 64 * 512)
    assert not ballast.exists()


def test_the_ballast_grows_with_the_disk(spool: Spool, small_disk: SmallDisk) -> None:
    """One that is too small is given up like any other, and made anew when there is room."""
    ballast = spool.directory / "ballast"
    ballast.write_bytes(bytes(512))
    small_disk.others = 54
    assert spool.free() == (6 * 512, 64 * 512)
    small_disk.others = 60
    assert spool.free() == (0, 64 * 512)
    assert not ballast.exists()
    ballast.write_bytes(bytes(512))
    small_disk.others = 0
    assert spool.free() == (60 * 512, 64 * 512)
    assert ballast.stat().st_size == 4 * 512


def test_a_ballast_that_cannot_be_had(spool: Spool, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done without; nothing is left of the attempt."""
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: small_disk.posix_fallocate(-1, 0, 1 << 20))
    assert spool.free() == (60 * 512, 64 * 512)
    assert not (spool.directory / "ballast").exists()


def test_a_writer_is_a_plain_name(tmp_path: Path, clock: Clock) -> None:
    """It becomes a folder."""
    with pytest.raises(ValueError, match="writer"):
        Spool(tmp_path, writer="../x", clock=clock)
