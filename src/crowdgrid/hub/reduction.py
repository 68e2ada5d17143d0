"""Reduction: settled results become a job's answer.

Settled rows are the truth; what this module caches is one partial a closed block of `limits.BLOCK_TASKS` ordinals.
An answer combines the partials there are with the blocks there are none of, folded on the spot, as a tree. So it is
the same whoever finished first, whichever partials were lost, and after a task was opened again.

A split task stands for nothing itself. Reducers that keep state commute, so its children count in the blocks of
their own ordinals; ordered reads put the children in its place, by start.

Rows are read in pages and folded in a thread, some megabytes at a time: nothing here grows with the number of
tasks but the answer of `collect` and `concatenate`, and that has a limit. Failed runs, outputs the reducer
cannot read and abandoned tasks are left out and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.blobs import Blobs
from crowdgrid.core.model import Job, Outcome, Partial, Result, Task, TaskState
from crowdgrid.core.reducing import REDUCERS, Answer, Reducer, unpack_answers
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import BadInput, TooLarge, Unavailable
from crowdgrid.store import SettledRow, Store

PAGE_ROWS: Final = 256  # × limits.INLINE_BYTES: 16 MiB at most
FOLD_BYTES: Final = 8 << 20  # of payloads folded together
OUTPUT_COST: Final = 64  # bytes of memory an output takes beside its content, roughly
FORMAT: Final = 1  # of `Partial.value`; partials of another one are folded again

_Read: TypeAlias = tuple[Task, Result, bytes]  # a validated task, its result, the whole payload


class Answered(msgspec.Struct, frozen=True):
    """A job's answer, from what has settled so far.

    Attributes:
        value: what the reducer says: bytes, a list of bytes, numbers, None, or an object of numbers.
        answered: outputs it was made from.
        failed: runs left out because they ended in an error or their output could not be read.
        abandoned: tasks left out because nobody could finish them.
    """

    value: object
    answered: int
    failed: int
    abandoned: int


class Output(msgspec.Struct, frozen=True, gc=False):
    """One output in task order: of units [start, stop) of the job; `error` is "" when `data` is an answer."""

    ordinal: int
    start: int
    stop: int
    data: bytes = b""
    error: str = ""


class _Tally(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reducer's state over some settled tasks, and how many went into it."""

    state: bytes
    tasks: int = 0  # settled in any way
    answered: int = 0
    failed: int = 0
    abandoned: int = 0
    format: int = FORMAT


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Tally)


