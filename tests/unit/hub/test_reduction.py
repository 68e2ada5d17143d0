"""A job's answer: the same whoever finished first, whatever was cached, split, lost or opened again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.blobs.memory import MemoryBlobs
from crowdgrid.core.model import (
    Assignment,
    AssignmentState,
    Counts,
    Items,
    Job,
    JobSpec,
    JobState,
    Outcome,
    Partial,
    Range,
    Result,
    Split,
    Task,
    TaskState,
)
from crowdgrid.core.reducing import Answer, pack_answers
from crowdgrid.errors import NotFound, TooLarge, Unavailable
from crowdgrid.hub import reduction
from crowdgrid.hub.reduction import Answered, Output, Reduction
from crowdgrid.store import Batch
from crowdgrid.store.memory import MemoryStore

T = TypeVar("T")
BLOCK = 4


def run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


@contextmanager
def small_blocks() -> Iterator[None]:
    """Blocks of 4 tasks and pages of 3 rows: every boundary is met in small examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BLOCK_TASKS", BLOCK)
        patch.setattr(reduction, "PAGE_ROWS", 3)
        yield


class Results:
    """One job in a store in memory, whose tasks settle as a test says."""

    def __init__(self, reduce: str, split: Split | None = None, tasks: int = 0) -> None:
        self.store, self.blobs = MemoryStore(), MemoryBlobs()
        self.reduction = Reduction(self.store, self.blobs)
        spec = JobSpec("0" * 64, split or Range(0, 1000), reduce=reduce)
        counts = Counts(tasks=tasks)
        self.job = Job(1, "ann", "", "", "", 0, JobState.COMPLETED, spec, counts)
        self.grid = run(self.store.open(grid_id=b"g" * 16, id_key=b"k" * 16)).grid

    def commit(self, *records: Task | Assignment | Partial | Job, dropped: tuple[tuple[int, int], ...] = ()) -> None:
        self.grid = msgspec.structs.replace(self.grid, batch=self.grid.batch + 1)
        run(self.store.commit(Batch(grid=self.grid, records=records, dropped_partials=dropped)))

    def settle(
        self, ordinal: int, state: TaskState, result: Result | None = None, *, at: int | None = None,
        stop: int | None = None, parent: int = -1, attempt: int = 0,
    ) -> None:  # fmt: skip
        start = ordinal if at is None else at
        end = start + 1 if stop is None else stop
        answer = attempt if result else -1
        self.commit(Task(1, ordinal, start, end, state, 0, attempt + 1, answer=answer, parent=parent))
        if result:
            done = AssignmentState.REPORTED
            self.commit(Assignment(1, ordinal, attempt, 9, done, 0, 0, result=result))

    def answer(self) -> Answered:
        return run(self.reduction.answer(self.job))

    def outputs(self, after: int = -1) -> list[Output]:
        async def read() -> list[Output]:
            return [output async for output in self.reduction.outputs(self.job, after)]

        return run(read())

    def fold(self, block: int) -> Partial | None:
        return run(self.reduction.fold_block(self.job, block))


def ok(payload: bytes) -> Result:
    return Result(Outcome.OK, b"d" * 32, payload, "", len(payload))


def failed(error: str = "exit code 3") -> Result:
    return Result(Outcome.PROGRAM_ERROR, b"d" * 32, b"", "", 0, error=error)


leaves = st.one_of(st.integers(-1000, 1000), st.just("failed"), st.just("abandoned"))
trees = st.recursive(leaves, lambda inner: st.lists(inner, min_size=2, max_size=3), max_leaves=8)


def flat(tree: object) -> Iterator[object]:
    if isinstance(tree, list):
        for child in tree:
            yield from flat(child)
    else:
        yield tree


def count(tree: object) -> int:
    return 1 + sum(map(count, tree)) if isinstance(tree, list) else 1


def place(results: Results, roots: list, later: list[int]) -> None:
    """Settle trees of tasks: roots at ordinals 0 …, children at the ordinals of `later` as they come."""

    def settle(tree: object, ordinal: int, start: int, parent: int) -> None:
        if isinstance(tree, list):
            results.settle(ordinal, TaskState.SPLIT, at=start, stop=start + width(tree), parent=parent)
            for child in tree:
                settle(child, later.pop(0), start, ordinal)
                start += width(child)
        elif tree == "abandoned":
            results.settle(ordinal, TaskState.ABANDONED, at=start, parent=parent)
        else:
            result = failed() if tree == "failed" else ok(f"{tree}\n".encode())
            results.settle(ordinal, TaskState.VALIDATED, result, at=start, parent=parent)

    def width(tree: object) -> int:
        return len(list(flat(tree)))

    start = 0
    for ordinal, tree in enumerate(roots):
        settle(tree, ordinal, start, -1)
        start += width(tree)


