"""The first words of a node: who it is, proved, and whether it may be here.

1. Hello: what the node says of itself, checked against the limits.
2. Challenge: 32 random bytes, used once; a replayed Proof fits no other challenge.
3. Proof: the Ed25519 signature of grid, challenge and key.
4. A node that was never here needs an invitation; it becomes its owner's.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

import msgspec

from crowdgrid import ids, limits
from crowdgrid.core import commands as c
from crowdgrid.core.model import Node, NodeState
from crowdgrid.errors import BadInput, Busy, CrowdgridError, NotAllowed, TimedOut, Unavailable
from crowdgrid.hub.access import Access
from crowdgrid.hub.keeper import Keeper
from crowdgrid.hub.links.socket import LinkSocket
from crowdgrid.protocol import codec, signing
from crowdgrid.protocol import messages as m

_SECONDS: Final = 20  # a node has so long to prove itself
_WORDS: Final = 64  # runtimes or labels
_ABOUT_BYTES: Final = 16 * 1024  # inventory or benchmarks, as JSON
# What eligibility asks of a node.
_OFFERED: Final = ("runtimes", "trusts", "labels", "region", "milli_cpus", "memory_bytes")


class Greeted(msgspec.Struct, frozen=True):
    """A node that proved itself: its record as it is to be connected, its first words, and whether what it runs, or
    for whom, is other than when it was here last."""

    node: Node
    hello: m.Hello
    news: bool


class Handshake:
    """Receives nodes for one hub."""

    def __init__(self, keeper: Keeper, access: Access) -> None:
        self._keeper = keeper
        self._access = access
        self._joining: set[bytes] = set()  # keys of nodes that are being looked up or joining

    async def of(self, socket: LinkSocket, address: str) -> Greeted:
        """The node at the other end, proved, as it is to be connected.

        Raises:
            NotAllowed: a key not proved, or a new node without a good invitation.
            BadInput: not how a link begins. TimedOut, Unavailable.
        """
        if self._keeper.problem:
            raise Unavailable(self._keeper.problem)
        try:
            async with asyncio.timeout(_SECONDS):
                hello = await self._next(socket, m.Hello)
                _check(hello)
                await self._prove(socket, hello)
        except TimeoutError:
            raise TimedOut(f"The node did not prove itself within {_SECONDS} s.") from None
        if hello.key in self._joining:  # two nodes of one key would clash in the store, and stop everybody
            raise Busy("A node with this key is just joining over another link.")
        self._joining.add(hello.key)
        try:
            known = await self._keeper.store.node_keyed(hello.key) or await self._join(hello, address)
        finally:
            self._joining.discard(hello.key)
        told = _told(known, hello, address)
        return Greeted(told, hello, any(getattr(told, name) != getattr(known, name) for name in _OFFERED))

    async def _prove(self, socket: LinkSocket, hello: m.Hello) -> None:
        nonce = secrets.token_bytes(32)
        grid = self._keeper.grid.grid_id
        socket.say(m.Challenge(nonce, grid))
        proof = await self._next(socket, m.Proof)
        if not signing.verify_proof(hello.key, grid, nonce, proof.signature):
            raise NotAllowed(
                "The node could not prove that the key is its own.",
                hint="Is another key in its folder? `crowdgrid agent leave` and join again.",
            )

    async def _next(self, socket: LinkSocket, kind: type[Any]) -> Any:
        frame = await socket.receive()
        if frame is None:
            raise Unavailable("The node hung up.")
        messages = codec.node_to_hub.decode(frame)
        if len(messages) != 1 or not isinstance(messages[0], kind):
            raise BadInput(f"A link goes on with {kind.__name__} alone here.")
        return messages[0]

    async def _join(self, hello: m.Hello, address: str) -> Node:
        if not hello.invitation:
            raise NotAllowed(
                "This node is not known here and has no invitation.",
                hint="Ask whoever runs the grid for a code, then `crowdgrid join URL CODE`.",
            )
        taken = self._access.take_invitation(hello.invitation, address)
        node = Node(0, hello.key, taken.owner, taken.group, hello.name or "node", 0)
        try:
            joined: Node = await self._keeper.ask(c.Join(_told(node, hello, address), taken))
        except CrowdgridError:
            self._access.return_invitation(taken)
            raise
        return joined


def _check(hello: m.Hello) -> None:
    if hello.version < 1:
        raise BadInput(f"This hub speaks version {m.VERSION} of the link, the node {hello.version}.")
    if len(hello.key) != 32:
        raise BadInput("A node's key is an Ed25519 public key of 32 bytes.")
    words = (hello.name, hello.region, hello.software, *hello.runtimes, *hello.labels)
    if len(words) > _WORDS or any(len(word) > limits.NAME_CHARS or not word.isprintable() for word in words):
        raise BadInput(f"A node has at most {_WORDS} runtimes and labels of {limits.NAME_CHARS} characters.")
    if len(hello.trusts) > limits.TRUSTED or not all(0 < len(word) <= limits.NAME_CHARS for word in hello.trusts):
        raise BadInput(f"A node names at most {limits.TRUSTED} it trusts, of 1 to {limits.NAME_CHARS} characters.")
    if not all(word.isprintable() for word in hello.trusts):
        raise BadInput("Whom a node trusts is said in printable characters.")
    if not 0 <= hello.speed <= limits.SPEED_MOST:
        raise BadInput("The node's speed is not a plausible number.")
    if not (1 <= hello.milli_cpus <= 1 << 30 and 0 <= hello.memory_bytes <= limits.MEMORY_BYTES_MAX * 64):
        raise BadInput("The node's CPUs or memory are not a plausible number.")
    try:
        size = max(len(msgspec.json.encode(hello.inventory)), len(msgspec.json.encode(hello.benchmarks)))
    except (TypeError, ValueError, RecursionError):
        raise BadInput("Inventory and benchmarks hold only what JSON can say.") from None
    if size > _ABOUT_BYTES:
        raise BadInput(f"Inventory and benchmarks may be {_ABOUT_BYTES:,} bytes each.")


def _told(node: Node, hello: m.Hello, address: str) -> Node:
    """The record with what the node says of itself now; its owner, group, trust and history stay."""
    if node.state is NodeState.LEFT:
        raise NotAllowed("This node was removed from the grid.", hint="Make a new key and join again.")
    return msgspec.structs.replace(
        node,
        name=hello.name or node.name,
        runtimes=hello.runtimes,
        labels=hello.labels,
        trusts=hello.trusts,
        region=hello.region,
        block=ids.block_of(address),
        milli_cpus=hello.milli_cpus,
        memory_bytes=hello.memory_bytes,
        speed=hello.speed,
        inventory=msgspec.json.encode(hello.inventory),
        benchmarks=msgspec.json.encode(hello.benchmarks),
    )