class Reduction:
    """See the module. Reads committed state only; keeps nothing."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    async def answer(self, job: Job) -> Answered:
        """The answer from what has settled so far; of a completed job, its answer.

        Raises:
            TooLarge: it is over `limits.ANSWER_BYTES`: read `outputs` instead.
            Unavailable, NotFound: the store or a result's blob cannot be read.
        """
        reducer = REDUCERS[job.spec.reduce]
        if reducer.name == "first":
            return await self._hit(job, reducer)
        tree = _Tree(reducer)
        tallies = self._of_blocks(job) if reducer.keeps_state else self._folded(job, self.ordered(job))
        async for tally in tallies:
            tree.add(tally)
            if not reducer.keeps_state:
                _check_size(tree)
        total = tree.total()
        value = await asyncio.to_thread(reducer.answer, total.state)
        return Answered(value, total.answered, total.failed, total.abandoned)

    async def fold_block(self, job: Job, block: int) -> Partial | None:
        """The partial of one block of ordinals; None while it is open, and for reducers that keep none.

        Save it only if no `DropPartial` of this block was committed since the call began; otherwise it may hold an
        answer that no longer stands.
        """
        reducer = REDUCERS[job.spec.reduce]
        if not reducer.keeps_state:
            return None
        tally = await self._block(job, block)
        if tally.tasks < limits.BLOCK_TASKS:
            return None
        return Partial(job.number, block, _encoder.encode(tally))

    async def ordered(self, job: Job, after: int = -1) -> AsyncIterator[SettledRow]:
        """Validated and abandoned tasks in the order of their units, children in place of the task they were split
        from, without the payloads kept as blobs. Of a running job: those settled, with gaps.

        Args:
            job: any job.
            after: go on after the task with this ordinal; for children, that of the task they were split from.
        """
        async for row in self._rows(job.number, after):
            if row.task.parent < 0:
                async for leaf in self._leaves(row):
                    yield leaf

    async def outputs(self, job: Job, after: int = -1) -> AsyncIterator[Output]:
        """Every output in order, those of items and grids one by one, with what failed in its place."""
        async for row in self.ordered(job, after):
            if row.task.state is TaskState.ABANDONED:
                error = "No node could finish this task."
                yield Output(row.task.ordinal, row.task.start, row.task.stop, error=error)
            else:
                for output in _outputs(job, await self._read(row)):
                    yield output

    # --- rows ---

    async def _rows(self, job: int, after: int = -1, stop: int = -1) -> AsyncIterator[SettledRow]:
        while True:
            rows = await self._store.settled(job, after=after, stop=stop, limit=PAGE_ROWS)
            for row in rows:
                yield row
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1].task.ordinal

    async def _leaves(self, row: SettledRow) -> AsyncIterator[SettledRow]:
        """The row itself, or in place of a split task its settled children, and theirs."""
        todo = [row]  # a stack, not a recursion: a task may have been split again and again, thousands deep
        while todo:
            row = todo.pop()
            if row.task.state is not TaskState.SPLIT:
                yield row
                continue
            found: list[SettledRow] = []
            for child in await self._store.children(row.task.job, row.task.ordinal):
                found += await self._store.settled(child.job, after=child.ordinal - 1, stop=child.ordinal + 1, limit=1)
            todo += reversed(found)

    async def _read(self, row: SettledRow) -> _Read:
        result = row.assignment.result if row.assignment else None
        if result is None:
            raise Unavailable(
                f"The store has no result for task {row.task.ordinal} although it is settled.",
                hint="Run the job again, or restore the store from a backup.",
            )
        return row.task, result, await self._blobs.read_bytes(result.blob) if result.blob else result.payload

    # --- folding ---

    async def _hit(self, job: Job, reducer: Reducer) -> Answered:
        """`first`: the output of the validated hit the job stopped at."""
        counts = job.counts
        tree = _Tree(reducer)
        if job.hit >= 0:
            async for tally in self._folded(job, self._rows(job.number, job.hit - 1, job.hit + 1)):
                tree.add(tally)
        value = reducer.answer(tree.total().state)
        return Answered(value, int(value is not None), counts.errors, counts.abandoned)

    async def _of_blocks(self, job: Job) -> AsyncIterator[_Tally]:
        partials = {partial.block: partial for partial in await self._store.partials(job.number)}
        for block in range(-(-job.counts.tasks // limits.BLOCK_TASKS)):
            stored = partials.pop(block, None)
            known = _stored(stored) if stored else None
            yield known or await self._block(job, block)

    async def _block(self, job: Job, block: int) -> _Tally:
        first = block * limits.BLOCK_TASKS
        tree = _Tree(REDUCERS[job.spec.reduce])
        rows = self._rows(job.number, first - 1, first + limits.BLOCK_TASKS)
        async for tally in self._folded(job, rows):
            tree.add(tally)
        return tree.total()

    async def _folded(self, job: Job, rows: AsyncIterator[SettledRow]) -> AsyncIterator[_Tally]:
        """Tallies over the rows, in order, each over as many as are folded together."""
        waiting: list[_Read] = []
        size = tasks = abandoned = 0
        async for row in rows:
            tasks += 1
            if row.task.state is TaskState.VALIDATED:
                waiting.append(await self._read(row))
                size += len(waiting[-1][2])
            elif row.task.state is TaskState.ABANDONED:
                abandoned += 1
            if len(waiting) >= PAGE_ROWS or size >= FOLD_BYTES:
                yield await asyncio.to_thread(_fold, job, waiting, tasks, abandoned)
                waiting = []
                size = tasks = abandoned = 0
        if tasks:
            yield await asyncio.to_thread(_fold, job, waiting, tasks, abandoned)


class _Tree:
    """Combines tallies in order as a balanced tree, so that states of about the same size meet: n states cost
    log n combinations each, and not more than log n are held."""

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer
        self._stack: list[tuple[int, _Tally]] = []
        self.cost = 0  # bytes of memory the answer will take, roughly

    def add(self, tally: _Tally) -> None:
        self.cost += len(tally.state) + OUTPUT_COST * tally.answered
        rank = 0
        while self._stack and self._stack[-1][0] == rank:
            tally = self._combine(self._stack.pop()[1], tally)
            rank += 1
        self._stack.append((rank, tally))

    def total(self) -> _Tally:
        if not self._stack:
            return _Tally(self._reducer.empty())
        total = self._stack[-1][1]
        for _, tally in reversed(self._stack[:-1]):
            total = self._combine(tally, total)
        return total

    def _combine(self, left: _Tally, right: _Tally) -> _Tally:
        return _Tally(
            self._reducer.combine(left.state, right.state),
            left.tasks + right.tasks,
            left.answered + right.answered,
            left.failed + right.failed,
            left.abandoned + right.abandoned,
        )


def _fold(job: Job, reads: Sequence[_Read], tasks: int, abandoned: int) -> _Tally:
    reducer = REDUCERS[job.spec.reduce]
    found = [output for read in reads for output in _outputs(job, read)]
    good = [output.data for output in found if not output.error and not reducer.accepts(output.data)]
    state = reducer.fold(reducer.empty(), good)
    return _Tally(state, tasks, len(good), len(found) - len(good), abandoned)


def _outputs(job: Job, read: _Read) -> list[Output]:
    """The outputs in one task's answer; for a task of many runs that failed whole, an error for each."""
    task, result, payload = read
    if not per_item(job.spec.split):
        if result.outcome is Outcome.OK:
            return [Output(task.ordinal, task.start, task.stop, payload)]
        return [Output(task.ordinal, task.start, task.stop, error=result.error or "The program failed.")]
    units = range(task.start, task.stop)
    answers = _answers(result, payload, len(units))
    return [
        Output(task.ordinal, unit, unit + 1, answer.data)
        if answer.ok
        else Output(task.ordinal, unit, unit + 1, error=answer.error or "The program failed.")
        for unit, answer in zip(units, answers)
    ]


def _answers(result: Result, payload: bytes, runs: int) -> Sequence[Answer]:
    if result.outcome is not Outcome.OK:
        return [Answer(ok=False, error=result.error)] * runs
    try:
        answers = unpack_answers(payload)
    except BadInput as error:
        return [Answer(ok=False, error=error.message)] * runs
    if len(answers) != runs:
        return [Answer(ok=False, error="The node answered another number of items than it was given.")] * runs
    return answers


def _stored(partial: Partial) -> _Tally | None:
    """What a partial holds; None when another version wrote it, so that it is folded again."""
    try:
        tally = _decoder.decode(partial.value)
    except msgspec.DecodeError:
        return None
    return tally if tally.format == FORMAT else None


def _check_size(tree: _Tree) -> None:
    if tree.cost > limits.ANSWER_BYTES:
        raise TooLarge(
            f"The outputs of this job are over {limits.ANSWER_BYTES >> 20:,} MiB together, too much for one answer.",
            hint="Read them as a stream with `crowdgrid jobs results`, or combine them with another reducer.",
        )
