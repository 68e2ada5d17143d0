"""What a call raised, as data: enough to show it, and to raise it again where its class is known.

A failure names its class; nobody looks a class up because a failure names it (`client.raising` says what is done).
"""

from __future__ import annotations

from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An exception that left a function.

    Attributes:
        type: its class as in a traceback: "ValueError", "mymod.MyError".
        module: the module its class is from, e.g. "builtins".
        message: `str()` of it, bounded.
        args: its `args` as a packed value; b"" if they cannot travel.
        traceback: for people; frames of the function, with lines of source, no folders and no addresses.
        pickled: the exception as a pickle, codec pickle only; else b"".
        output: the end of what the call printed.
        attributes: what is set on it that is plain, as a packed dict; b"" for nothing.
        parts: the exceptions of a group.
        in_initializer: it left the initializer, so that nothing was called.
    """

    type: str
    module: str
    message: str
    args: bytes = b""
    traceback: str = ""
    pickled: bytes = b""
    output: str = ""
    attributes: bytes = b""
    parts: tuple[Failure, ...] = ()
    in_initializer: bool = False


_decoder: Final = msgspec.msgpack.Decoder(Failure)
_encoder: Final = msgspec.msgpack.Encoder()


def pack_failure(failure: Failure) -> bytes:
    """The bytes of a failure."""
    return _encoder.encode(failure)


def unpack_failure(data: bytes) -> Failure:
    """The failure in `data`. Raises BadInput when it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"These bytes do not say what a call raised: {error}.") from None


def with_output(data: bytes, output: str) -> bytes:
    """A packed failure with the end of what the call printed in it. Raises BadInput when it is none."""
    failure = unpack_failure(data)
    return pack_failure(msgspec.structs.replace(failure, output=output[-limits.STDERR_TAIL_BYTES :]))
