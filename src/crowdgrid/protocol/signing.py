"""What a node signs: its key at the start of a link, and every report.

A report frame is signed once, however many results it carries: each result becomes one leaf of fixed
bytes, the leaves become a Merkle tree as in RFC 9162 section 2.1, and the node signs the root. So one
signature costs the same for 1 result and for 1,000, and each result can later be proved by itself with
a path of a few hashes.

Nothing that is signed depends on a codec: leaves are digests and integers of fixed width in a fixed
order, never msgpack. Each kind of signed bytes begins with its own tag and names the grid, so a
signature can be used for one purpose on one grid only.

Leaf (177 bytes, integers big-endian): `tag 16 ‖ grid 16 ‖ assignment 16 ‖ program 32 ‖ input 32 ‖
outcome 1 ‖ output 32 ‖ cpu_ms 8 ‖ wall_ms 8 ‖ memory_bytes 8 ‖ size 8`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crowdgrid.errors import BadInput

LEAF_TAG: Final = b"crowdgrid-leaf-1"
ROOT_TAG: Final = b"crowdgrid-root-1"
PROOF_TAG: Final = b"crowdgrid-node-1"
HASH_BYTES: Final = 32
GRID_BYTES: Final = 16
ASSIGNMENT_BYTES: Final = 16

_LEAF: Final = struct.Struct(">16s16s16s32s32sB32sQQQQ")
_LEAF_PREFIX: Final = b"\x00"  # RFC 9162, 2.1.1: leaf hashes and node hashes are told apart
_NODE_PREFIX: Final = b"\x01"

# --- leaves ----------------------------------------------------------------------------------


def leaf_bytes(
    grid: bytes,
    assignment: bytes,
    program: bytes,
    input_digest: bytes,
    outcome: int,
    output: bytes,
    usage: tuple[int, int, int, int],
) -> bytes:
    """The bytes of one result's leaf.

    Args:
        grid: 16 bytes. assignment: its public id, 16 bytes.
        program, input_digest, output: SHA-256, 32 bytes each.
        outcome: `model.Outcome`.
        usage: (cpu_ms, wall_ms, memory_bytes, size) as reported.

    Raises:
        BadInput: a field has another length, or a number does not fit 64 bits.
    """
    if not (
        len(grid) == GRID_BYTES
        and len(assignment) == ASSIGNMENT_BYTES
        and len(program) == len(input_digest) == len(output) == HASH_BYTES
    ):
        raise BadInput("A result's leaf needs ids of 16 bytes and digests of 32 bytes.")
    try:
        return _LEAF.pack(LEAF_TAG, grid, assignment, program, input_digest, outcome, output, *usage)
    except struct.error:
        raise BadInput("A result's outcome or usage is not a number that fits its field.") from None


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of one leaf, 32 bytes (RFC 9162, 2.1.1: `HASH(0x00 || d)`)."""
    return sha256(_LEAF_PREFIX + leaf).digest()


# --- the tree --------------------------------------------------------------------------------


def tree_root(leaves: bytes) -> bytes:
    """Root of the tree over `leaves` (n × 32 bytes of leaf hashes), as RFC 9162, 2.1.1.

    Hashing pairs level by level, an odd last one going up as it is, gives the RFC's tree: its split at the
    largest power of two below n makes every left subtree perfect.
    """
    return _top(_cut(leaves))


class Tree:
    """The tree over `leaves` (n × 32 bytes of leaf hashes), kept to take many paths from it."""

    __slots__ = ("_levels", "count")

    def __init__(self, leaves: bytes) -> None:
        level = _cut(leaves)
        self.count = len(level)
        self._levels: list[list[bytes]] = []  # from the leaves to what is below the root
        while len(level) > 1:
            self._levels.append(level)
            level = _up(level)

    def path(self, index: int) -> tuple[bytes, ...]:
        """The hashes that prove leaf `index` is in the tree (RFC 9162, 2.1.3.1), lowest first.

        Raises:
            BadInput: there is no such leaf.
        """
        if not 0 <= index < self.count:
            raise BadInput(f"There is no leaf {index} among {self.count}.")
        path: list[bytes] = []
        for level in self._levels:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            index >>= 1
        return tuple(path)


