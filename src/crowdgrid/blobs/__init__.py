"""Port `Blobs`: content-addressed bytes too large for a message. Adapters: `memory.py`, `folder.py`.

A blob's name is the hex SHA-256 of its content, so it is written once, never changed, and checked when it
is read whole. `tests/contracts/test_blobs.py` is the contract. Who may read or write one is the hub's matter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class Blobs(Protocol):
    """Raises `errors.Unavailable` when the place cannot be reached or written (say which and why)."""

    async def put(self, content: AsyncIterator[bytes], *, digest: str, size_max: int) -> int:
        """Store content that must hash to `digest`; returns its size in bytes. A blob already there is left as it
        is. Durable when it returns; a broken upload leaves nothing. Raises `errors.BadInput` when the
        content hashes to something else, `errors.TooLarge` above `size_max`."""
        ...

    async def put_bytes(self, content: bytes) -> str:
        """Store `content` and return its digest."""
        ...

    async def size(self, digest: str) -> int | None:
        """Its size in bytes, or None when it is not here."""
        ...

    def read(self, digest: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Bytes [start, stop) in pieces. Raises `errors.NotFound`."""
        ...

    async def read_bytes(self, digest: str) -> bytes:
        """All of it, checked against the digest. Raises `errors.NotFound`, or `errors.Unavailable` when it is damaged."""
        ...

    async def remove(self, digest: str) -> None:
        """Forget it; nothing happens when it is not there."""
        ...

    def names(self) -> AsyncIterator[tuple[str, float]]:
        """(digest, age in seconds) of everything here, for the collector."""
        ...

    async def close(self) -> None: ...
