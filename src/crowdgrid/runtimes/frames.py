"""What pool and worker process say to one another: length-prefixed msgpack over a socketpair.

A worker says `Hello` once. Then, for each `Batch` it is sent, it says `Loaded` when the program is
ready to run (compiling is nobody's running time; a worker with a `progress` page says it there) and `Done`
one or more times, until every run of the batch is answered, in order. `Done.leaving` means the worker ends
itself after this message, because the program could not be stopped in any other way; runs not answered by
then want a fresh worker.

Invariants: one batch at a time; results are in the order of the runs; a frame is complete or the
other side is gone. Both ends are the same version of the same code, so nothing is negotiated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from crowdgrid.runtimes import Group, Result

HEADER_BYTES: Final = 8
FRAME_BYTES: Final = 1 << 31  # the most a pool takes from a worker, which may have been taken over


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The worker is up; `error` says in a sentence why it cannot run anything, else empty."""

    error: str = ""


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="batch"):
    """Run `program` (hex SHA-256, stored at `path`) once for each run of `groups`, in order."""

    program: str
    path: str
    groups: Sequence[Group]


class Loaded(msgspec.Struct, frozen=True, array_like=True, tag="loaded"):
    """The program is ready; the first run's time starts now."""


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """The next results of the batch."""

    results: list[Result]
    leaving: bool = False


Message = Hello | Batch | Loaded | Done

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytearray:
    """One frame: 8 bytes of length, little endian, then msgpack."""
    frame = bytearray(HEADER_BYTES)
    _encoder.encode_into(message, frame, HEADER_BYTES)
    frame[:HEADER_BYTES] = (len(frame) - HEADER_BYTES).to_bytes(HEADER_BYTES, "little")
    return frame


def decode(body: bytearray | memoryview) -> Message:
    """The message in a frame's body. Raises `msgspec.DecodeError` if it is none."""
    return _decoder.decode(body)


class Frames:
    """Cuts a byte stream into messages; what is incomplete waits in the buffer."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether the beginning of a frame has arrived and its end has not."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises `msgspec.DecodeError` for what is none."""
        self._buffer += data
        messages, used = _cut(self._buffer)
        del self._buffer[:used]
        return messages


def _cut(buffer: bytearray) -> tuple[list[Message], int]:
    """All whole messages in the buffer, and how many bytes they take."""
    messages: list[Message] = []
    start, end = 0, len(buffer)
    with memoryview(buffer) as view:
        while (body := start + HEADER_BYTES) <= end:
            size = int.from_bytes(view[start:body], "little")
            if size > FRAME_BYTES:
                raise msgspec.DecodeError("the frame is too large")
            if body + size > end:
                break
            messages.append(decode(view[body : body + size]))
            start = body + size
    return messages, start
