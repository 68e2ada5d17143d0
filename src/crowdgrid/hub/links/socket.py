"""One WebSocket of a link, straight on ASGI: frames in, frames out, cut off when the reader is too slow.

Messages gather in an outbox and leave together; nothing waits for a slow peer but its own outbox, and an idle
link costs no task of its own for writing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any, Final

from crowdgrid import limits
from crowdgrid.errors import TooLarge
from crowdgrid.hub.metrics import LinkFigures
from crowdgrid.protocol import codec
from crowdgrid.protocol.messages import Message

log = logging.getLogger("crowdgrid.links")

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
POLICY: Final = 1008
TOO_SLOW: Final = 1013

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CLOSE_SECONDS: Final = 2.0  # a peer that reads nothing is not waited for any longer
_OUTBOX_MESSAGES: Final = limits.FRAMES_QUEUED * 64


def _frames(messages: Sequence[Message]) -> Iterator[bytes]:
    """Frames of `messages`; one message too large for any frame is left out and the others still go."""
    try:
        yield from codec.frames(messages)
    except TooLarge as error:
        if len(messages) == 1:
            log.error("A message could not be sent: %s", error.message)
            return
        for message in messages:
            yield from _frames((message,))


class LinkSocket:
    """The hub's end of one accepted WebSocket.

    Args:
        receive, send: the ASGI callables. traffic: counters to raise.
    """

    def __init__(self, receive: Receive, send: Send, traffic: LinkFigures) -> None:
        self._receive = receive
        self._send = send
        self._traffic = traffic
        self._outbox: deque[Message] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[Any] | None = None
        self.closed = False
        self.broken = False  # it was closed on a peer that did not read; whoever reads from it is cancelled

    async def receive(self) -> bytes | None:
        """The next frame; None when the peer is gone. Text is not spoken here and ends the link."""
        self._reader = asyncio.current_task()
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self.closed = True
            return None
        data = event.get("bytes")
        if data is None:
            await self.close(PROTOCOL_ERROR, "Frames are binary msgpack.")
            return None
        self._traffic.frames_in += 1
        self._traffic.bytes_in += len(data)
        return bytes(data)

    def say(self, *messages: Message) -> None:
        """Send messages as soon as the peer takes them, in order."""
        if self.closed:
            return
        self._outbox.extend(messages)
        if len(self._outbox) > _OUTBOX_MESSAGES:
            self._traffic.cut_off += 1
            self._outbox.clear()
            self._spawn(self.close(TOO_SLOW, "The link does not read what it is sent."))
        elif self._flusher is None:
            self._spawn(self._flush())

    def _spawn(self, coroutine: Any) -> None:
        self._flusher = asyncio.get_running_loop().create_task(coroutine)

    async def _flush(self) -> None:
        try:
            while self._outbox and not self.closed:
                messages = list(self._outbox)
                self._outbox.clear()
                for frame in _frames(messages):
                    self._traffic.frames_out += 1
                    self._traffic.bytes_out += len(frame)
                    await self._send({"type": "websocket.send", "bytes": frame})
        except (OSError, RuntimeError) as error:  # the peer is gone
            log.debug("A link could not be written: %s", error)
            self.closed = True
        finally:
            self._flusher = None

    async def drain(self) -> None:
        """Until what was said has left, or cannot."""
        while self._flusher is not None and not self.closed:
            _, late = await asyncio.wait([self._flusher], timeout=CLOSE_SECONDS)
            if late:
                return

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye; harmless when it is closed already."""
        if self.closed:
            return
        self.closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:100]})
        except TimeoutError:
            self._break_off()
        except (OSError, RuntimeError) as error:
            log.debug("A link could not be closed: %s", error)

    def _break_off(self) -> None:
        self.broken = True
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()

    async def close_after(self, code: int, reason: str) -> None:
        """Close once what was said has left."""
        await self.drain()
        await self.close(code, reason)
