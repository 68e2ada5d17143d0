"""Content on its way in: measured and hashed piece by piece, so that nothing wrong is ever kept."""

from __future__ import annotations

import hashlib

from crowdgrid.errors import BadInput, TooLarge, Unavailable
from crowdgrid.ids import check_digest

PIECE_BYTES = 1 << 20
"""What is read or written at a time."""


class Intake:
    """One upload that must turn out to be `digest`.

    Raises:
        BadInput: `digest` is none.
    """

    def __init__(self, digest: str, size_max: int) -> None:
        self.digest = check_digest(digest)
        self.size = 0
        self._size_max = size_max
        self._hash = hashlib.sha256()

    def admit(self, arriving: int) -> None:
        """`arriving` more bytes are here. Raises TooLarge before anything over the limit is kept."""
        self.size += arriving
        if self.size > self._size_max:
            raise TooLarge(f"The upload is larger than the {self._size_max:,} bytes allowed here.")

    def add(self, piece: bytes | bytearray) -> None:
        """The next piece, in order. Slow for large pieces: call it where blocking is no matter."""
        self._hash.update(piece)

    def finish(self) -> None:
        """All of it is here. Raises BadInput when it is something else than announced."""
        found = self._hash.hexdigest()
        if found != self.digest:
            raise BadInput(
                f"The upload hashes to {found}, not to {self.digest}.",
                hint="It was damaged on the way, or the digest is of something else: send it again.",
            )


def damaged(digest: str, place: str) -> Unavailable:
    """What is kept is not what was stored."""
    return Unavailable(
        f"The blob {digest} in {place} is damaged: its content has changed since it was stored.",
        hint="It was set aside. Upload it again, or restore it from a backup; and check that disk.",
    )
