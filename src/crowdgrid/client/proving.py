"""What a node signed: checked here, whatever the hub says, before anything is done with it that needs trust.

A hub shows results; which machine made one is only its word. A node signs every report, so a result comes with the
way from its leaf to the root that was signed. From payload, program, outcome and what the proof adds the leaf is made
anew: a payload that was changed, or is the answer of another program, gives another leaf, and no signature fits it.

Whether the signer is to be trusted is not said here. Nor is, when two inputs of one program have the same answer, which
of them it was: that is the hub's word.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from crowdgrid import limits
from crowdgrid.core.model import Outcome
from crowdgrid.errors import BadInput
from crowdgrid.ids import key_of
from crowdgrid.protocol import messages as m
from crowdgrid.protocol import signing

PATH_HASHES_MAX: Final = limits.HELD_ASSIGNMENTS.bit_length()
SIGNATURES_KEPT: Final = 4_096
NODES_KEPT: Final = 1_024


class NotProved(BadInput):
    """The result is not what its node signed."""

    code = "not_proved"
    default_hint = "The hub, or something on the way from it, changed it: do not use this hub for what must be right."


def verified(row: m.ResultRow, payload: bytes, program: str, proof: m.ResultProof | None, *, grid: bytes = b"") -> str:
    """The did:key of the node that signed `payload` as the answer of a task of this program.

    The signature of a report is checked once, however many of its results come.

    Args:
        row: as it came. payload: its payload, or the content of the blob it names.
        program: hex SHA-256 of the program.
        proof: the row's. grid: the grid it must be of, where that is known (16 bytes).

    Raises:
        NotProved: there is no proof, or it proves something else.
    """
    if proof is None:
        raise NotProved("The result came without its node's signature.", hint="Is the hub older than this client?")
    if row.outcome != Outcome.OK:
        raise NotProved("The task failed: there is no payload that could have been signed.")
    if grid and proof.grid != grid:
        raise NotProved("The result was signed for another grid.")
    if proof.usage[3] != len(payload) or proof.count > limits.HELD_ASSIGNMENTS or len(proof.path) > PATH_HASHES_MAX:
        raise NotProved
    try:
        key = _key(row.node)
        output = hashlib.sha256(payload).digest()
        leaf = signing.leaf_bytes(
            proof.grid, proof.assignment, bytes.fromhex(program), proof.input, Outcome.OK, output, proof.usage
        )
    except (BadInput, ValueError) as error:
        raise NotProved(f"The proof of a result cannot be one: {error}") from None
    root = signing.path_root(signing.leaf_hash(leaf), proof.index, proof.count, proof.path)
    if root is None or not _signed(key, proof.grid, root, proof.count, proof.signature):
        raise NotProved(f"The result of task {row.ordinal:,} is not what {row.node} signed.")
    return row.node


_key = lru_cache(NODES_KEPT)(key_of)


@lru_cache(SIGNATURES_KEPT)
def _signed(key: bytes, grid: bytes, root: bytes, count: int, signature: bytes) -> bool:
    return signing.verify_root(key, grid, root, count, signature)
