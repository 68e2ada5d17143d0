"""`Blobs` in a local folder: `ab/ab12…` for the blob ab12…, uploads in `incoming/`, what was damaged in `damaged/`.

A blob appears under its name by a rename, after its content and before its folder entry were forced to the disk: so it
is whole or not there, whatever happens. Folders have mode 0700 and files 0600. Everything that blocks runs in
threads, a piece of 1 MiB at a time.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from crowdgrid import limits
from crowdgrid.blobs.intake import PIECE_BYTES, Intake, damaged
from crowdgrid.errors import NotFound, TooLarge, Unavailable
from crowdgrid.ids import check_digest, digest_of

_SHARD_CHARS: Final = 2
_DIGEST_CHARS: Final = 64
_STALE_SECONDS: Final = 86_400.0  # an upload not touched for so long was cut off by a crash


class FolderBlobs:
    """The blobs below `path`, which is made when the first one is stored."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._incoming = self.path / "incoming"
        self._damaged = self.path / "damaged"

    # --- in ---

    async def put(self, content: AsyncIterator[bytes], *, digest: str, size_max: int) -> int:
        intake = Intake(digest, size_max)
        there = await asyncio.to_thread(self._touch, digest)
        if there is not None:
            return there
        upload = await asyncio.to_thread(self._begin)
        try:
            await self._receive(content, upload, intake)
            await asyncio.to_thread(self._keep, upload, digest)
        finally:
            # Nothing of a broken upload stays. Quick, and must happen also when this task is being cancelled.
            upload.close()
            Path(upload.name).unlink(missing_ok=True)  # noqa: ASYNC240
        return intake.size

    async def _receive(self, content: AsyncIterator[bytes], upload: BinaryIO, intake: Intake) -> None:
        pending = bytearray()
        async for piece in content:
            intake.admit(len(piece))
            pending += piece
            if len(pending) >= PIECE_BYTES:
                await asyncio.to_thread(self._append, upload, intake, pending)
                pending = bytearray()
        await asyncio.to_thread(self._append, upload, intake, pending)
        intake.finish()

    async def put_bytes(self, content: bytes) -> str:
        if len(content) > limits.BLOB_BYTES:
            raise TooLarge(f"A blob has at most {limits.BLOB_BYTES:,} bytes.")
        return await asyncio.to_thread(self._put_bytes, content)

    def _put_bytes(self, content: bytes) -> str:
        digest = digest_of(content)
        if self._touch(digest) is not None:
            return digest
        with self._begin() as upload:
            try:
                self._append(upload, Intake(digest, limits.BLOB_BYTES), content)
                self._keep(upload, digest)
            finally:
                Path(upload.name).unlink(missing_ok=True)
        return digest

    def _begin(self) -> BinaryIO:
        with self._explained("written"):
            _make_private(self._incoming)
            path = self._incoming / secrets.token_hex(16)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.close(handle)
            return path.open("wb", buffering=0)

    def _append(self, upload: BinaryIO, intake: Intake, piece: bytes | bytearray) -> None:
        intake.add(piece)
        with self._explained("written"):
            left = memoryview(piece)
            while left:
                left = left[upload.write(left) :]

    def _keep(self, upload: BinaryIO, digest: str) -> None:
        with self._explained("written"):
            os.fsync(upload.fileno())
            place = self._place(digest)
            place.parent.mkdir(exist_ok=True, mode=0o700)
            Path(upload.name).rename(place)
            _force(place.parent)
            _force(self.path)  # the shard may be new

    def _touch(self, digest: str) -> int | None:
        """The size of a blob that is here, made young again: whoever stores it is about to name it."""
        with self._explained("written"):
            try:
                os.utime(self._place(digest))
                return self._place(digest).stat().st_size
            except FileNotFoundError:
                return None

    # --- out ---

    async def size(self, digest: str) -> int | None:
        return await asyncio.to_thread(self._size, check_digest(digest))

    def _size(self, digest: str) -> int | None:
        with self._explained("read"):
            try:
                return self._place(digest).stat().st_size
            except FileNotFoundError:
                return None

    async def read(self, digest: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Read whole, it is checked on the way: what was changed ends with Unavailable instead of its last piece."""
        check = hashlib.sha256() if start == 0 and stop is None else None
        file = await asyncio.to_thread(self._open, check_digest(digest))
        try:
            await asyncio.to_thread(file.seek, start)
            left = limits.BLOB_BYTES if stop is None else max(0, stop - start)
            held = b""  # given only once it is known that more follows, or that all of it is right
            while piece := await asyncio.to_thread(self._piece, file, min(PIECE_BYTES, left)):
                left -= len(piece)
                if check is not None:
                    await asyncio.to_thread(check.update, piece)
                if held:
                    yield held
                held = piece
            if check is not None and check.hexdigest() != digest:
                raise await asyncio.to_thread(self._set_aside, digest)
            if held:
                yield held
        finally:
            file.close()

    async def read_bytes(self, digest: str) -> bytes:
        return await asyncio.to_thread(self._read_bytes, check_digest(digest))

    def _read_bytes(self, digest: str) -> bytes:
        with self._open(digest) as file, self._explained("read"):
            content = file.read()
        if digest_of(content) != digest:
            raise self._set_aside(digest)
        return content

    def _open(self, digest: str) -> BinaryIO:
        with self._explained("read"):
            try:
                return self._place(digest).open("rb", buffering=0)
            except FileNotFoundError:
                raise NotFound(f"There is no blob {digest}.") from None

    def _piece(self, file: BinaryIO, size: int) -> bytes:
        with self._explained("read"):
            return file.read(size)

    def _set_aside(self, digest: str) -> Unavailable:
        """Out of the way, so that the next upload of it is stored."""
        with self._explained("written"):
            self._damaged.mkdir(exist_ok=True, mode=0o700)
            self._place(digest).rename(self._damaged / digest)
        return damaged(digest, str(self.path))

    # --- the collector's part ---

    async def remove(self, digest: str) -> None:
        await asyncio.to_thread(self._remove, check_digest(digest))

    def _remove(self, digest: str) -> None:
        with self._explained("written"):
            self._place(digest).unlink(missing_ok=True)

    async def names(self) -> AsyncIterator[tuple[str, float]]:
        await asyncio.to_thread(self._forget_broken_uploads)
        for shard in await asyncio.to_thread(self._shards):
            for digest, age in await asyncio.to_thread(self._in_shard, shard):
                yield digest, age

    def _shards(self) -> list[Path]:
        with self._explained("read"):
            if not self.path.exists():
                return []
            return sorted(each for each in self.path.iterdir() if len(each.name) == _SHARD_CHARS)

    def _in_shard(self, shard: Path) -> list[tuple[str, float]]:
        with self._explained("read"):
            return [found for found in _ages(shard) if len(found[0]) == _DIGEST_CHARS]

    def _forget_broken_uploads(self) -> None:
        with self._explained("written"):
            if self._incoming.exists():
                for name, age in _ages(self._incoming):
                    if age > _STALE_SECONDS:
                        (self._incoming / name).unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing to release."""

    # --- the folder ---

    def _place(self, digest: str) -> Path:
        return self.path / digest[:_SHARD_CHARS] / digest

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable(
                    f"The disk that holds the blobs in {self.path} is full.", hint="Free some space there."
                ) from problem
            raise Unavailable(
                f"The blobs in {self.path} cannot be {done}: {problem.strerror or problem}.",
                hint="Does the folder exist, and may this user read and write there?",
            ) from problem


def _ages(folder: Path) -> list[tuple[str, float]]:
    """(name, seconds since it was last written) of the files in `folder`. Skips what vanishes meanwhile."""
    now = time.time()
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found.append((entry.name, max(0.0, now - entry.stat().st_mtime)))
            except FileNotFoundError:
                continue
    return found


def _make_private(folder: Path) -> None:
    if not folder.exists():
        _make_private(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)


def _force(folder: Path) -> None:
    """Force a folder's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
