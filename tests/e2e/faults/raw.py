"""Nodes and clients that say what they like: the codec and a WebSocket, nothing that would stop a bad word.

A `RawNode` proves its key and can do everything right as well, so that a test does one thing wrong at a time.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from crowdgrid import limits
from crowdgrid.core.model import Outcome, Range, Verdict
from crowdgrid.ids import did_of
from crowdgrid.protocol import codec, packing, signing
from crowdgrid.protocol import messages as m
from tests.e2e.grid import INVITATION, TOKEN

M = TypeVar("M")
SECONDS: Final = 30.0


class RawLink:
    """One WebSocket to a hub, and what came over it.

    Args:
        url: of the hub. path: of the link. decoder: of what the hub says.
        room: bytes the system may keep for it unread, 0 for the usual.
    """

    def __init__(
        self, url: str, path: str, decoder: Any, headers: dict[str, str] | None = None, *, room: int = 0
    ) -> None:
        self._opened = connect(
            "ws" + url.removeprefix("http") + path,
            additional_headers=headers,
            compression=None,
            max_size=limits.FRAME_BYTES,
            open_timeout=SECONDS,
            close_timeout=1,
            proxy=None,
            sock=_socket(url, room) if room else None,
            max_queue=1,
        )
        self.socket: ClientConnection = self._opened.__enter__()
        self._decoder = decoder
        self._waiting: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def drop(self) -> None:
        """Let the connection go without a word."""
        self.socket.socket.close()

    def say(self, *messages: m.Message) -> None:
        self.socket.send(codec.encode(messages))

    def next(self, kind: type[M], accept: Callable[[M], bool] = lambda message: True) -> M:
        """The next message of this kind; those before it are passed over. Fails when the hub hangs up first."""
        while True:
            while self._waiting:
                message = self._waiting.pop(0)
                if isinstance(message, kind) and accept(message):
                    return message
            self._waiting += self._decoder.decode(self.socket.recv(SECONDS))

    def error(self) -> m.Error:
        """The error the hub answers with."""
        return self.next(m.Error)

    def ended(self) -> tuple[int, str]:
        """Close code and reason, once the hub has hung up."""
        try:
            while True:
                self.socket.recv(SECONDS)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


def _socket(url: str, room: int) -> socket.socket:
    where = urlsplit(url)
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    found.connect((where.hostname, where.port))
    return found


class RawClient(RawLink):
    """A submitter's link."""

    def __init__(self, url: str, token: str = TOKEN, *, room: int = 0) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        super().__init__(url, "/v1/client", codec.hub_to_client, headers, room=room)
        self._ids = 0

    def id(self) -> int:
        self._ids += 1
        return self._ids

    def ask(self, kind: type[m.Message], *words: Any, **named: Any) -> Any:
        """Send a request; its answer, whatever it is."""
        id = self.id()
        self.say(kind(id, *words, **named))
        return self.next(m.Message, lambda message: getattr(message, "id", 0) == id)


