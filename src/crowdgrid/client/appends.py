"""The appends of one who feeds a job: numbered by their first ordinal, in order, said again until they are answered.

A gap is refused, so when the hub turns one down for now, everything from it on is sent again in order; refusals of
later ones are only its consequence. One turned down for good takes all that follow it with it: they would leave a gap.

Several may feed one job, each from its own beginning (the job was opened twice with one key, or a program goes on for
one that died): the hub compares what it has with what comes, so each has to say its whole input.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crowdgrid.errors import CrowdgridError
from crowdgrid.protocol import messages as m

if TYPE_CHECKING:
    from crowdgrid.client.link import Link

RETRY_SECONDS: Final = 0.2


class Appends:
    """See the module.

    Attributes:
        units: the ordinal after the last one appended, acknowledged or not.
    """

    def __init__(self, link: Link, job: str, first: int) -> None:
        self.units = first
        self._link = link
        self._job = job
        self._waiting: dict[int, tuple[m.Append, asyncio.Future[int]]] = {}
        self._out_of_turn: set[int] = set()  # refused while one before them was not answered
        self._refused: CrowdgridError | None = None  # why input is missing for good
        self._resend: asyncio.TimerHandle | None = None

    def append(self, items: Sequence[bytes] = (), *, blob: str = "", units: int = 0) -> asyncio.Future[int]:
        """Append items (or `units` of them packed in a blob put before).

        Returns:
            A future of the number of units the job then has, durably.
        """
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self._refused is not None:
            return _failed(answer, self._refused)
        id = self._link.next_id()
        message = m.Append(id, self._job, self.units, tuple(items), blob)
        self.units += len(items) or units
        self._waiting[id] = (message, answer)
        if self._resend is None:
            self._link.say(message)
        return answer

    async def answered(self) -> None:
        """Wait until the hub has all of them. Raises what one was refused with for good."""
        for _, answer in list(self._waiting.values()):
            await answer
        if self._refused is not None:
            raise self._refused

    def waits_for(self, id: int) -> bool:
        """Whether `id` is one of these."""
        return id in self._waiting

    def appended(self, id: int, units: int) -> None:
        """The hub has it."""
        found = self._waiting.pop(id, None)
        if found is not None and not found[1].done():
            found[1].set_result(units)
        if self._out_of_turn and next(iter(self._waiting), 0) in self._out_of_turn:
            self.say_again()  # it was refused although what came before it was not: now it is its turn

    def refused(self, id: int, error: CrowdgridError) -> None:
        """The hub did not take one."""
        if next(iter(self._waiting), 0) != id:
            self._out_of_turn.add(id)
        elif error.retryable:
            self._resend = self._resend or asyncio.get_running_loop().call_later(
                random.uniform(0.02, RETRY_SECONDS), self.say_again
            )
        else:
            self.fail(error)

    def fail(self, error: CrowdgridError) -> None:
        """None of what waits will be appended, nor anything more."""
        self._refused = self._refused or error
        for _, answer in self._waiting.values():
            _failed(answer, error)
        self._waiting.clear()
        self._out_of_turn.clear()

    def say_again(self) -> None:
        """Send everything that was not answered, in order."""
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None
        self._out_of_turn.clear()
        for message, _ in self._waiting.values():
            self._link.say(message)


def _failed(answer: asyncio.Future[int], error: CrowdgridError) -> asyncio.Future[int]:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # whoever waits sees it; nobody else has to
    return answer
