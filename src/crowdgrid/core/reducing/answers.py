"""Answers of a task whose units are runs of their own (items, grids), packed into one payload.

It is in `core` because the engine looks inside: whether a packed payload holds a hit, how many items failed.
Layout: one byte version, then a msgpack array of `[ok, data, error]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput

VERSION: Final = b"\x01"


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one run came to.

    Attributes:
        ok: the program exited with 0.
        data: its stdout when ok, else empty.
        error: one sentence when not ok, else "". It is shown whole, so that a node may not write a book.
    """

    ok: bool
    data: bytes = b""
    error: Annotated[str, msgspec.Meta(max_length=limits.ANSWER_ERROR_CHARS)] = ""


_encoder = msgspec.msgpack.Encoder()
# The number is looked at before anything is made: in two bytes each, a blob holds a hundred million of them.
_decoder: msgspec.msgpack.Decoder[list[Answer]] = msgspec.msgpack.Decoder(
    Annotated[list[Answer], msgspec.Meta(max_length=limits.APPEND_ITEMS)]
)


def pack_answers(answers: Sequence[Answer]) -> bytes:
    """The payload of a task of items or of a grid, one answer a unit, in order."""
    return VERSION + _encoder.encode(answers)


def unpack_answers(payload: bytes) -> list[Answer]:
    """The answers in a payload.

    Raises:
        BadInput: it is something else, or holds more answers than a task has runs.
    """
    if payload[:1] != VERSION:
        raise BadInput("The answers of a task are not packed in a known way.")
    try:
        return _decoder.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The packed answers of a task cannot be read: {error}.") from None
