"""Proofs that nodes signed what they reported, for clients that ask for them with the results.

A report's signature is one record for all its results: its leaves, from which each result's path is taken. The records
of the last reports stay in memory, and of those whose results are being read also their trees, because a path of a
tree that is there costs nothing; both within limits. Older ones are read back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crowdgrid.core.model import Assignment, Outcome, Record, Result, Signature
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.signing import Tree

if TYPE_CHECKING:
    from crowdgrid.hub.keeper import Keeper

SIGNATURES_BYTES: Final = 4 << 20  # of leaves
SIGNATURE_COST: Final = 300  # bytes a record takes beside its leaves, roughly
TREES_LEAVES: Final = 50_000
PROOF_BYTES: Final = 640  # of one proof in a message, at most


class Proofs:
    """See the module. A listener on what the keeper saves."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._recent: OrderedDict[int, Signature] = OrderedDict()
        self._bytes = 0
        self._trees: OrderedDict[int, Tree] = OrderedDict()
        self._leaves = 0
        keeper.saved.append(self.saw)

    def saw(self, records: Sequence[Record]) -> None:
        """Keep the signatures of what was committed just now."""
        for record in records:
            if type(record) is Signature:
                self._add(record)

    def here(self, result: Result) -> bool:
        """Whether `proof` can be made of what is in memory."""
        return not _is_provable(result) or result.signature in self._recent

    async def fetch(self, result: Result) -> None:
        """Have the signature of a result in memory, if it is kept anywhere."""
        if not self.here(result) and (found := await self._keeper.store.signature(result.signature)) is not None:
            self._add(found)

    def proof(self, assignment: Assignment) -> m.ResultProof | None:
        """The proof of its result; None when it was not signed as it stands, or that is not in memory."""
        result = assignment.result
        if result is None or not _is_provable(result) or (signed := self._recent.get(result.signature)) is None:
            return None
        self._recent.move_to_end(result.signature)
        tree = self._tree(signed)
        return m.ResultProof(
            self._keeper.grid.grid_id,
            self._keeper.ids.assignments([assignment.key])[0],
            result.input,
            (result.cpu_ms, result.wall_ms, result.memory_bytes, result.size),
            result.leaf,
            tree.count,
            tree.path(result.leaf),
            signed.signature,
        )

    def _add(self, signed: Signature) -> None:
        if signed.number not in self._recent:
            self._recent[signed.number] = signed
            self._bytes += len(signed.leaves) + SIGNATURE_COST
        while self._bytes > SIGNATURES_BYTES and len(self._recent) > 1:
            _, old = self._recent.popitem(last=False)
            self._bytes -= len(old.leaves) + SIGNATURE_COST

    def _tree(self, signed: Signature) -> Tree:
        tree = self._trees.get(signed.number)
        if tree is not None:
            self._trees.move_to_end(signed.number)
            return tree
        tree = self._trees[signed.number] = Tree(signed.leaves)
        self._leaves += tree.count
        while self._leaves > TREES_LEAVES and len(self._trees) > 1:
            self._leaves -= self._trees.popitem(last=False)[1].count
        return tree


def _is_provable(result: Result) -> bool:
    """Whether it is an answer that was signed, and the input it was signed for is known."""
    return result.outcome is Outcome.OK and result.signature > 0 and bool(result.input)
