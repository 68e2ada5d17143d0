"""Many nodes in one process: real WebSockets, real Hello and Proof with a key each, heartbeats; they run nothing.

`python -m benchmarks.crowd '{"url": …}'` connects them, says what that took as one line of JSON, then sends every
node's heartbeat each 20 s, evenly spread, until its standard input closes. Told to, each makes one standing offer
first and sits on the leases it gets.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.uri import parse_uri

from benchmarks.processes import BenchmarkFailed
from crowdgrid import limits
from crowdgrid.agent.probe import inventory
from crowdgrid.protocol import codec, signing
from crowdgrid.protocol import messages as m

AT_ONCE = 64  # handshakes under way
STEP_SECONDS = 0.05


class Crowd(msgspec.Struct):
    """What to connect. `slots`: the offer each makes; 0 none. `leases`: how many are awaited before it is ready."""

    url: str
    invitation: str
    nodes: int
    ca: str = ""
    runtime: str = "wasm"
    slots: int = 0
    leases: int = 0


class Arrived(msgspec.Struct):
    """They are connected, and hold so many leases."""

    seconds: float
    leases: int


class CrowdNode(asyncio.Protocol):
    """One node: asyncio's transport, websockets' protocol without I/O, crowdgrid's messages."""

    __slots__ = ("_crowd", "_hello", "_key", "_transport", "_ws", "held", "up")

    def __init__(self, crowd: Crowd, about: dict[str, Any]) -> None:
        self._crowd = crowd
        self._key = Ed25519PrivateKey.generate()
        self._hello: m.Hello | None = m.Hello(
            version=m.VERSION,
            key=signing.public_bytes(self._key),
            name="one of many",
            invitation=crowd.invitation,
            runtimes=(crowd.runtime,),
            memory_bytes=8 << 30,
            inventory=about,
        )
        self._ws = ClientProtocol(parse_uri("ws" + crowd.url.removeprefix("http") + "/v1/node"))
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ws.send_request(self._ws.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Response):
                assert self._hello is not None
                self.say(self._hello)
            elif isinstance(event, Frame) and event.data:
                for message in codec.hub_to_node.decode(bytes(event.data)):
                    self._take(message)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.up.done():
            self.up.set_exception(BenchmarkFailed("The hub closed a link during its handshake."))

    def say(self, *messages: m.Message) -> None:
        self._ws.send_binary(codec.encode(messages))
        self._flush()

    def beat(self) -> None:
        if not self._transport.is_closing():
            self.say(m.Heartbeat(tuple(self.held), int(time.monotonic() * 1e6), {"action": "run", "rtt_ms": 1.0}))

    def _flush(self) -> None:
        for part in self._ws.data_to_send():
            if part:
                self._transport.write(part)

    def _take(self, message: m.HubToNode | codec.Unknown) -> None:
        match message:
            case m.Challenge(nonce, grid):
                assert self._hello is not None
                self.say(m.Proof(self._key.sign(signing.proof_bytes(grid, nonce, self._hello.key))))
            case m.Welcome():
                self._hello = None
                if self._crowd.slots:
                    self.say(m.Fetch(self._crowd.slots, 1000, 8 << 30))
                self.up.set_result(None)
            case m.Assign():
                self.held += [lease.assignment for lease in message.leases]
            case m.Error() if not self.up.done():
                self.up.set_exception(BenchmarkFailed(message.message))
            case _:
                pass


async def connect_all(crowd: Crowd) -> list[CrowdNode]:
    loop = asyncio.get_running_loop()
    parts = parse_uri(crowd.url.replace("http", "ws", 1))
    context = ssl.create_default_context(cafile=crowd.ca) if crowd.ca else None
    about = inventory(Path.cwd())
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> CrowdNode:
        async with gate:
            _, node = await loop.create_connection(
                lambda: CrowdNode(crowd, about),
                parts.host,
                parts.port,
                ssl=context,
                server_hostname=parts.host if context else None,
            )
            await asyncio.wait_for(node.up, 60)
            return node

    return await asyncio.gather(*(one() for _ in range(crowd.nodes)))


async def beat_for_ever(nodes: list[CrowdNode]) -> None:
    """Each node's heartbeat once in 20 s, evenly spread."""
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    while True:
        await asyncio.sleep(STEP_SECONDS)
        due = int((loop.time() - began) * len(nodes) / limits.HEARTBEAT_SECONDS)
        for at in range(sent, due):
            nodes[at % len(nodes)].beat()
        sent = max(sent, due)


async def run(crowd: Crowd) -> None:
    began = time.perf_counter()
    nodes = await connect_all(crowd)
    took = time.perf_counter() - began
    beats = asyncio.ensure_future(beat_for_ever(nodes))
    while held_by(nodes) < crowd.leases:  # noqa: ASYNC110 - nothing else happens here
        await asyncio.sleep(0.05)
    print(msgspec.json.encode(Arrived(took, held_by(nodes))).decode(), flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    beats.cancel()


def held_by(nodes: Iterable[CrowdNode]) -> int:
    return sum(len(node.held) for node in nodes)


def raise_files_limit() -> int:
    """As many open files as this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main() -> None:
    raise_files_limit()
    crowd = msgspec.json.decode(sys.argv[1], type=Crowd)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(crowd))


if __name__ == "__main__":
    main()
