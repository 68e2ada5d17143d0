"""A client that never stops: it appends items to an open job and reads every answer, whatever befalls the hub.

Each item says its own ordinal, so a payload at the wrong place, a lost one and one that came twice are all seen.
It uses the client library's own link and does nothing to mend it: that is what is tested.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from crowdgrid.client import background
from crowdgrid.client.address import Address
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.link import Link
from crowdgrid.client.rest import Rest
from crowdgrid.core.model import Items, Outcome, TaskState
from crowdgrid.core.reducing.answers import unpack_answers
from crowdgrid.protocol import messages as m
from tests.e2e.grid import SECONDS, until

PROGRAM: Final = b"the echo runtime needs none"
AT_ONCE: Final = 40  # items of one append
UNSETTLED_MAX: Final = 2_000  # more than that is not appended ahead of the answers
WINDOW: Final = 5_000


def item(ordinal: int) -> bytes:
    """What stands at this place of the input."""
    return f"item {ordinal} ".encode() + hashlib.sha256(ordinal.to_bytes(8, "big")).hexdigest().encode()


class Feeder:
    """See the module.

    Attributes:
        acknowledged: units the hub said it has. answers: how often each unit was answered, with the right bytes.
        wrong: answers that were not the item's own.
    """

    def __init__(self, url: str, token: str, *, runtime: str = "echo") -> None:
        self.acknowledged = 0
        self.answers: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.link = Link(Address.parse(url, token))
        self._address = Address.parse(url, token)
        self._runtime = runtime
        self._enough = threading.Event()
        self._work: Future[None] = background.start(self._run())
        self.job: JobLink
        until(lambda: hasattr(self, "job") or self._work.done(), "the job is open")

    # --- for the test ----------------------------------------------------------------------------

    @property
    def answered(self) -> int:
        """Units answered so far."""
        return len(self.answers)

    def moves_on(self, more: int = 1) -> None:
        """Wait until `more` units than now are answered."""
        goal = self.answered + more
        until(lambda: self.answered >= goal or self._work.done(), f"{more} more answers come ({self.answered} did)")

    def finish(self) -> int:
        """Append no more, seal the job, wait for its end; how many units it had. Raises what went wrong."""
        self._enough.set()
        self._work.result(SECONDS)
        return self.acknowledged

    def check(self) -> None:
        """Every acknowledged unit was answered exactly once, with its own bytes."""
        assert not self.wrong, self.wrong[:5]
        missing = [unit for unit in range(self.acknowledged) if unit not in self.answers]
        twice = [unit for unit, count in self.answers.items() if count > 1]
        assert not missing, f"{len(missing)} of {self.acknowledged} units were never answered: {missing[:5]}"
        assert not twice, f"answered more than once: {twice[:5]}"
        assert len(self.answers) == self.acknowledged

    # --- on the client's loop ----------------------------------------------------------------------

    async def _run(self) -> None:
        rest = Rest(self._address)
        digest = await rest.put_program(PROGRAM, self._runtime)
        await self.link.start(patience=SECONDS)
        request = m.JobRequest(
            program=digest, split=Items(), runtime=self._runtime, key=secrets.token_hex(8), stale_ceiling=1_000
        )
        self.job = await self.link.open(request)
        self.job.read(self._arrived, window=WINDOW)
        await self._feed()
        await self.job.seal()
        while not self.job.ended or len(self.answers) < self.acknowledged:
            assert self.job.failure is None, self.job.failure
            assert self.job.info.state not in ("failed", "cancelled", "invalid"), self.job.info.reason
            await asyncio.sleep(0.01)
        await rest.close()
        await self.link.close()

    async def _feed(self) -> None:
        under_way: list[asyncio.Future[int]] = []
        while not self._enough.is_set():
            if len(under_way) < 4 and self.job.units - len(self.answers) < UNSETTLED_MAX:
                first = self.job.units
                under_way.append(self.job.append([item(first + at) for at in range(AT_ONCE)]))
            elif under_way[:1] and under_way[0].done():
                self._acknowledge(under_way.pop(0))
            else:
                await asyncio.sleep(0.002)
        for last in under_way:
            await last
            self._acknowledge(last)

    def _acknowledge(self, answer: asyncio.Future[int]) -> None:
        units = answer.result()
        assert units >= self.acknowledged, f"the hub had {self.acknowledged} units and now has {units}"
        self.acknowledged = units

    def _arrived(self, rows: Sequence[m.ResultRow]) -> None:
        self.job.grant(len(rows))
        for row in rows:
            if row.state == TaskState.SPLIT:
                continue
            if row.state != TaskState.VALIDATED or row.outcome != Outcome.OK:
                self.wrong.append(f"task {row.ordinal}: {row.error}")
                continue
            self._count(row)

    def _count(self, row: m.ResultRow) -> None:
        answers: Sequence[Any] = unpack_answers(row.payload)
        for unit, answer in enumerate(answers, row.start):
            self.answers[unit] += 1
            if not answer.ok or answer.data != item(unit):
                self.wrong.append(f"unit {unit}: {answer.data[:60]!r} {answer.error}")
