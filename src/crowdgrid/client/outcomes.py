"""What a settled task of calls came to: for each call its value, or the exception it raised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from crowdgrid.client.codec import Codec
from crowdgrid.client.rows import answers_of, failure_of
from crowdgrid.client.trust import Trust
from crowdgrid.errors import CrowdgridError, RemoteError
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

    def of(
        self, task: m.ResultRow, payload: bytes, refused: CrowdgridError | None = None
    ) -> Iterator[tuple[int, bool, Any]]:
        """(unit, whether it returned, its value or exception) for each call of a task, in order.

        `refused`: what `check` said; then it is the outcome of every one of them.
        """
        if refused is not None:
            return ((unit, False, refused) for unit in range(task.start, task.stop))
        if why := failure_of(task):
            return (
                (unit, False, _placed(RemoteError(why), self._where(task, unit)))
                for unit in range(task.start, task.stop)
            )
        return self._each(task, payload)

    def _each(self, task: m.ResultRow, payload: bytes) -> Iterator[tuple[int, bool, Any]]:
        value = self.codec.value
        unit = task.start
        for answer in answers_of(task, payload):
            if answer.ok:
                try:
                    found = value(answer.data)
                except Exception as error:  # noqa: BLE001 — what cannot be read here is this call's failure alone
                    yield unit, False, self._unreadable(error, task, unit)
                else:
                    yield unit, True, found
            else:
                yield unit, False, self.codec.exception(answer, self._where(task, unit))
            unit += 1

    def _unreadable(self, error: Exception, task: m.ResultRow, unit: int) -> BaseException:
        told = RemoteError(f"What the call returned cannot be read here: {type(error).__name__}: {error}")
        told.__cause__ = error
        return _placed(told, self._where(task, unit))

    def _where(self, task: m.ResultRow, unit: int) -> str:
        node = f" on node …{task.node[-NODE_CHARS:]}" if task.node else ""
        return f"It was call {unit:,}{node}."


def _placed(error: BaseException, where: str) -> BaseException:
    error.add_note(where)
    return error
