"""What runs come to: outcomes, packed answers, digests and leaves as the hub will compute them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from crowdgrid import limits
from crowdgrid.agent.work import Held, JobQueue, answer
from crowdgrid.core.model import Outcome
from crowdgrid.errors import BadInput
from crowdgrid.protocol import packing, signing
from crowdgrid.protocol.messages import Lease, LeaseSpec
from crowdgrid.protocol.packing import Answer, Input, Part
from crowdgrid.runtimes import Finished, Results
from crowdgrid.runtimes import Outcome as Ran

GRID = b"g" * 16
ID = b"a" * 16


def held(split: str = "range", given: Input | None = None, stop: int = 9, args: tuple[str, ...] = ()) -> Held:
    spec = LeaseSpec("j", "ab" * 32, 10, "wasm", args, 1000, 1 << 20, 1 << 16, 1000, split)
    lease = Lease(ID, 0, 5, stop, given or Input(tails=(("5", "9"),)), 60_000)
    return Held(JobQueue(spec), lease, 1e9, 1)


def ok(stdout: bytes = b"42", **usage: Any) -> Finished:
    return Finished(Ran.OK, stdout, **usage)


def failed(error: str = "The program exited with code 3.", exit_code: int = 3) -> Finished:
    return Finished(Ran.PROGRAM_ERROR, exit_code=exit_code, error=error, stderr=b"tail")


def test_a_range_is_one_run_with_its_bounds_after_the_jobs_arguments() -> None:
    one = held(args=("--fast",))
    one.prepare({})
    (run,) = one.runs
    assert (run.argv, run.stdin) == (("--fast", "5", "9"), b"")
    assert (run.limits.timeout_ms, run.limits.memory_bytes, run.limits.output_bytes) == (1000, 1 << 20, 1 << 16)


def test_items_are_a_run_each_and_may_come_from_blobs() -> None:
    chunk = packing.pack_chunk([b"x", b"yy", b"zzz"])
    digest = hashlib.sha256(chunk).hexdigest()
    one = held("items", Input(parts=(Part(1, 3, blob=digest),)), stop=7)
    assert one.run_count == 2
    one.prepare({digest: chunk})
    assert [run.stdin for run in one.runs] == [b"yy", b"zzz"]


def test_an_input_without_runs_or_without_its_blob_is_refused() -> None:
    with pytest.raises(BadInput, match="no runs"):
        held(given=Input()).prepare({})
    with pytest.raises(BadInput, match="not fetched"):
        held("items", Input(parts=(Part(0, 1, blob="ab" * 32),))).prepare({})


def test_the_output_is_the_answer_and_its_digest_names_it() -> None:
    entry = answer(held(), held().lease, Results([ok(b"42", cpu_ms=3, wall_ms=4, memory_bytes=5)]), GRID).entry
    assert (entry.outcome, entry.payload, entry.size, entry.errors) == (Outcome.OK, b"42", 2, 0)
    assert entry.digest == hashlib.sha256(b"42").digest()
    assert (entry.cpu_ms, entry.wall_ms, entry.memory_bytes) == (3, 4, 5)


def test_a_programs_error_is_an_answer_known_by_code_and_sentence() -> None:
    """Two honest nodes must agree on a failing task: stderr and usage are not part of what is voted on."""
    first = answer(held(), held().lease, Results([failed()]), GRID).entry
    assert (first.outcome, first.payload, first.errors) == (Outcome.PROGRAM_ERROR, b"", 1)
    assert first.error == "The program exited with code 3."
    assert first.digest == packing.answer_digest(ok=False, exit_code=3, error=first.error)
    other = answer(held(), held().lease, Results([failed(exit_code=4)]), GRID).entry
    assert other.digest != first.digest


def test_items_answer_one_by_one_and_a_bad_one_fails_itself() -> None:
    one = held("items", Input(parts=(Part(0, 3, packing.pack_chunk([b"a", b"b", b"c"])),)), stop=8)
    entry = answer(one, one.lease, Results([ok(b"A", cpu_ms=1), failed(), ok(b"C", cpu_ms=2)]), GRID).entry
    assert (entry.outcome, entry.errors, entry.cpu_ms) == (Outcome.OK, 1, 3)
    assert packing.unpack_answers(entry.payload) == [
        Answer(True, b"A"),
        Answer(False, b"", "The program exited with code 3."),
        Answer(True, b"C"),
    ]


def test_what_a_call_raised_travels_with_its_answer() -> None:
    one = held("items", stop=7)
    raised = Finished(Ran.PROGRAM_ERROR, b"packed failure", exit_code=1, error="ValueError: bad")
    entry = answer(one, one.lease, Results([ok(b"A"), raised]), GRID).entry
    assert (entry.outcome, entry.errors, entry.error) == (Outcome.OK, 1, "")
    assert packing.unpack_answers(entry.payload)[1] == Answer(False, b"packed failure", "ValueError: bad")


@pytest.mark.parametrize(
    ("finished", "kept"),
    [
        ([ok(stderr=b"one"), ok(stderr=b"two"), ok()], b"two"),
        ([ok(stderr=b"one"), failed(), ok(stderr=b"three")], b"tail"),
        ([ok(stderr=b"one"), Finished(Ran.PROGRAM_ERROR, error="e"), ok()], b""),
        ([ok()], b""),
    ],
    ids=["the last that wrote", "the failed one", "nobody else's", "nothing"],
)
def test_of_what_runs_wrote_the_failed_ones_is_kept_else_the_last(finished: list[Finished], kept: bytes) -> None:
    one = held("items", stop=5 + len(finished))
    assert answer(one, one.lease, Results(finished), GRID).entry.stderr == kept


def test_a_fault_of_the_machine_is_no_answer_even_if_other_items_went_well() -> None:
    one = held("items", stop=7)
    entry = answer(one, one.lease, Results([ok(), Finished(Ran.NODE_ERROR, error="The disk is full.")]), GRID).entry
    assert (entry.outcome, entry.error, entry.payload) == (Outcome.NODE_ERROR, "The disk is full.", b"")


def test_answers_that_are_too_large_together_fail_from_there_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a thousand runs of 256 MB each would have to be held at once. Every node cuts at the same item."""
    monkeypatch.setattr(limits, "OUTPUT_BYTES", 5)
    one = held("items", stop=8)
    entry = answer(one, one.lease, Results([ok(b"aaa"), ok(b"bbb"), ok(b"")]), GRID).entry
    assert [one.ok for one in packing.unpack_answers(entry.payload)] == [True, False, False]
    raised = Finished(Ran.PROGRAM_ERROR, b"failure", error="ValueError: bad")
    entry = answer(one, one.lease, Results([raised, ok()]), GRID).entry
    assert packing.unpack_answers(entry.payload)[0] == Answer(False, b"", "ValueError: bad")