def expected(reduce: str, roots: list) -> Answered:
    """The answer worked out the plain way."""
    leaves_ = [leaf for tree in roots for leaf in flat(tree)]
    numbers = [leaf for leaf in leaves_ if isinstance(leaf, int)]
    lines = [b"%d\n" % number for number in numbers]
    value = {
        "sum": sum(numbers),
        "count": len(numbers),
        "minimum": min(numbers, default=None),
        "maximum": max(numbers, default=None),
        "collect": lines,
        "concatenate": b"".join(lines),
    }[reduce]
    return Answered(value, len(numbers), leaves_.count("failed"), leaves_.count("abandoned"))


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["sum", "count", "minimum", "maximum", "collect", "concatenate"]),
    st.lists(trees, min_size=1, max_size=9),
    st.data(),
)
def test_the_answer_is_that_of_the_plain_way(reduce: str, roots: list, data: st.DataObject) -> None:
    """Tasks split again and again, children settling in any order, failures, any blocks cached: one answer."""
    total = sum(map(count, roots))
    later = data.draw(st.permutations(range(len(roots), total)))
    with small_blocks():
        results = Results(reduce, tasks=total)
        place(results, roots, list(later))
        assert results.answer() == expected(reduce, roots)
        for block in range(-(-total // BLOCK)):
            if data.draw(st.booleans()) and (partial := results.fold(block)):
                results.commit(partial)
        assert results.answer() == expected(reduce, roots)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=5, max_size=14), st.data())
