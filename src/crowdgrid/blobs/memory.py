"""`Blobs` in memory: for tests and throw-away grids."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from crowdgrid import limits
from crowdgrid.blobs.intake import PIECE_BYTES, Intake
from crowdgrid.errors import NotFound, TooLarge
from crowdgrid.ids import digest_of


class MemoryBlobs:
    """Everything in one dict."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._since: dict[str, float] = {}

    async def put(self, content: AsyncIterator[bytes], *, digest: str, size_max: int) -> int:
        intake = Intake(digest, size_max)
        if digest in self._kept:
            self._since[digest] = time.monotonic()
            return len(self._kept[digest])
        pieces: list[bytes] = []
        async for piece in content:
            intake.admit(len(piece))
            intake.add(piece)
            pieces.append(bytes(piece))
        intake.finish()
        self._keep(digest, b"".join(pieces))
        return intake.size

    async def put_bytes(self, content: bytes) -> str:
        if len(content) > limits.BLOB_BYTES:
            raise TooLarge(f"A blob has at most {limits.BLOB_BYTES:,} bytes.")
        digest = digest_of(content)
        self._keep(digest, content)
        return digest

    def _keep(self, digest: str, content: bytes) -> None:
        self._kept.setdefault(digest, content)
        self._since[digest] = time.monotonic()

    async def size(self, digest: str) -> int | None:
        found = self._kept.get(digest)
        return None if found is None else len(found)

    async def read(self, digest: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        content = (await self.read_bytes(digest))[start:stop]
        for at in range(0, len(content), PIECE_BYTES):
            yield content[at : at + PIECE_BYTES]

    async def read_bytes(self, digest: str) -> bytes:
        try:
            return self._kept[digest]
        except KeyError:
            raise NotFound(f"There is no blob {digest}.") from None

    async def remove(self, digest: str) -> None:
        self._kept.pop(digest, None)
        self._since.pop(digest, None)

    async def names(self) -> AsyncIterator[tuple[str, float]]:
        now = time.monotonic()
        for digest in list(self._kept):
            yield digest, now - self._since.get(digest, now)

    async def close(self) -> None:
        """Nothing to release; the content stays."""
