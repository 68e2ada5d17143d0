"""Programs and inputs on this machine: fetched once by digest, kept on disk, oldest use goes first.

A file's name is the digest it was checked against when it came; it is checked again when the agent
starts to use it after a restart only by those who load it (a program's worker checks; an input is hashed
when it is read), so a damaged disk cannot turn into a wrong answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from crowdgrid import limits
from crowdgrid.errors import CrowdgridError, Unavailable
from crowdgrid.ids import check_digest

TRIES: Final = 4
AGAIN_SECONDS: Final = (0.2, 1.0, 3.0)
AT_ONCE: Final = 4  # downloads

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where blobs come from: `transfer.Transfer`."""

    async def get(self, digest: str, into: Path, size_max: int) -> None: ...


class Programs:
    """The cache in `folder`, of at most `bytes_max`.

    Args:
        sleep: waits between tries.

    Raises:
        Unavailable: the folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        bytes_max: int,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self._folder, self._source, self._bytes_max, self._sleep = folder, source, bytes_max, sleep
        self._coming: dict[str, asyncio.Task[Path]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for draft in folder.glob("*.part"):
                draft.unlink(missing_ok=True)
            self._sizes = dict(sorted(_found(folder), key=lambda one: (folder / one[0]).stat().st_mtime))
        except OSError as error:
            raise Unavailable(f"The cache {folder} cannot be used: {error.strerror}.") from None

    def here(self, digest: str) -> Path | None:
        """Where a blob is, if it is here; it counts as used now."""
        if digest not in self._sizes:
            return None
        path = self._folder / digest
        self._sizes[digest] = self._sizes.pop(digest)  # to the end: last used
        try:
            path.touch()
        except OSError:
            self._sizes.pop(digest)
            return None
        return path

    async def path(self, digest: str) -> Path:
        """Where a blob is, fetched if need be. Raises the CrowdgridError of the last try."""
        found = self.here(digest)
        if found is not None:
            return found
        task = self._coming.get(digest)
        if task is None:
            task = self._coming[digest] = asyncio.get_running_loop().create_task(self._fetch(check_digest(digest)))
            task.add_done_callback(lambda _: self._coming.pop(digest, None))
        return await asyncio.shield(task)

    def want(self, digests: Sequence[str]) -> None:
        """Begin to fetch what will be read soon. A failure shows when it is read."""
        for digest in digests:
            if digest not in self._sizes and digest not in self._coming:
                task = self._coming[digest] = asyncio.get_running_loop().create_task(self._fetch(digest))
                task.add_done_callback(partial(self._came, digest))

    def fetch(self, digest: str, then: Callable[[str | CrowdgridError], None]) -> None:
        """Have a blob here; `then` gets its path or why it cannot be had."""

        def came(done: asyncio.Task[Path]) -> None:
            if not done.cancelled():
                error = done.exception()
                if error is not None and not isinstance(error, CrowdgridError):
                    error = Unavailable(f"It cannot be kept on this node's disk ({error}).")
                then(error or str(done.result()))

        if digest not in self._coming:
            self.want([digest])
        self._coming[digest].add_done_callback(came)

    async def read(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Content of blobs, each checked against its digest."""
        return {digest: await self._content(digest) for digest in digests}

    async def close(self) -> None:
        """Break off downloads."""
        coming = list(self._coming.values())
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)

    def _came(self, digest: str, done: asyncio.Task[Path]) -> None:
        self._coming.pop(digest, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            log.debug("Could not fetch %s ahead: %s", digest, error)

    async def _content(self, digest: str) -> bytes:
        for _ in range(2):
            path = await self.path(digest)
            data = await asyncio.to_thread(_read, path, digest)
            if data is not None:
                return data
            self._drop(digest)  # damaged or gone: fetch it anew
        raise Unavailable(f"The blob {digest[:12]}… cannot be read back from this node's disk.")

    async def _fetch(self, digest: str) -> Path:
        path = self._folder / digest
        async with self._turns:
            for attempt in range(TRIES):
                try:
                    await self._source.get(digest, path, limits.BLOB_BYTES)
                    break
                except CrowdgridError as error:
                    if not error.retryable or attempt == TRIES - 1:
                        raise
                    await self._sleep(AGAIN_SECONDS[attempt])
        self._sizes[digest] = path.stat().st_size
        self._evict(keep=digest)
        return path

    def _evict(self, keep: str) -> None:
        total = sum(self._sizes.values())
        for digest in list(self._sizes):
            if total <= self._bytes_max:
                return
            if digest != keep:
                total -= self._sizes[digest]
                self._drop(digest)

    def _drop(self, digest: str) -> None:
        self._sizes.pop(digest, None)
        with contextlib.suppress(OSError):
            (self._folder / digest).unlink()


def _read(path: Path, digest: str) -> bytes | None:
    """The content; None when it cannot be read or is not what it was. In a thread: an input may have hundreds of MB."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _found(folder: Path) -> list[tuple[str, int]]:
    return [(path.name, path.stat().st_size) for path in folder.iterdir() if len(path.name) == 64 and path.is_file()]
