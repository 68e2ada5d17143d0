"""What every place for blobs does. One suite over memory and folder."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from crowdgrid import limits
from crowdgrid.blobs import Blobs
from crowdgrid.blobs.folder import FolderBlobs
from crowdgrid.blobs.intake import PIECE_BYTES
from crowdgrid.blobs.memory import MemoryBlobs
from crowdgrid.errors import BadInput, NotFound, TooLarge, Unavailable
from crowdgrid.ids import digest_of
from tests.contracts.store.disks import read_only, tiny_disk

BIG = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"tail"
ROOM = 1 << 30


@pytest.fixture(params=["memory", "folder"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return MemoryBlobs() if request.param == "memory" else FolderBlobs(tmp_path / "blobs")


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def whole(blobs: Blobs, digest: str, *, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.read(digest, start=start, stop=stop)])


async def names(blobs: Blobs) -> set[str]:
    return {digest async for digest, _ in blobs.names()}


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await scenario()

    asyncio.run(within())


@pytest.mark.parametrize("content", [b"", b"x", BIG[:PIECE_BYTES], BIG], ids=len)
def test_what_is_put_comes_back(blobs: Blobs, content: bytes) -> None:
    async def scenario() -> None:
        digest = digest_of(content)
        assert await blobs.size(digest) is None
        assert await blobs.put(pieces(content, 70_000), digest=digest, size_max=ROOM) == len(content)
        assert await blobs.size(digest) == len(content)
        assert await blobs.read_bytes(digest) == content
        assert await whole(blobs, digest) == content
        assert await names(blobs) == {digest}

    run(scenario)


def test_bytes_are_put_under_their_digest(blobs: Blobs) -> None:
    async def scenario() -> None:
        assert await blobs.put_bytes(b"hello") == digest_of(b"hello")
        assert await blobs.put_bytes(b"hello") == digest_of(b"hello")
        assert await blobs.read_bytes(digest_of(b"hello")) == b"hello"

    run(scenario)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 10), (5, 5), (PIECE_BYTES - 3, PIECE_BYTES + 3), (len(BIG) - 2, None), (0, 1 << 40), (10, 5)],
)
def test_parts_are_read_without_the_rest(blobs: Blobs, start: int, stop: int | None) -> None:
    async def scenario() -> None:
        digest = await blobs.put_bytes(BIG)
        assert await whole(blobs, digest, start=start, stop=stop) == BIG[start:stop]

    run(scenario)


def test_reading_comes_in_pieces(blobs: Blobs) -> None:
    """A gigabyte must not be in memory at once."""

    async def scenario() -> None:
        digest = await blobs.put_bytes(BIG)
        assert max([len(piece) async for piece in blobs.read(digest)]) <= PIECE_BYTES

    run(scenario)


def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    async def scenario() -> None:
        with pytest.raises(NotFound):
            await blobs.read_bytes("ab" * 32)
        with pytest.raises(NotFound):
            await whole(blobs, "ab" * 32)
        assert await blobs.size("ab" * 32) is None
        await blobs.remove("ab" * 32)
        assert await names(blobs) == set()

    run(scenario)


def test_removed_blob_is_gone_and_can_be_put_again(blobs: Blobs) -> None:
    async def scenario() -> None:
        digest = await blobs.put_bytes(b"hello")
        await blobs.remove(digest)
        assert await blobs.size(digest) is None
        assert await names(blobs) == set()
        assert await blobs.put_bytes(b"hello") == digest
        assert await blobs.read_bytes(digest) == b"hello"

    run(scenario)


def test_content_of_another_digest_is_refused_and_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(BadInput, match="hashes to"):
            await blobs.put(pieces(b"evil"), digest=digest_of(b"good"), size_max=ROOM)
        assert await names(blobs) == set()

    run(scenario)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["", "abc", "AB" * 32, "../" + "a" * 61, "g" * 64])
def test_name_that_is_no_digest_is_refused(blobs: Blobs, name: str) -> None:
    """A name is part of a path: nothing else may ever get there."""

    async def scenario() -> None:
        with pytest.raises(BadInput):
            await blobs.put(pieces(b"x"), digest=name, size_max=ROOM)

    run(scenario)


def test_too_large_an_upload_is_refused_before_it_is_read_to_its_end(blobs: Blobs, tmp_path: Path) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield bytes(1000)

    async def scenario() -> None:
        with pytest.raises(TooLarge):
            await blobs.put(endless(), digest="ab" * 32, size_max=10_000)
        assert given <= 11_000
        assert await names(blobs) == set()

    run(scenario)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_upload_that_breaks_off_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * PIECE_BYTES)
        raise ConnectionResetError("the client vanished")

    async def scenario() -> None:
        with pytest.raises(ConnectionResetError):
            await blobs.put(broken(), digest=digest_of(BIG), size_max=ROOM)
        assert await names(blobs) == set()

    run(scenario)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_upload_that_is_cancelled_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    async def scenario() -> None:
        begun = asyncio.Event()

        async def stalled() -> AsyncIterator[bytes]:
            yield bytes(2 * PIECE_BYTES)
            begun.set()
            await asyncio.Event().wait()

        upload = asyncio.ensure_future(blobs.put(stalled(), digest=digest_of(BIG), size_max=ROOM))
        await begun.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert await names(blobs) == set()

    run(scenario)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_same_blob_uploaded_twice_at_once_is_stored_once(blobs: Blobs) -> None:
    async def scenario() -> None:
        digest = digest_of(BIG)
        uploads = (blobs.put(pieces(BIG, 100_000), digest=digest, size_max=ROOM) for _ in range(4))
        assert await asyncio.gather(*uploads) == [len(BIG)] * 4
        assert await blobs.read_bytes(digest) == BIG

    run(scenario)


def test_larger_than_any_blob_may_be_is_refused(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BLOB_BYTES", 10)

    async def scenario() -> None:
        with pytest.raises(TooLarge):
            await blobs.put_bytes(bytes(11))

    run(scenario)


# --- the folder --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "new" / "blobs")


def place_of(folder: FolderBlobs, digest: str) -> Path:
    return folder.path / digest[:2] / digest


def test_folders_and_files_are_private_and_nothing_else_stays(folder: FolderBlobs) -> None:
    async def scenario() -> None:
        await folder.put(pieces(b"hello"), digest=digest_of(b"hello"), size_max=ROOM)
        await folder.put_bytes(b"world")

    run(scenario)
    paths = [folder.path.parent, folder.path, *folder.path.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}
    assert len([path for path in paths if path.is_file()]) == 2


def test_blobs_are_there_for_the_next_hub(folder: FolderBlobs) -> None:
    async def scenario() -> None:
        digest = await folder.put_bytes(b"hello")
        await folder.close()
        assert await FolderBlobs(folder.path).read_bytes(digest) == b"hello"

    run(scenario)


@pytest.mark.parametrize("content", [b"short", BIG], ids=["one piece", "many"])
def test_damaged_blob_is_told_not_handed_out_and_can_be_uploaded_again(folder: FolderBlobs, content: bytes) -> None:
    async def scenario() -> None:
        digest = await folder.put_bytes(content)
        for read in (folder.read_bytes, lambda name: whole(folder, name)):
            damage(place_of(folder, digest))
            with pytest.raises(Unavailable, match="damaged"):
                await read(digest)
            assert await folder.size(digest) is None, "set aside"
            assert await folder.put(pieces(content, 500_000), digest=digest, size_max=ROOM) == len(content)
            assert await folder.read_bytes(digest) == content

    run(scenario)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_full_disk_is_told_and_nothing_half_written_stays(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", 1 << 20) as disk:
        folder = FolderBlobs(disk / "blobs")

        async def scenario() -> None:
            kept = await folder.put_bytes(b"before")
            with pytest.raises(Unavailable, match="full"):
                await folder.put_bytes(BIG)
            with pytest.raises(Unavailable, match="full"):
                await folder.put(pieces(BIG, 500_000), digest=digest_of(BIG), size_max=ROOM)
            assert await names(folder) == {kept}
            assert await folder.put_bytes(b"after") == digest_of(b"after"), "there is room again"

        run(scenario)
        assert len([path for path in disk.rglob("*") if path.is_file()]) == 2


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with read_only(tmp_path / "locked") as locked:

        async def scenario() -> None:
            with pytest.raises(Unavailable, match="locked"):
                await FolderBlobs(locked / "blobs").put_bytes(b"x")

        run(scenario)


def test_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("not a folder")

    async def scenario() -> None:
        folder = FolderBlobs(tmp_path / "blobs")
        with pytest.raises(Unavailable, match="blobs"):
            await folder.put_bytes(b"x")
        with pytest.raises(Unavailable, match="blobs"):
            await folder.size("ab" * 32)

    run(scenario)


def test_collector_sees_ages_and_a_blob_put_again_is_young(folder: FolderBlobs) -> None:
    """Whoever uploads a blob that is there already is about to name it; it must not be collected meanwhile."""

    async def scenario() -> None:
        old, young = await folder.put_bytes(b"old"), await folder.put_bytes(b"young")
        for digest in (old, young):
            os.utime(place_of(folder, digest), (1, 1))
        await folder.put(pieces(b"young"), digest=young, size_max=ROOM)
        ages = {digest: age async for digest, age in folder.names()}
        assert ages[old] > 1e9 > ages[young] >= 0

    run(scenario)


def test_uploads_cut_off_by_a_crash_are_cleared_away_and_fresh_ones_are_not(folder: FolderBlobs) -> None:
    async def scenario() -> None:
        await folder.put_bytes(b"kept")
        for name in ("stale", "fresh"):
            (folder.path / "incoming" / name).touch()
        os.utime(folder.path / "incoming" / "stale", (1, 1))
        assert await names(folder) == {digest_of(b"kept")}

    run(scenario)
    assert [path.name for path in (folder.path / "incoming").iterdir()] == ["fresh"]
