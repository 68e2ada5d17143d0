"""What a node signed is told from everything else, whatever the hub says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crowdgrid.client import proving
from crowdgrid.client.proving import NotProved, verified
from crowdgrid.core.model import Outcome
from crowdgrid.ids import did_of
from crowdgrid.protocol import messages as m
from crowdgrid.protocol import signing

GRID = b"g" * 16
PROGRAM = hashlib.sha256(b"a program").hexdigest()
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
NODE = did_of(signing.public_bytes(KEY))


def report(count: int, *, key: Ed25519PrivateKey = KEY, program: str = PROGRAM) -> list[m.ResultRow]:
    """Rows of one signed report, as a hub shows them."""
    payloads = [b"answer %d" % n for n in range(count)]
    proofs = [
        m.ResultProof(GRID, bytes([n % 256]) * 16, hashlib.sha256(b"input %d" % n).digest(), (1, 2, 3, len(payload)),
                      n, count, (), b"")
        for n, payload in enumerate(payloads)
    ]  # fmt: skip
    leaves = b"".join(
        signing.leaf_hash(
            signing.leaf_bytes(
                GRID, proof.assignment, bytes.fromhex(program), proof.input, Outcome.OK,
                hashlib.sha256(payload).digest(), proof.usage,
            )
        )
        for proof, payload in zip(proofs, payloads, strict=True)
    )  # fmt: skip
    signature = signing.sign_leaves(key, GRID, leaves)
    tree = signing.Tree(leaves)
    node = did_of(signing.public_bytes(key))
    return [
        m.ResultRow(n, n, n + 1, 5, 0, payload, node=node, proof=replace(proof, path=tree.path(n), signature=signature))
        for n, (proof, payload) in enumerate(zip(proofs, payloads, strict=True))
    ]


def check(row: m.ResultRow, **more: Any) -> str:
    return verified(row, row.payload, PROGRAM, row.proof, **more)


@given(st.integers(1, 70))
def test_every_result_of_a_report_is_proved(count: int) -> None:
    for row in report(count):
        assert check(row) == NODE
        assert check(row, grid=GRID) == NODE


def test_many_results_of_one_report_cost_one_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = 0
    verify = signing.verify_root

    def counted(*words: Any) -> bool:
        nonlocal checks
        checks += 1
        return verify(*words)

    monkeypatch.setattr(signing, "verify_root", counted)
    proving._signed.cache_clear()
    for row in report(60):
        check(row)
    assert checks == 1


OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)

# What is wrong → the row as a hub that lies, or a line that is faulty, would show it.
WRONG: dict[str, Callable[[m.ResultRow], m.ResultRow]] = {
    "a bit of the payload": lambda row: replace(row, payload=bytes([row.payload[0] ^ 1]) + row.payload[1:]),
    "a longer payload": lambda row: replace(row, payload=row.payload + b"\0"),
    "another node": lambda row: replace(row, node=did_of(signing.public_bytes(OTHER))),
    "no node": lambda row: replace(row, node=""),
    "what is no node": lambda row: replace(row, node="did:key:z6Mk…"),
    "another node's report": lambda row: replace(row, proof=report(9, key=OTHER)[row.ordinal].proof),
    "another program's report": lambda row: replace(
        row, proof=report(9, program=hashlib.sha256(b"another").hexdigest())[row.ordinal].proof
    ),
    "another assignment's proof": lambda row: replace(row, proof=report(9)[row.ordinal + 1].proof),
    "another assignment": lambda row: with_proof(row, assignment=b"x" * 16),
    "another input": lambda row: with_proof(row, input=b"x" * 32),
    "another usage": lambda row: with_proof(row, usage=(0, 2, 3, len(row.payload))),
    "another size": lambda row: with_proof(row, usage=(1, 2, 3, 0)),
    "another grid": lambda row: with_proof(row, grid=b"x" * 16),
    "another index": lambda row: with_proof(row, index=3),
    "an index below none": lambda row: with_proof(row, index=-1),
    "an index beyond all": lambda row: with_proof(row, index=9),
    "a larger count": lambda row: with_proof(row, count=10),
    "a smaller count": lambda row: with_proof(row, count=8),
    "a count beyond any report": lambda row: with_proof(row, count=1 << 60),
    "no path": lambda row: with_proof(row, path=()),
    "a longer path": lambda row: with_proof(row, path=(*proof_of(row).path, b"x" * 32)),
    "a path without end": lambda row: with_proof(row, path=(b"x" * 32,) * 10_000),
    "another signature": lambda row: with_proof(row, signature=b"x" * 64),
    "no signature": lambda row: with_proof(row, signature=b""),
    "an input of another length": lambda row: with_proof(row, input=b"x"),
    "a negative usage": lambda row: with_proof(row, usage=(-1, 2, 3, len(row.payload))),
    "no proof": lambda row: replace(row, proof=None),
    "an error": lambda row: replace(row, outcome=Outcome.PROGRAM_ERROR),
}


def proof_of(row: m.ResultRow) -> m.ResultProof:
    assert row.proof is not None
    return row.proof


def with_proof(row: m.ResultRow, **changed: Any) -> m.ResultRow:
    return replace(row, proof=replace(proof_of(row), **changed))


@pytest.mark.parametrize("what", WRONG)
def test_a_result_that_is_not_what_was_signed_is_refused(what: str) -> None:
    """Each part of what is shown is bound by the signature; none may be changed or taken from elsewhere."""
    with pytest.raises(NotProved):
        check(WRONG[what](report(9)[4]))


def test_another_program_and_another_grid_are_refused() -> None:
    row = report(9)[4]
    with pytest.raises(NotProved):
        verified(row, row.payload, hashlib.sha256(b"another").hexdigest(), row.proof)
    with pytest.raises(NotProved, match="another grid"):
        check(row, grid=b"x" * 16)
    with pytest.raises(NotProved):
        verified(row, row.payload, "no digest", row.proof)