def inclusion_path(leaves: bytes, index: int) -> tuple[bytes, ...]:
    """`Tree.path` of one leaf. Raises BadInput."""
    return Tree(leaves).path(index)


def verify_path(leaf: bytes, index: int, count: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` proves that leaf hash `leaf` is number `index` of `count` under `root`."""
    return path_root(leaf, index, count, path) == root


def path_root(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root under which `path` makes leaf hash `leaf` number `index` of `count`; None when it leads to none.

    RFC 9162, 2.1.3.2; the step numbers are the RFC's.
    """
    if not 0 <= index < count:  # 1.
        return None
    fn, sn, r = index, count - 1, leaf  # 2., 3.
    for p in path:  # 4.
        if sn == 0:  # 4.1
            return None
        if fn & 1 or fn == sn:  # 4.2
            r = _node(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:  # 4.3
            r = _node(r, p)
        fn, sn = fn >> 1, sn >> 1  # 4.4
    return r if sn == 0 else None  # 5., but for the comparison


def _cut(leaves: bytes) -> list[bytes]:
    if len(leaves) % HASH_BYTES:
        raise BadInput("Leaf hashes are 32 bytes each; these are cut short.")
    return [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]


def _top(level: list[bytes]) -> bytes:
    if not level:
        return sha256(b"").digest()  # RFC 9162, 2.1.1: the root of an empty list
    while len(level) > 1:
        level = _up(level)
    return level[0]


def _up(level: list[bytes]) -> list[bytes]:
    above = [sha256(_NODE_PREFIX + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) & 1:
        above.append(level[-1])
    return above


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE_PREFIX + left + right).digest()


# --- signatures ------------------------------------------------------------------------------


def root_bytes(grid: bytes, root: bytes, count: int) -> bytes:
    """What is signed for a batch: `tag ‖ grid ‖ root ‖ number of leaves`."""
    return b"".join((ROOT_TAG, grid, root, count.to_bytes(8, "big")))


def sign_root(key: Ed25519PrivateKey, grid: bytes, root: bytes, count: int) -> bytes:
    """Signature (64 bytes) of the root of a tree with `count` leaves."""
    return key.sign(root_bytes(grid, root, count))


def verify_root(key: bytes, grid: bytes, root: bytes, count: int, signature: bytes) -> bool:
    """Whether `signature` is that of the node with public key `key` (32 bytes) for this root. ~160 µs, without the GIL."""
    return _verify(key, signature, root_bytes(grid, root, count))


def sign_leaves(key: Ed25519PrivateKey, grid: bytes, leaves: bytes) -> bytes:
    """`sign_root` of the tree over `leaves` (n × 32 bytes)."""
    return sign_root(key, grid, tree_root(leaves), len(leaves) // HASH_BYTES)


def verify_leaves(key: bytes, grid: bytes, leaves: bytes, signature: bytes) -> bool:
    """`verify_root` of the tree over `leaves` (n × 32 bytes)."""
    if not leaves or len(leaves) % HASH_BYTES:
        return False
    return verify_root(key, grid, tree_root(leaves), len(leaves) // HASH_BYTES, signature)


def proof_bytes(grid: bytes, nonce: bytes, key: bytes) -> bytes:
    """What a node signs to prove its key at the start of a link: `tag ‖ grid ‖ nonce ‖ public key`.

    Fixed widths (16, 32 and 32 bytes) keep two different proofs from having the same bytes.

    Raises:
        BadInput: a field has another length.
    """
    if len(grid) != GRID_BYTES or len(nonce) != HASH_BYTES or len(key) != HASH_BYTES:
        raise BadInput("A challenge is 32 bytes for a grid of 16 bytes.")
    return b"".join((PROOF_TAG, grid, nonce, key))


def verify_proof(key: bytes, grid: bytes, nonce: bytes, signature: bytes) -> bool:
    """Whether the node with public key `key` signed this challenge."""
    return _verify(key, signature, proof_bytes(grid, nonce, key))


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public key (32 bytes): the node's identity."""
    return key.public_key().public_bytes_raw()


def _verify(key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        _public_key(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=1024)
def _public_key(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)