def test_a_task_opened_again_changes_the_answer_exactly(values: list[int], data: st.DataObject) -> None:
    """Dropping its block's partial is enough: nothing is subtracted, no stale part is left."""
    with small_blocks():
        results = Results("sum", tasks=len(values))
        place(results, values, [])
        for block in range(len(values) // BLOCK):
            partial = results.fold(block)
            assert partial is not None
            results.commit(partial)
        again = data.draw(st.integers(0, len(values) - 1))
        results.commit(dropped=((1, again // BLOCK),))
        results.settle(again, TaskState.VALIDATED, ok(b"1000"), attempt=1)
        assert results.answer().value == sum(values) - values[again] + 1000


def test_stored_partials_are_what_is_read() -> None:
    """A closed block is not folded again: its partial stands for its rows."""
    with small_blocks():
        results = Results("sum", tasks=8)
        place(results, [1] * 8, [])
        partial = results.fold(0)
        assert partial is not None
        results.commit(partial)
        for ordinal in range(BLOCK):  # as if the rows said something else
            results.settle(ordinal, TaskState.VALIDATED, ok(b"100"))
        assert results.answer().value == 8


def test_a_partial_another_version_wrote_is_folded_again() -> None:
    """A cache nobody can read costs time, never the answer."""
    with small_blocks():
        results = Results("sum", tasks=4)
        place(results, [1, 2, 3, 4], [])
        for value in (b"\xc1", b"", msgspec.msgpack.encode([b"x", 4, 4, 0, 0, 99])):
            results.commit(Partial(1, 0, value))
            assert results.answer().value == 10


def test_an_open_block_has_no_partial() -> None:
    """A partial without all of its tasks would lose those that settle later."""
    with small_blocks():
        results = Results("sum", tasks=4)
        for ordinal in range(3):
            results.settle(ordinal, TaskState.VALIDATED, ok(b"1"))
        assert results.fold(0) is None
        results.settle(3, TaskState.ABANDONED)
        assert results.fold(0) is not None
        assert Results("collect", tasks=4).fold(0) is None


def test_a_running_job_answers_with_what_has_settled() -> None:
    results = Results("sum", tasks=10)
    results.settle(2, TaskState.VALIDATED, ok(b"5"))
    results.settle(3, TaskState.SPLIT)
    results.commit(Task(1, 4, 3, 4, TaskState.IN_QUEUE, 0, parent=3))
    assert results.answer() == Answered(5, 1, 0, 0)
    assert Results("sum").answer() == Answered(0, 0, 0, 0)


def test_items_answer_one_by_one() -> None:
    """One bad item fails itself; one the reducer cannot read, and answers that are none, are counted too."""
    packed = pack_answers([Answer(True, b"1"), Answer(False, error="exit code 3"), Answer(True, b"x")])
    results = Results("sum", Items(), tasks=4)
    results.settle(0, TaskState.VALIDATED, ok(packed), at=0, stop=3)
    results.settle(1, TaskState.VALIDATED, failed("The program has no start."), at=3, stop=5)
    results.settle(2, TaskState.VALIDATED, ok(packed), at=5, stop=7)
    results.settle(3, TaskState.VALIDATED, ok(b"garbage"), at=7, stop=8)
    assert results.answer() == Answered(1, 1, 7, 0)
    assert [(o.start, o.data, o.error) for o in results.outputs()][:4] == [
        (0, b"1", ""),
        (1, b"", "exit code 3"),
        (2, b"x", ""),
        (3, b"", "The program has no start."),
    ]


def test_outputs_go_on_where_they_stopped() -> None:
    """A client that comes back reads on after the last task it has, children in their parents' place."""
    results = Results("collect")
    place(results, [1, [2, "failed"], "abandoned", 3], [5, 4])
    read = results.outputs()
    assert [o.data for o in read] == [b"1\n", b"2\n", b"", b"", b"3\n"]
    assert [o.ordinal for o in read] == [0, 5, 4, 2, 3]
    assert [bool(o.error) for o in read] == [False, False, True, True, False]
    assert results.outputs(after=1) == read[3:]


def test_large_results_are_read_from_blobs() -> None:
    results = Results("concatenate", tasks=2)
    large = b"x" * (limits.INLINE_BYTES + 1)
    digest = run(results.blobs.put_bytes(large))
    results.settle(0, TaskState.VALIDATED, Result(Outcome.OK, b"d" * 32, b"", digest, len(large)))
    results.settle(1, TaskState.VALIDATED, ok(b"end"))
    assert results.answer().value == large + b"end"


def test_a_result_that_is_gone_is_an_error_not_a_gap() -> None:
    """No answer is better than one that silently lacks a part."""
    results = Results("concatenate", tasks=1)
    results.settle(0, TaskState.VALIDATED, Result(Outcome.OK, b"d" * 32, b"", "ab" * 32, 9))
    with pytest.raises(NotFound):
        results.answer()
    results = Results("sum", tasks=1)
    results.settle(0, TaskState.VALIDATED)
    with pytest.raises(Unavailable, match="no result for task 0"):
        results.answer()


def test_first_answers_with_the_validated_hit() -> None:
    """The job's hit decides, not whichever row has text first."""
    results = Results("first", tasks=3)
    for ordinal, payload in enumerate((b"early\n", b"", b"hit\n")):
        results.settle(ordinal, TaskState.VALIDATED, ok(payload))
    assert results.answer() == Answered(None, 0, 0, 0)
    results.job = msgspec.structs.replace(results.job, hit=2)
    assert results.answer() == Answered(b"hit\n", 1, 0, 0)


def test_a_collect_too_large_for_one_answer_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit memory is streamed; the hub must not die of one job's outputs."""
    monkeypatch.setattr(limits, "ANSWER_BYTES", 10_000)
    results = Results("collect", tasks=20)
    place(results, list(range(20)), [])
    assert len(results.answer().value) == 20  # type: ignore[arg-type]
    results.settle(20, TaskState.VALIDATED, ok(b"x" * 10_000))
    with pytest.raises(TooLarge) as caught:
        results.answer()
    assert "stream" in caught.value.hint
    assert len(results.outputs()) == 21


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.data())
def test_decimal_sums_do_not_depend_on_who_was_first(values: list[float], data: st.DataObject) -> None:
    """Floats lose digits with the order they are added in; answers must not."""
    answers = set()
    for order in (values, data.draw(st.permutations(values))):
        with small_blocks():
            results = Results("sum", tasks=len(values))
            for ordinal, value in enumerate(order):
                results.settle(ordinal, TaskState.VALIDATED, ok(repr(value).encode()))
            answers.add(results.answer().value)
    assert len(answers) == 1


def test_a_task_split_thousands_of_times_over_is_read_like_any_other() -> None:
    """Protects answers: a node that gives back all but one unit each time makes a chain deeper than any stack."""
    deep = 1_500
    results = Results("collect", tasks=2 * deep + 1)
    for level in range(deep):
        parent = 2 * level if level else 0
        results.settle(parent, TaskState.SPLIT, at=level, stop=deep + 1, parent=parent - 2 if level else -1)
        results.settle(2 * level + 1, TaskState.VALIDATED, ok(b"%d" % level), at=level, stop=level + 1, parent=parent)
    results.settle(2 * deep, TaskState.VALIDATED, ok(b"%d" % deep), at=deep, stop=deep + 1, parent=2 * deep - 2)
    assert results.answer().value == [b"%d" % each for each in range(deep + 1)]
