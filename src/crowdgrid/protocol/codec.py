"""Frames: a msgpack list of messages, decoded and validated in one step.

Only tuples, bytes, text and numbers are ever made from what a stranger sends; no type is looked up by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput, TooLarge
from crowdgrid.protocol import messages as m

T = TypeVar("T")
_UNKNOWN_TAG = re.compile(r"Invalid value '(.*)' - at `\$(?:\[\d+\])?\[0\]`$", re.DOTALL)
_encoder = msgspec.msgpack.Encoder()


class Unknown(msgspec.Struct, frozen=True):
    """A message of a kind this side does not know: it is answered with `Error` and the link lives."""

    tag: str


class FrameDecoder(Generic[T]):
    """Decodes frames of one direction of one link."""

    def __init__(self, union: Any) -> None:
        self._frame: msgspec.msgpack.Decoder[list[T]] = msgspec.msgpack.Decoder(list[union])
        self._one: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(union)
        self._apart: msgspec.msgpack.Decoder[list[msgspec.Raw]] = msgspec.msgpack.Decoder(list[msgspec.Raw])

    def decode(self, frame: bytes) -> list[T | Unknown]:
        """The messages of one frame; those of a later version of the protocol as `Unknown`.

        Raises:
            TooLarge: the frame is over `limits.FRAME_BYTES`.
            BadInput: no msgpack, or not what the schema says.
        """
        if len(frame) > limits.FRAME_BYTES:
            raise TooLarge(f"A frame of {len(frame):,} bytes is over the limit of {limits.FRAME_BYTES:,}.")
        try:
            try:
                return list(self._frame.decode(frame))
            except msgspec.ValidationError as error:
                if not _UNKNOWN_TAG.match(str(error)):
                    raise
                return [self._known(raw) for raw in self._apart.decode(frame)]
        except msgspec.ValidationError as error:
            raise BadInput(f"A message does not fit the schema: {error}.") from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadInput(f"A frame is not msgpack: {error}.") from None

    def _known(self, raw: msgspec.Raw) -> T | Unknown:
        try:
            return self._one.decode(raw)
        except msgspec.ValidationError as error:
            found = _UNKNOWN_TAG.match(str(error))
            if found is None:
                raise
            return Unknown(found.group(1)[:40])


def encode(messages: Sequence[m.Message]) -> bytes:
    """One frame of `messages`; the caller keeps it under `limits.FRAME_BYTES`."""
    return _encoder.encode(messages)


def frames(messages: Sequence[m.Message]) -> list[bytes]:
    """As few frames as hold `messages` in order. Raises TooLarge when one alone is over the limit."""
    whole = _encoder.encode(messages)
    if len(whole) <= limits.FRAME_BYTES:
        return [whole]
    if len(messages) == 1:
        raise TooLarge(f"A {type(messages[0]).__name__} of {len(whole):,} bytes does not fit a frame.")
    half = len(messages) // 2
    return frames(messages[:half]) + frames(messages[half:])


node_to_hub: FrameDecoder[m.NodeToHub] = FrameDecoder(m.NodeToHub)
hub_to_node: FrameDecoder[m.HubToNode] = FrameDecoder(m.HubToNode)
client_to_hub: FrameDecoder[m.ClientToHub] = FrameDecoder(m.ClientToHub)
hub_to_client: FrameDecoder[m.HubToClient] = FrameDecoder(m.HubToClient)
