"""Proofs within bounded memory: what is let go is read back, what was never signed has none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from crowdgrid.core.model import Assignment, AssignmentState, Outcome, Result, Signature
from crowdgrid.hub.app import App
from crowdgrid.hub.links.proofs import Proofs
from crowdgrid.protocol.signing import tree_root, verify_path
from crowdgrid.store import Batch
from tests.unit.hub.test_hub_at_work import HeldBlobs, at_work

LEAVES = [bytes([n]) * 32 for n in range(5)]


def signature(number: int) -> Signature:
    return Signature(number, 1, b"".join(LEAVES), b"s" * 64)


def assignment(signed: int, **changed: Any) -> Assignment:
    result = Result(Outcome.OK, b"d" * 32, b"payload", "", 7, signature=signed, leaf=3, input=b"i" * 32)
    result = msgspec.structs.replace(result, **changed)
    return Assignment(1, 2, 0, 1, AssignmentState.REPORTED, 0, 0, 0, result)


def test_old_signatures_are_let_go_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowdgrid.hub.links.proofs.SIGNATURES_BYTES", 5_000)
    monkeypatch.setattr("crowdgrid.hub.links.proofs.TREES_LEAVES", 12)

    async def story(app: App, blobs: HeldBlobs) -> None:
        keeper = app.hub.keeper
        proofs = Proofs(keeper)
        records = [signature(number) for number in range(1, 101)]
        grid = msgspec.structs.replace(keeper.grid, batch=keeper.grid.batch + 1)
        await keeper.store.commit(Batch(grid, records))
        keeper.grid = grid
        proofs.saw(records)
        kept = [number for number in range(1, 101) if proofs.here(assignment(number).result)]  # type: ignore[arg-type]
        assert 0 < len(kept) < 20
        assert kept[-1] == 100
        for number in (1, 50, 100, 1):
            found = assignment(number)
            assert found.result is not None
            await proofs.fetch(found.result)
            proof = proofs.proof(found)
            assert proof is not None
            assert verify_path(LEAVES[3], proof.index, proof.count, proof.path, tree_root(b"".join(LEAVES)))
            assert len(proofs._trees) <= 2

    at_work(story)


@pytest.mark.parametrize(
    "changed",
    [{"signature": 0}, {"signature": 99}, {"input": b""}, {"outcome": Outcome.PROGRAM_ERROR}],
    ids=["unsigned", "of a signature nobody has", "of before inputs were kept", "a failure"],
)
def test_what_cannot_be_proved_has_no_proof(changed: dict[str, Any]) -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        proofs = Proofs(app.hub.keeper)
        proofs.saw([signature(1)])
        found = assignment(1, **changed)
        assert found.result is not None
        await proofs.fetch(found.result)
        assert proofs.proof(found) is None

    at_work(story)
