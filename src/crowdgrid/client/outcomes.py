"""What a settled task of calls came to: for each call its value, or the exception it raised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from crowdgrid.client.codec import Codec
from crowdgrid.client.rows import answers_of, failure_of, runs_of
from crowdgrid.client.trust import Trust
from crowdgrid.core.reducing.answers import Answer
from crowdgrid.errors import CrowdgridError, RemoteError, printable
from crowdgrid.protocol import messages as m

NODE_CHARS: Final = 16  # of a did:key's end, enough to tell nodes apart


class Outcomes:
    """See the module.

    Args:
        codec: how the calls were written.
        program: hex SHA-256 of their program.
        trust: checks who signed, before anything is read; None where what comes is only data.
    """

    def __init__(self, codec: Codec, program: str, trust: Trust | None = None) -> None:
        self.codec = codec
        self._value = codec.value
        self.signed = trust is not None
        self._program = program
        self._trust = trust

    async def check(self, task: m.ResultRow, payload: bytes) -> CrowdgridError | None:
        """Why this payload must not be read, None when it may be."""
        if self._trust is None or failure_of(task):
            return None
        try:
            await self._trust.check(task, payload, self._program)
        except CrowdgridError as error:
            return error
        return None

    def answers(
        self, task: m.ResultRow, payload: bytes, refused: CrowdgridError | None = None
    ) -> Sequence[Answer | BaseException]:
        """One for each call of a task, in order: its answer, or why it has none.

        `refused`: what `check` said; then it is why none of them has.

        Raises:
            BadInput: the payload is not what such a task has.
        """
        if refused is not None:
            return [refused] * len(runs_of(task))
        if why := failure_of(task):
            return [RemoteError(why) for _ in runs_of(task)]
        return answers_of(task, payload)

    def value(self, answer: Answer | BaseException, task: m.ResultRow, unit: int) -> Any:
        """What a call returned. Raises what it raised.

        Nothing here holds on to it: who takes results one after the other has one at a time.
        """
        if type(answer) is Answer and answer.ok:
            try:
                return self._value(answer.data)
            except Exception as error:
                told = RemoteError(f"What the call returned cannot be read here: {type(error).__name__}: {error}")
                told.add_note(self._where(task, unit))
                raise told from error
        raise self.exception(answer, task, unit)

    def value_or_exception(self, answer: Answer | BaseException, task: m.ResultRow, unit: int) -> Any:
        """What a call returned, or what it raised."""
        try:
            return self.value(answer, task, unit)
        except BaseException as error:  # noqa: BLE001 — it is what was asked for
            return error.with_traceback(None)

    def outcome(self, answer: Answer | BaseException, task: m.ResultRow, unit: int) -> tuple[bool, Any]:
        """(True, what a call returned) or (False, what it raised)."""
        try:
            return True, self.value(answer, task, unit)
        except BaseException as error:  # noqa: BLE001 — it is what was asked for
            return False, error.with_traceback(None)

    def exception(self, answer: Answer | BaseException, task: m.ResultRow, unit: int) -> BaseException:
        """What a call without a value is to raise."""
        where = self._where(task, unit)
        error = self.codec.exception(answer, where) if isinstance(answer, Answer) else answer
        if where not in getattr(error, "__notes__", ()):
            error.add_note(where)
        if isinstance(error, RemoteError):
            error.node, error.index = task.node, unit
        return error

    def _where(self, task: m.ResultRow, unit: int) -> str:
        node = f" on node …{printable(task.node[-NODE_CHARS:])}" if task.node else ""
        return f"It was call {unit:,}{node}."
