"""A hub for the agent's tests: a real server on a real socket that speaks the protocol, and does as the test says."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from crowdgrid.core.model import Verdict
from crowdgrid.protocol import codec, signing
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import Input

M = TypeVar("M")
GRID = b"grid-for-testing"
TOKEN = "blob-token"
SECONDS = 20.0  # the longest a test waits for anything


class Session:
    """One agent's link, as the hub sees it."""

    def __init__(self, hub: ScriptedHub, socket: WebSocket) -> None:
        self.hub = hub
        self.socket = socket
        self.hello: m.Hello | None = None
        self.received: list[Any] = []
        self.frames: list[bytes] = []
        self.closed = False
        self._news = asyncio.Event()
        self._looked: dict[type, int] = {}

    async def send(self, *messages: m.Message) -> None:
        for frame in codec.frames(messages):
            await self.socket.send_bytes(frame)

    async def next(self, kind: type[M], accept: Callable[[M], bool] = lambda message: True) -> M:
        """The next message of `kind` not looked at yet; those of the kind before it are passed over."""
        async with asyncio.timeout(SECONDS):
            while True:
                while self._looked.setdefault(kind, 0) < len(self.received):
                    message = self.received[self._looked[kind]]
                    self._looked[kind] += 1
                    if isinstance(message, kind) and accept(message):
                        return message
                if self.closed:
                    raise AssertionError(f"the link closed before a {kind.__name__} came")
                self._news.clear()
                await self._news.wait()

    async def ended(self) -> None:
        async with asyncio.timeout(SECONDS):
            while not self.closed:
                self._news.clear()
                await self._news.wait()

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.received if isinstance(message, kind)]

    @property
    def results(self) -> dict[bytes, m.ResultEntry]:
        return {entry.assignment: entry for report in self.all(m.Report) for entry in report.results}

    async def results_of(self, assignments: Sequence[bytes]) -> list[m.ResultEntry]:
        while any(one not in self.results for one in assignments):
            await self.next(m.Report)
        return [self.results[one] for one in assignments]

    def take(self, frame: bytes) -> list[Any]:
        self.frames.append(frame)
        messages = codec.node_to_hub.decode(frame)
        self.received += messages
        return messages

    def news(self) -> None:
        self._news.set()


class ScriptedHub:
    """A server on 127.0.0.1. What it does by itself: the handshake, beats, verdicts; each can be turned off."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.tls = tls
        self.sessions: list[Session] = []
        self.blobs: dict[str, bytes] = {}
        self.blobs_got: list[str] = []
        self.acknowledge = True
        self.beats = True
        self.heartbeat_ms = 20_000
        self.refuse: m.Error | None = None  # said in place of Welcome
        self.challenge = m.Challenge(os.urandom(32), GRID)
        self.grid = GRID
        self.owner = "olga"  # of every node, as it says in Welcome
        self.port = 0
        self.proofs = 0
        self._greeted = 0
        self._count = 0
        self._arrived = asyncio.Event()
        self._served = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    # --- life ---

    async def start(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        app = Starlette(
            routes=[
                WebSocketRoute("/v1/node", self._node),
                Route("/v1/blobs/{digest}", self._blob, methods=["GET", "PUT"]),
            ]
        )
        config = uvicorn.Config(
            app, log_level="error", lifespan="off", ws="websockets-sansio", ws_max_size=1 << 24, ws_ping_interval=None
        )
        if self.tls is not None:
            config.ssl_certfile, config.ssl_keyfile = map(str, self.tls)
        config.load()
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._task = asyncio.create_task(self._server._serve([listening]))
        while not self._server.started:  # noqa: ASYNC110 — uvicorn tells nobody
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Gone at once, as if it were killed."""
        assert self._server is not None
        assert self._task is not None
        for session in self.sessions:
            if not session.closed:
                await session.socket.close(1012)
        self._server.should_exit = self._server.force_exit = True
        await self._task

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def session(self) -> Session:
        """The next link that got as far as its Welcome."""
        async with asyncio.timeout(SECONDS):
            while self._served >= len(self.sessions):
                self._arrived.clear()
                await self._arrived.wait()
        self._served += 1
        return self.sessions[self._served - 1]

    async def greetings(self, count: int) -> None:
        """Wait until agents have said Hello so often, whatever came of it."""
        async with asyncio.timeout(SECONDS):
            while self._greeted < count:
                self._arrived.clear()
                await self._arrived.wait()

    # --- leases ---

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return digest

    def spec(self, program: bytes = b"", **changed: Any) -> m.LeaseSpec:
        fields: dict[str, Any] = {
            "job": "job",
            "program": self.put(program),
            "program_bytes": len(program),
            "runtime": "echo",
            "args": (),
            "timeout_ms": 60_000,
            "memory_bytes": 1 << 20,
            "output_bytes": 1 << 20,
            "milli_cpus": 1000,
            "split": "range",
        }
        return m.LeaseSpec(**(fields | changed))

    def lease(self, start: int = 0, stop: int = 1, given: Input | None = None, **changed: Any) -> m.Lease:
        self._count += 1
        fields: dict[str, Any] = {
            "assignment": self._count.to_bytes(16, "big"),
            "spec": 0,
            "start": start,
            "stop": stop,
            "input": given or Input(tails=((str(start), str(stop)),)),
            "deadline_ms": 600_000,
        }
        return m.Lease(**(fields | changed))

    # --- what the server does ---

    async def _node(self, socket: WebSocket) -> None:
        await socket.accept()
        session = Session(self, socket)
        try:
            if await self._handshake(session):
                self.sessions.append(session)
                self._arrived.set()
                while True:
                    for message in session.take(await socket.receive_bytes()):
                        await self._answer(session, message)
                    session.news()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            session.closed = True
            session.news()

    async def _handshake(self, session: Session) -> bool:
        (hello,) = session.take(await session.socket.receive_bytes())
        assert isinstance(hello, m.Hello)
        session.hello = hello
        self._greeted += 1
        self._arrived.set()
        await session.send(self.challenge)
        (proof,) = session.take(await session.socket.receive_bytes())
        assert isinstance(proof, m.Proof)
        self.proofs += 1
        if self.refuse is not None:
            await session.send(self.refuse)
            await session.socket.close()
            return False
        assert signing.verify_proof(hello.key, self.challenge.grid, self.challenge.nonce, proof.signature)
        await session.send(
            m.Welcome(
                1, "did:key:test", "tester", self.grid, self.heartbeat_ms, 60_000, blob_token=TOKEN, owner=self.owner
            )
        )
        return True

    async def _answer(self, session: Session, message: Any) -> None:
        if isinstance(message, m.Heartbeat) and self.beats:
            await session.send(m.Beat(message.sent))
        elif isinstance(message, m.Report):
            assert session.hello is not None
            assert signing.verify_leaves(session.hello.key, self.grid, message.leaves, message.signature)
            if self.acknowledge:
                await session.send(m.Acknowledge(tuple((one.assignment, Verdict.COUNTED) for one in message.results)))

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        if request.headers.get("authorization") != f"Node {TOKEN}":
            return Response(status_code=403)
        if request.method == "PUT":
            self.blobs[digest] = await request.body()
            return Response(status_code=201)
        self.blobs_got.append(digest)
        found = self.blobs.get(digest)
        return Response(found) if found is not None else Response(status_code=404)


@asynccontextmanager
async def serving(tls: tuple[Path, Path] | None = None) -> AsyncIterator[ScriptedHub]:
    hub = ScriptedHub(tls)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()
