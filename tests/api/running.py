"""A real hub for tests: uvicorn on a loopback port in a thread of its own, on a store and blobs in memory.

A node is played by hand with the commands its link would give the keeper, so that a test decides what it answers
and when; everything else is the hub as it runs for people.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from crowdgrid.blobs.memory import MemoryBlobs
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import Assignment, Node, Outcome, Task, Token
from crowdgrid.hub.access import secret_hash
from crowdgrid.hub.app import App, build
from crowdgrid.hub.server import HubServer, server_of
from crowdgrid.settings import HubSettings
from crowdgrid.store.memory import MemoryStore

T = TypeVar("T")
ADMIN_TOKEN = "cg_the-admin-of-these-tests"
ECHO = (Path(__file__).parents[2] / "src/crowdgrid/kernels/echo.wasm").read_bytes()
_names = itertools.count()


class RunningHub:
    """A hub that runs, and the ways in."""

    def __init__(self, app: App, server: HubServer, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.app = app
        self.hub = app.hub
        self.server = server
        self.url = url
        self._loop = loop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the hub's event loop."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(20)

    def ask(self, command: c.Command) -> Any:
        return self.do(self.hub.keeper.ask(command))

    def token(self, owner: str, role: str) -> str:
        """A token made as the API would have."""
        secret = f"cg_{owner}-{role}-of-these-tests"
        if not self.hub.access.knows(secret):
            self.ask(c.Put(Token(0, secret_hash(secret), owner, role, role, self.hub.keeper.now())))
        return secret

    def client(self, owner: str = "", role: str = "submitter") -> httpx.Client:
        """Somebody with a token; without an owner the admin."""
        secret = self.token(owner, role) if owner else ADMIN_TOKEN
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {secret}"}, timeout=20)

    def anybody(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20)

    def node(self, owner: str = "ada", **told: Any) -> HandNode:
        return HandNode(self, owner, **told)


class HandNode:
    """A node whose every word a test says."""

    def __init__(self, hub: RunningHub, owner: str, **told: Any) -> None:
        self._hub = hub
        key = hashlib.sha256(f"node {next(_names)}".encode()).digest()
        fields: dict[str, Any] = {
            "name": "hand",
            "runtimes": ("wasm", "echo"),
            "milli_cpus": 64_000,
            "memory_bytes": 64 << 30,
            "speed": 1e6,
        } | told
        self.record: Node = hub.ask(c.Join(Node(number=0, key=key, owner=owner, group="", created_at=0, **fields)))
        self._leases: list[tuple[Task, Assignment]] = []
        self._arrived = threading.Event()
        hub.hub.keeper.listeners.append(self._hear)
        hub.ask(c.Connect(self.record, 1))

    def _hear(self, effects: Sequence[e.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, e.Assign) and effect.node == self.record.number:
                self._leases += effect.leases
                self._arrived.set()

    def fetch(self, slots: int = 1) -> None:
        self._hub.ask(c.Fetch(self.record.number, slots, 64_000, 64 << 30))

    def lease(self) -> tuple[Task, Assignment]:
        """The next task this node was given."""
        while not self._leases:
            assert self._arrived.wait(10), "no task was leased"
            self._arrived.clear()
        return self._leases.pop(0)

    def report(
        self,
        lease: tuple[Task, Assignment],
        payload: bytes = b"",
        *,
        error: str = "",
        errors: int = 0,
        blob: str = "",
        outcome: Outcome = Outcome.OK,
        stderr: bytes = b"",
    ) -> None:
        digest = hashlib.sha256(payload or error.encode()).digest()
        if error and outcome is Outcome.OK:
            outcome = Outcome.PROGRAM_ERROR
        result = c.Reported(
            lease[1].key, outcome, digest, payload, blob, len(payload), error, errors or int(bool(error)), stderr=stderr
        )
        self._hub.ask(c.Report(self.record.number, (result,)))

    def work(self, answer: bytes = b"1") -> Task:
        """Fetch one task and answer it."""
        self.fetch()
        lease = self.lease()
        self.report(lease, answer)
        return lease[0]

    def leave(self) -> None:
        self._hub.ask(c.Disconnect(self.record.number, 1))
        self._hub.hub.keeper.listeners.remove(self._hear)


@contextmanager
def running(folder: Path, *, store: Any = None, blobs: Any = None, **options: Any) -> Iterator[RunningHub]:
    """A hub on a free loopback port, until the block ends."""
    settings = HubSettings(**{"listen": "127.0.0.1:0", "data": str(folder), "admin_token": ADMIN_TOKEN, **options})
    ready: Future[RunningHub] = Future()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(settings, store or MemoryStore(), blobs or MemoryBlobs(), ready))
    )
    thread.start()
    hub = ready.result(20)
    try:
        yield hub
    finally:
        hub.server.stop()
        thread.join(20)
        assert not thread.is_alive(), "the hub did not stop"


async def _serve(settings: HubSettings, store: Any, blobs: Any, ready: Future[RunningHub]) -> None:
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            app = build(settings, store=store, blobs=blobs)
            server = server_of(app, settings)
            await app.start()
            host, port = listener.getsockname()
            hub = RunningHub(app, server, asyncio.get_running_loop(), f"http://{host}:{port}")
            serving = asyncio.create_task(server.serve([listener]))
            while not server.should_exit:
                if server.started and not ready.done():
                    ready.set_result(hub)
                await asyncio.sleep(0.01)
            await app.say_goodbye()
            await serving
            await app.stop()
    except BaseException as error:
        if not ready.done():
            ready.set_exception(error)
        raise
