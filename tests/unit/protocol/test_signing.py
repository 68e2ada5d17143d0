"""Signatures: the RFC 9162 tree against its published vectors, and that nothing signed can be bent."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid.errors import BadInput
from crowdgrid.protocol import signing

# The eight entries and the roots of their first n, from the reference tests of Certificate Transparency
# (google/certificate-transparency, merkletree/merkle_tree_test.cc); RFC 9162 kept RFC 6962's tree.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = signing.public_bytes(KEY)
GRID = bytes(16)


def hashes(count: int) -> bytes:
    return b"".join(signing.leaf_hash(entry) for entry in (ENTRIES * 40)[:count])


def a_leaf(**changed: object) -> bytes:
    fields: dict[str, object] = {
        "grid": GRID,
        "assignment": b"a" * 16,
        "program": b"p" * 32,
        "input_digest": b"i" * 32,
        "outcome": 0,
        "output": b"o" * 32,
        "usage": (1, 2, 3, 4),
    }
    return signing.leaf_bytes(**(fields | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", range(9))
def test_the_tree_is_that_of_rfc_9162(count: int) -> None:
    assert signing.tree_root(hashes(count)).hex() == ROOTS[count]


def test_known_inclusion_paths() -> None:
    """Paths of the same reference tests: leaf 0 of 8 and leaf 5 of 8 (RFC 6962's `inclusion proof` vectors)."""
    assert [one.hex() for one in signing.inclusion_path(hashes(8), 0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [one.hex() for one in signing.inclusion_path(hashes(8), 5)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(count=st.integers(1, 70), data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_leaf_is_proved_and_nothing_else_is(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    leaves = b"".join(signing.leaf_hash(bytes([n])) for n in range(count))
    leaf, root = leaves[index * 32 : index * 32 + 32], signing.tree_root(leaves)
    path = signing.inclusion_path(leaves, index)
    assert signing.verify_path(leaf, index, count, path, root)
    assert not signing.verify_path(signing.leaf_hash(b"other"), index, count, path, root)
    assert not signing.verify_path(leaf, index, count, (*path, root), root)
    assert not signing.verify_path(leaf, count, count, path, root)
    if path:
        assert not signing.verify_path(leaf, index, count, path[:-1], root)
        assert not signing.verify_path(leaf, index ^ 1, count, path, root)


def test_a_leaf_beyond_the_tree_has_no_path() -> None:
    with pytest.raises(BadInput, match="no leaf 3"):
        signing.inclusion_path(hashes(3), 3)


def test_a_cut_leaf_list_is_refused() -> None:
    with pytest.raises(BadInput, match="cut short"):
        signing.tree_root(hashes(2)[:-1])
    assert not signing.verify_leaves(PUBLIC, GRID, hashes(2)[:-1], bytes(64))
    assert not signing.verify_leaves(PUBLIC, GRID, b"", signing.sign_root(KEY, GRID, signing.tree_root(b""), 0))


@pytest.mark.parametrize(
    "changed",
    [
        {"grid": b"g" * 16},
        {"assignment": b"b" * 16},
        {"program": b"q" * 32},
        {"input_digest": b"j" * 32},
        {"outcome": 1},
        {"output": b"e" * 32},
        {"usage": (9, 2, 3, 4)},
        {"usage": (1, 9, 3, 4)},
        {"usage": (1, 2, 9, 4)},
        {"usage": (1, 2, 3, 9)},
    ],
)
def test_the_leaf_covers_every_field(changed: dict[str, object]) -> None:
    assert a_leaf(**changed) != a_leaf()
    assert len(a_leaf(**changed)) == len(a_leaf()) == 177


@pytest.mark.parametrize(
    "changed",
    [
        {"grid": b""},
        {"assignment": b"a" * 17},
        {"program": b"p" * 31},
        {"output": b""},
        {"outcome": 256},
        {"outcome": -1},
        {"usage": (1, 2, 3, 1 << 64)},
        {"usage": (1, 2, 3)},
        {"usage": (1.5, 2, 3, 4)},
    ],
)
def test_a_leaf_of_another_shape_cannot_be_made(changed: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        a_leaf(**changed)


def test_a_signature_holds_for_its_leaves_grid_count_and_key_only() -> None:
    leaves = hashes(5)
    signature = signing.sign_leaves(KEY, GRID, leaves)
    other = signing.public_bytes(Ed25519PrivateKey.generate())
    assert signing.verify_leaves(PUBLIC, GRID, leaves, signature)
    assert not signing.verify_leaves(PUBLIC, GRID, hashes(4), signature)
    assert not signing.verify_leaves(PUBLIC, b"g" * 16, leaves, signature)
    assert not signing.verify_leaves(other, GRID, leaves, signature)
    assert not signing.verify_root(PUBLIC, GRID, signing.tree_root(leaves), 6, signature)
    assert not signing.verify_leaves(PUBLIC, GRID, leaves, signature[:-1])
    assert not signing.verify_leaves(b"short", GRID, leaves, signature)


def test_a_proof_of_the_key_is_no_signature_of_a_batch_and_cannot_be_replayed() -> None:
    nonce, again = b"n" * 32, b"m" * 32
    signature = KEY.sign(signing.proof_bytes(GRID, nonce, PUBLIC))
    assert signing.verify_proof(PUBLIC, GRID, nonce, signature)
    assert not signing.verify_proof(PUBLIC, GRID, again, signature)
    assert not signing.verify_proof(PUBLIC, b"g" * 16, nonce, signature)
    assert not signing.verify_leaves(PUBLIC, GRID, nonce, signature)


def test_a_challenge_of_another_shape_is_not_signed() -> None:
    """A hub must not get a signature over bytes it can shape."""
    with pytest.raises(BadInput):
        signing.proof_bytes(GRID, b"x" * 33, PUBLIC)
    with pytest.raises(BadInput):
        signing.proof_bytes(GRID + b"x", b"x" * 31, PUBLIC)