class RawNode(RawLink):
    """A node. `greet` lets it in; then it holds a place in the grid with the key it was made with."""

    def __init__(self, url: str, seed: str, *, invitation: str = INVITATION, greet: bool = True, room: int = 0) -> None:
        super().__init__(url, "/v1/node", codec.hub_to_node, room=room)
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
        self.public = signing.public_bytes(self.key)
        self.did = did_of(self.public)
        self.invitation = invitation
        self.specs: dict[bytes, m.LeaseSpec] = {}
        self.welcome: m.Welcome
        if greet:
            self.greet()

    def hello(self, **changed: Any) -> m.Hello:
        told: dict[str, Any] = {
            "name": "raw",
            "invitation": self.invitation,
            "runtimes": ("echo", "wasm"),
            "milli_cpus": 64_000,
            "memory_bytes": 64 << 30,
        }
        return m.Hello(m.VERSION, self.public, **(told | changed))

    def greet(self, **changed: Any) -> None:
        """Hello, Challenge, Proof, Welcome."""
        self.say(self.hello(**changed))
        self.say(self.proof(self.next(m.Challenge)))
        self.welcome = self.next(m.Welcome)

    def proof(self, challenge: m.Challenge) -> m.Proof:
        return m.Proof(self.key.sign(signing.proof_bytes(challenge.grid, challenge.nonce, self.public)))

    def leases(self, count: int = 1) -> list[m.Lease]:
        """Ask for so many tasks and wait for them."""
        self.say(m.Fetch(count, 1000, limits.MEMORY_BYTES_DEFAULT))
        found: list[m.Lease] = []
        while len(found) < count:
            assign = self.next(m.Assign)
            found += assign.leases
            self.specs |= {lease.assignment: assign.specs[lease.spec] for lease in assign.leases}
        return found

    def answer(self, lease: m.Lease, output: bytes = b"1", **changed: Any) -> m.ResultEntry:
        """A right result of a lease of one run, but for what is `changed`."""
        fields = {
            "outcome": Outcome.OK,
            "digest": hashlib.sha256(output).digest(),
            "payload": output,
            "size": len(output),
        }
        return m.ResultEntry(lease.assignment, **(fields | {"wall_ms": 1} | changed))  # type: ignore[arg-type]

    def leaf(self, lease: m.Lease, entry: m.ResultEntry) -> bytes:
        """The hash of what is signed for it."""
        usage = (entry.cpu_ms, entry.wall_ms, entry.memory_bytes, entry.size)
        spec = self.specs[lease.assignment]
        program = bytes.fromhex(spec.program)
        given = packing.input_digest(lease.input, spec.args)
        return signing.leaf_hash(
            signing.leaf_bytes(self.welcome.grid, lease.assignment, program, given, entry.outcome, entry.digest, usage)
        )

    def signed(self, pairs: Sequence[tuple[m.Lease, m.ResultEntry]]) -> m.Report:
        """A report with a right signature over right leaves."""
        leaves = b"".join(self.leaf(lease, entry) for lease, entry in pairs)
        signature = signing.sign_leaves(self.key, self.welcome.grid, leaves)
        return m.Report(tuple(entry for _, entry in pairs), tuple(range(len(pairs))), leaves, signature)

    def report(self, lease: m.Lease, output: bytes = b"1", **changed: Any) -> Verdict:
        """Report one result; its verdict."""
        self.say(self.signed([(lease, self.answer(lease, output, **changed))]))
        return self.verdict(lease)

    def verdict(self, lease: m.Lease) -> Verdict:
        """The next verdict on a lease's result."""
        while True:
            for assignment, verdict in self.next(m.Acknowledge).verdicts:
                if assignment == lease.assignment:
                    return verdict


def changed(message: Any, **fields: Any) -> Any:
    """The message with other fields."""
    return msgspec.structs.replace(message, **fields)


_numbers = itertools.count()


def fresh() -> str:
    """What the key of a node nobody was before is made from."""
    return f"node {next(_numbers)}"


def open_job(client: RawClient, echo: str, units: int = 8, **told: object) -> m.JobInfo:
    """A job of tasks of one unit, only for the nodes these tests play."""
    request = m.JobRequest(
        program=echo,
        split=Range(0, units, 1),
        runtime="echo",
        key=secrets.token_hex(8),
        **told,  # type: ignore[arg-type]
    )
    opened = client.ask(m.Open, request)
    assert isinstance(opened, m.Opened), opened
    info: m.JobInfo = opened.job
    return info


def job_of(client: RawClient, info: m.JobInfo) -> m.JobInfo:
    """The job as it is now."""
    found: m.JobInfo = client.ask(m.Attach, info.id).job
    return found


def end(client: RawClient, info: m.JobInfo) -> None:
    """Cancel it, so that later tests' nodes get nothing of it."""
    assert isinstance(client.ask(m.CancelJob, info.id), m.Done)
