"""Reports: checked before the engine hears of them. Signature first, then whether each result is what it says.

Steps, as a node signs them (see `protocol/signing.py`):

1. Every result is an assignment this grid gave out; its program and input are what the hub noted, not what
   the node claims.
2. The leaf made of those and of the claimed outcome, output and usage is the one at the result's place.
3. The Ed25519 signature of the leaves' RFC 9162 root is the node's. Checked once for the batch, in a thread.
4. A payload hashes to the claimed output; one the job's reducer cannot read is the program's error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crowdgrid import limits
from crowdgrid.core.commands import Reported
from crowdgrid.core.model import AssignmentKey, Outcome
from crowdgrid.core.reducing import REDUCERS, Look, look
from crowdgrid.errors import BadInput, TooLarge
from crowdgrid.hub.links.notes import Note
from crowdgrid.ids import check_digest
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import answer_digest
from crowdgrid.protocol.signing import leaf_bytes, leaf_hash

_NUMBERS: Final = ("sum", "minimum", "maximum")


def check_shape(report: m.Report) -> None:
    """Refuse a report whose parts do not fit together. Raises BadInput, TooLarge."""
    if len(report.results) > limits.FRAME_TASKS:
        raise TooLarge(f"A report may hold {limits.FRAME_TASKS:,} results.")
    if len(report.places) != len(report.results) or len(report.leaves) % 32 or len(report.signature) != 64:
        raise BadInput("The signed leaves of a report do not fit its results.")
    count = len(report.leaves) // 32
    if count > limits.HELD_ASSIGNMENTS or not all(0 <= place < count for place in report.places):
        raise BadInput("A result names a leaf that is not there.")
    for entry in report.results:
        if entry.blob and check_digest(entry.blob) and entry.payload:
            raise BadInput("A result has a payload or names a blob, not both.")
        if len(entry.payload) > limits.INLINE_BYTES:
            raise TooLarge(f"A payload over {limits.INLINE_BYTES:,} bytes is put as a blob.")
        numbers = (entry.cpu_ms, entry.wall_ms, entry.memory_bytes, entry.size, entry.errors)
        if len(entry.digest) != 32 or min(numbers) < 0 or max(numbers) > limits.STORED_MAX:
            raise BadInput("A result's digest or usage is not what it should be.")


def unlike(grid: bytes, report: m.Report, notes: Sequence[Note | None]) -> list[int]:
    """Step 2, for the results whose note is known: those that are not what was signed, by index."""
    leaves = report.leaves
    found: list[int] = []
    for at, (entry, place, note) in enumerate(zip(report.results, report.places, notes, strict=True)):
        if note is None:
            continue
        usage = (entry.cpu_ms, entry.wall_ms, entry.memory_bytes, entry.size)
        leaf = leaf_bytes(grid, entry.assignment, note.program, note.input, entry.outcome, entry.digest, usage)
        if leaf_hash(leaf) != leaves[place * 32 : place * 32 + 32]:
            found.append(at)
    return found


def reported(entry: m.ResultEntry, place: int, key: AssignmentKey, note: Note) -> Reported:
    """Step 4: the engine's form of one result. Raises BadInput when the payload is not the signed output."""
    error, errors, hit = entry.error[: limits.ANSWER_ERROR_CHARS], min(entry.errors, note.units), False
    outcome, payload, blob, digest = entry.outcome, entry.payload, entry.blob, entry.digest
    if outcome is Outcome.OK:
        if (bytes.fromhex(blob) if blob else answer_digest(ok=True, payload=payload)) != digest:
            raise BadInput("A result's payload is not the output that was signed.")
        seen = _look(note, payload, blob, errors)
        errors, hit, problem = seen.failed, seen.hit, seen.problem
        if problem:
            outcome, payload, blob, error, hit = Outcome.PROGRAM_ERROR, b"", "", problem, False
            digest = answer_digest(ok=False, error=problem)
    else:
        payload, blob = b"", ""
    return Reported(
        key,
        outcome,
        digest,
        payload,
        blob,
        entry.size,
        error,
        errors,
        entry.cpu_ms,
        entry.wall_ms,
        entry.memory_bytes,
        place,
        entry.stderr[-limits.STDERR_TAIL_BYTES :],
        hit,
        note.input,
    )


def _look(note: Note, payload: bytes, blob: str, errors: int) -> Look:
    """What is in a payload. One kept as a blob is read when it is reduced; until then its node's word on how many of
    its runs failed must do, and one run's output that long can be no number."""
    if not blob:
        return look(REDUCERS[note.reduce], payload, runs=note.units if note.per_item else 0)
    if note.per_item:
        return Look(failed=errors, hit=errors < note.units)
    return Look(problem="The output is too long to be a number." if note.reduce in _NUMBERS else "", hit=True)
