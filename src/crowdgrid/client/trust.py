"""Whose machines are trusted so far that a pickle of theirs is read here.

On a grid of one's own (`local()`, or the hub `crowdgrid up` signed this user in to) those are the nodes that the hub
says are one's own: the hub is trusted as much as the person who runs it. On any other grid they are the keys
the caller named, and no word of the hub adds to them. Either way each result must carry the signature of such a node.

A node also signs what sandboxed programs of strangers print, and of which kind a job is, is the hub's word. So a result
counts only as the answer of a program that is a pickled function: a node runs no such bytes in any other way.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from crowdgrid.client.proving import verified
from crowdgrid.errors import BadProgram, NotAllowed
from crowdgrid.protocol import functions
from crowdgrid.protocol import messages as m

if TYPE_CHECKING:
    from crowdgrid.client.rest import Rest

LOOK_AGAIN_SECONDS: Final = 0.5
NODES_LISTED: Final = 1_000


class NotTrusted(NotAllowed):
    """This result did not come from a machine that is trusted here, so it is not opened."""

    code = "not_trusted"
    default_hint = 'Use codec="msgpack", or name the node\'s key in connect(trust=[…]).'


class Trust:
    """See the module.

    Args:
        own: the hub is this user's own.
        keys: did:keys of nodes that are trusted whatever the hub says.
    """

    def __init__(self, rest: Rest, *, own: bool = False, keys: frozenset[str] = frozenset()) -> None:
        self.own = own
        self._rest = rest
        self._named = keys
        self._mine: frozenset[str] = frozenset()
        self._pickled: set[str] = set()  # programs that are pickled functions
        self._looked_at = -LOOK_AGAIN_SECONDS

    @property
    def possible(self) -> bool:
        """Whether there can be a machine that is trusted."""
        return self.own or bool(self._named)

    def sends(self, program: str) -> None:
        """A program (hex SHA-256) was made here, of a function that was pickled."""
        self._pickled.add(program)

    async def check_inputs(self, owner: str) -> None:
        """Make sure that what was appended to a job of `owner` is this user's own, on a hub of this user's own.

        Raises:
            NotTrusted: somebody else appended it, or only the hub says who.
        """
        if not self.own:
            raise NotTrusted("The inputs of this job are pickles; they are read only from a hub of your own.")
        if owner != await self._me():
            raise NotTrusted(f"The inputs of this job are pickles of {owner}; only your own are opened.")

    async def check(self, row: m.ResultRow, payload: bytes, program: str) -> None:
        """Make sure that a trusted node signed `payload` as the answer of a task of `program` (hex SHA-256).

        Raises:
            NotTrusted: nobody did, or somebody else.
        """
        signer = verified(row, payload, program, row.proof)
        if not await self._trusts(signer):
            raise NotTrusted(f"The node {signer} is not one of yours, so its pickle is not opened.")
        await self._check_program(program)

    async def _check_program(self, program: str) -> None:
        if program in self._pickled:
            return
        content = await self._rest.blob(program)
        with suppress(BadProgram):
            if functions.read(content).codec == "pickle":
                self._pickled.add(program)
                return
        raise NotTrusted("The program of this job is no pickled function, so its results are no pickles to open.")

    async def _trusts(self, signer: str) -> bool:
        if signer in self._named or signer in self._mine:
            return True
        now = asyncio.get_running_loop().time()
        if self.own and now - self._looked_at >= LOOK_AGAIN_SECONDS:
            self._looked_at = now
            self._mine = await self._look()
        return signer in self._mine

    async def _me(self) -> str:
        return str((await self._rest.get("/v1/me"))["owner"])

    async def _look(self) -> frozenset[str]:
        me = await self._me()
        found: set[str] = set()
        after: str | None = None
        while True:
            page = await self._rest.get("/v1/nodes", limit=NODES_LISTED, after=after)
            found |= {node["id"] for node in page["nodes"] if node["owner"] == me}
            after = page.get("next")
            if after is None:
                return frozenset(found)
