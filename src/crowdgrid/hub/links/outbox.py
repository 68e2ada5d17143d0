"""What is still to be sent on one client's link: one writer, a bounded queue, few frames.

Everything said in one turn of the event loop, and everything said while the socket is full, leaves in as few
frames as hold it. What waits is weighed: a reader of results is not given more above `HEAVY_BYTES` (it catches up
from the store later), and above `FULL_BYTES`, which only answers to its own requests can reach, it is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from crowdgrid import limits
from crowdgrid.hub.metrics import LinkFigures
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FULL_BYTES: Final = limits.FRAMES_QUEUED * limits.INLINE_BYTES
HEAVY_BYTES: Final = FULL_BYTES // 2
MESSAGE_BYTES: Final = 64  # roughly what a message costs beside its payload


class Outbox:
    """The way to one client.

    Args:
        send: the ASGI socket. figures: raised with what leaves.
        lighter: called each time something was sent.
        full: called when the client reads too slowly; the link is to be closed.
    """

    __slots__ = ("_figures", "_filled", "_full", "_lighter", "_messages", "_send", "weight")

    def __init__(
        self, send: Send, figures: LinkFigures, *, lighter: Callable[[], None], full: Callable[[], None]
    ) -> None:
        self._figures = figures
        self._send = send
        self._lighter = lighter
        self._full = full
        self._messages: list[m.Message] = []
        self._filled = asyncio.Event()
        self.weight = 0  # bytes (roughly) that wait

    @property
    def heavy(self) -> bool:
        """Whether results should wait."""
        return self.weight > HEAVY_BYTES

    def put(self, message: m.Message, weight: int = 0) -> None:
        """Say something; `weight` is the payload's size in bytes."""
        self._messages.append(message)
        self.weight += weight + MESSAGE_BYTES
        self._filled.set()
        if self.weight > FULL_BYTES:
            self._full()

    async def run(self) -> None:
        """Send what is put, for ever. Raises what the socket raises."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(0)  # one turn more: the answers of one commit share a frame
            await self.flush()

    async def flush(self) -> None:
        """Send everything that waits now."""
        messages, self._messages = self._messages, []
        weight = self.weight
        self._filled.clear()
        for frame in codec.frames(messages) if messages else ():
            self._figures.frames_out += 1
            self._figures.bytes_out += len(frame)
            await self._send({"type": "websocket.send", "bytes": frame})
        self.weight -= weight
        self._lighter()