def test_a_large_answer_becomes_a_blob_named_by_its_digest() -> None:
    small = answer(held(), held().lease, Results([ok(b"x" * limits.INLINE_BYTES)]), GRID)
    assert (small.entry.blob, small.blob) == ("", b"")
    large = answer(held(), held().lease, Results([ok(b"x" * (limits.INLINE_BYTES + 1))]), GRID)
    assert large.entry.payload == b""
    assert large.entry.blob == hashlib.sha256(large.blob).hexdigest() == large.entry.digest.hex()
    assert large.entry.size == limits.INLINE_BYTES + 1


@pytest.mark.parametrize("finished", [ok(b"42", cpu_ms=7), failed(), ok(b"y" * 100_000)])
def test_the_leaf_is_what_the_hub_makes_of_the_report(finished: Finished) -> None:
    """The hub knows program and input by itself and recomputes the leaf; one differing byte ends the link."""
    one = held()
    made = answer(one, one.lease, Results([finished]), GRID)
    entry = made.entry
    leaf = signing.leaf_bytes(
        GRID,
        ID,
        bytes.fromhex("ab" * 32),
        packing.input_digest(one.lease.input),
        entry.outcome,
        entry.digest,
        (entry.cpu_ms, entry.wall_ms, entry.memory_bytes, entry.size),
    )
    assert made.leaf == signing.leaf_hash(leaf)


def test_the_part_done_is_answered_as_the_lease_it_got() -> None:
    one = held("items", Input(parts=(Part(0, 3, packing.pack_chunk([b"a", b"b", b"c"])),)), stop=8)
    part: dict[str, Any] = {"assignment": b"p" * 16, "stop": 6}
    given = Input(parts=(Part(0, 1, packing.pack_chunk([b"a"])),))
    lease = Lease(part["assignment"], 0, 5, 6, given, 60_000, ID)
    made = answer(one, lease, Results([ok(b"A")]), GRID)
    assert made.entry.assignment == b"p" * 16
    assert packing.unpack_answers(made.entry.payload) == [Answer(True, b"A")]


def test_how_long_what_waits_takes_is_told_from_a_few() -> None:
    one = held("items", stop=7)
    queue = one.queue
    queue.waiting.extend([one, held("items", stop=9)] * 10)
    assert queue.waiting_seconds == 0.0
    queue.observe(0.1, 1)
    assert queue.waiting_seconds == pytest.approx(10 * (2 + 4) * 0.1, rel=0.5)
    queue.waiting.clear()
    assert queue.waiting_seconds == 0.0


def test_how_long_runs_take_is_learned_quickly_downwards_and_slowly_upwards() -> None:
    """The first run includes loading the program; it must not stand for all that follow."""
    queue = held().queue
    assert queue.runs_within(1.0) == 1
    queue.observe(0.05, 1)
    for _ in range(8):
        queue.observe(0.0001, 1)
    assert queue.run_seconds < 0.0002
    before = queue.run_seconds
    queue.observe(1.0, 1)
    assert before < queue.run_seconds < 0.5
