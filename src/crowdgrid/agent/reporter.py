"""Delivers answers: signs them together, spools them, sends them, waits for the verdicts.

At most one report frame is in flight. What is answered meanwhile waits and shares the next signature, so
under load a signature covers hundreds of results and an idle agent answers at once. Without a link, or
behind a slow one, what waits is signed and spooled after `SEAL_SECONDS`.

A report costs hub and agent a signature, a transaction and several wake-ups, more than many a task. So while there is
work here for a while (`rest` says for how long), some time is left between two reports and results go together. When
nothing is left to do, or nothing was sent for that long, an answer is reported at once: who waits for a single call, or
for each in turn, waits for no other.

Only silence is retried: a frame whose verdicts do not come within `SILENCE_SECONDS`, or whose link is lost, is
sent again, without the results that were judged. Any verdict settles a result.

Answers over `limits.INLINE_BYTES` are put as blobs first, each in a batch of its own, so that
a slow upload holds up nothing else. One the hub refuses for good is given up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid import limits
from crowdgrid.agent.spool import Batch, Spool
from crowdgrid.agent.work import Answered
from crowdgrid.core.model import Verdict
from crowdgrid.errors import CrowdgridError
from crowdgrid.protocol import signing
from crowdgrid.protocol.messages import Message, Report, ResultEntry

SEAL_SECONDS: Final = 0.1
REST_SECONDS: Final = 0.05  # the most between two reports, for the sake of those to come
SILENCE_SECONDS: Final = 15.0
UPLOAD_AGAIN_SECONDS: Final = 2.0
UPLOADS: Final = 30  # tries while there is a link
STRIKES: Final = 2  # links that ended while the hub looked at a batch
REPORT_BYTES: Final = limits.FRAME_BYTES * 3 // 4  # of one frame; leaves room for other messages
_ENTRY_BYTES: Final = 200  # an entry without its payload and error, generously

_UNSIGNED: Final = 0  # stands for the number of a batch that is not made yet

log = logging.getLogger(__name__)


class Reporter:
    """Delivers the answers of one grid.

    Args:
        spool: where answers are until they are judged.
        key, grid: signs for this grid.
        send: puts messages on the link.
        upload: puts a payload as a blob: `await upload(digest, payload)`.
        give_up: is told assignments whose answer cannot be delivered, and why.
        clock: monotonic seconds.

    Attributes:
        rest: how many seconds there may be between two reports now.
    """

    def __init__(
        self,
        spool: Spool,
        key: Ed25519PrivateKey,
        grid: bytes,
        send: Callable[[Message], None],
        upload: Callable[[str, bytes], Awaitable[None]],
        give_up: Callable[[Sequence[bytes], str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.verdicts: dict[str, int] = {}  # how many of each there were
        self._spool, self._key, self._grid = spool, key, grid
        self._send, self._upload, self._give_up, self._clock = send, upload, give_up, clock
        self.rest: Callable[[], float] = lambda: 0.0
        self._rested: asyncio.TimerHandle | None = None
        self._up = False
        self._waiting: list[Answered] = []  # not signed yet
        self._waiting_bytes = 0
        self._waiting_since = 0.0
        self._owed: dict[int, set[bytes]] = {}  # batch → results not judged yet
        self._batch_of: dict[bytes, int] = {}
        self._unsent: dict[int, None] = {}  # batches to send, in order
        self._flying: set[int] = set()
        self._sent_at = 0.0
        self._uploads: dict[int, asyncio.Task[None]] = {}
        self._uploaded: set[int] = set()
        self._upload_tries: dict[int, int] = {}
        self._strikes: dict[int, int] = {}  # batch → links it may have ended
        for batch in spool.batches.values():
            self._owe(batch)

    @property
    def unjudged(self) -> int:
        """Answers the hub has not judged yet."""
        return len(self._batch_of)

    @property
    def held(self) -> list[bytes]:
        """Their assignments."""
        return list(self._batch_of)

    @property
    def problem(self) -> str:
        """Why answers are not safe on disk, "" when they are."""
        return self._spool.problem

    def __contains__(self, assignment: bytes) -> bool:
        return assignment in self._batch_of

    def add(self, answered: Answered) -> None:
        """Take an answer; `flush` sends it."""
        self._batch_of[answered.entry.assignment] = _UNSIGNED
        if answered.blob:
            self._spool.keep_payload(answered.entry.blob, answered.blob)
            self._seal([answered])
            return
        if not self._waiting:
            self._waiting_since = self._clock()
        self._waiting.append(answered)
        self._waiting_bytes += _size(answered.entry)
        if len(self._waiting) >= limits.FRAME_TASKS or self._waiting_bytes >= REPORT_BYTES:
            self._seal_waiting()

    def flush(self) -> None:
        """Send what can be sent now."""
        if not self._up or self._flying or self._resting():
            return
        self._seal_waiting()
        left, room = limits.FRAME_TASKS, REPORT_BYTES
        for number in list(self._unsent):
            batch = self._spool.batches[number]
            if not self._ready(batch):
                continue
            report = self._report(batch)
            size = sum(map(_size, report.results)) + len(report.leaves)
            if self._flying and (len(report.results) > left or size > room or number in self._strikes):
                break
            self._fly(number, report)
            left, room = left - len(report.results), room - size
            if number in self._strikes:
                break  # alone, to see whether it is this one

    def acknowledge(self, verdicts: Iterable[tuple[bytes, Verdict]]) -> None:
        """The hub has judged these; they may be forgotten."""
        for assignment, verdict in verdicts:
            self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
            self._settle(assignment)
        self.flush()

    def drop(self, assignments: Iterable[bytes]) -> None:
        """The hub wants no answer for these any more."""
        for assignment in assignments:
            self._settle(assignment)

    def link_up(self) -> None:
        """Messages get through from now on; what was not judged is sent again."""
        self._up = True
        self._unsent = dict.fromkeys(self._owed)
        self._flying.clear()
        self._uploaded.clear()
        self.flush()

    def link_down(self, refused: bool = False) -> None:
        """Messages get lost. `refused`: the hub ended the link over something we sent.

        A batch that ends one link after the other would keep this node out for ever: it is given up.
        """
        self._up = False
        if refused:
            for number in self._flying:
                self._strikes[number] = self._strikes.get(number, 0) + 1
        alone = len(self._flying) == 1
        for number in list(self._flying):
            if refused and alone and self._strikes[number] >= STRIKES:
                self._lose(self._spool.batches[number], "The hub does not take this report.")
        self._flying.clear()

    def tick(self) -> None:
        """To be called a few times a second."""
        now = self._clock()
        if self._flying and now - self._sent_at >= SILENCE_SECONDS:
            self._unsent = {**dict.fromkeys(sorted(self._flying)), **self._unsent}
            self._flying.clear()
        if self._waiting and now - self._waiting_since >= SEAL_SECONDS:
            self._seal_waiting()
        self._spool.tidy()
        self.flush()

    def abandon(self) -> None:
        """Spool what waits, stop uploads and close the spool: nothing more will be delivered from here."""
        self._up = False
        self._seal_waiting()
        for task in list(self._uploads.values()):
            task.cancel()
        if self._rested:
            self._rested.cancel()
        self._spool.close()

    # --- signing and spooling ---

    def _seal_waiting(self) -> None:
        if self._waiting:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._seal(waiting)

    def _seal(self, answers: Sequence[Answered]) -> None:
        leaves = b"".join([one.leaf for one in answers])
        signature = signing.sign_leaves(self._key, self._grid, leaves)
        self._owe(self._spool.keep(tuple([one.entry for one in answers]), leaves, signature))

    def _owe(self, batch: Batch) -> None:
        self._owed[batch.number] = {result.assignment for result in batch.results}
        self._unsent[batch.number] = None
        for result in batch.results:
            self._batch_of[result.assignment] = batch.number

    def _settle(self, assignment: bytes) -> None:
        number = self._batch_of.get(assignment, _UNSIGNED)
        if number == _UNSIGNED:
            return  # not ours, or not told to anybody yet
        del self._batch_of[assignment]
        owed = self._owed[number]
        owed.discard(assignment)
        if not owed:
            del self._owed[number]
            self._unsent.pop(number, None)
            self._flying.discard(number)
            self._uploaded.discard(number)
            self._strikes.pop(number, None)
            self._upload_tries.pop(number, None)
            self._spool.forget(number)

    # --- sending ---

    def _resting(self) -> bool:
        """Whether what waits had better wait for more. Then it is looked at again in time."""
        if self._unsent or not self._waiting:
            return False
        left = self._sent_at + min(self.rest(), REST_SECONDS) - self._clock()
        if left <= 0:
            return False
        if self._rested is None:
            self._rested = asyncio.get_running_loop().call_later(left, self._go_on)
        return True

    def _go_on(self) -> None:
        self._rested = None
        self.flush()

    def _report(self, batch: Batch) -> Report:
        owed = self._owed[batch.number]
        if len(owed) == len(batch.results):
            return Report(batch.results, tuple(range(len(owed))), batch.leaves, batch.signature)
        left = [(place, result) for place, result in enumerate(batch.results) if result.assignment in owed]
        return Report(
            tuple([result for _, result in left]),
            tuple([place for place, _ in left]),
            batch.leaves,
            batch.signature,
        )

    def _fly(self, number: int, report: Report) -> None:
        del self._unsent[number]
        self._flying.add(number)
        self._sent_at = self._clock()
        self._send(report)

    # --- large answers ---

    def _ready(self, batch: Batch) -> bool:
        """Whether the payload of a batch with a large answer is at the hub; starts bringing it there."""
        if not any(result.blob for result in batch.results) or batch.number in self._uploaded:
            return True
        if batch.number not in self._uploads:
            task = asyncio.get_running_loop().create_task(self._bring(batch))
            self._uploads[batch.number] = task
            task.add_done_callback(lambda _: self._uploads.pop(batch.number, None))
        return False

    async def _bring(self, batch: Batch) -> None:
        for result in batch.results:
            if not result.blob:
                continue
            payload = self._spool.payload(result.blob)
            if payload is None:
                self._lose(batch, "Its result was lost from this node's disk.")
                return
            try:
                await self._upload(result.blob, payload)
            except CrowdgridError as error:
                tries = self._upload_tries[batch.number] = self._upload_tries.get(batch.number, 0) + 1
                if not error.retryable or tries >= UPLOADS:
                    self._lose(batch, error.message)
                    return
                log.info("A result of %d bytes could not be delivered yet: %s", len(payload), error.message)
                await asyncio.sleep(UPLOAD_AGAIN_SECONDS)
                return  # the next flush tries again
        self._uploaded.add(batch.number)
        asyncio.get_running_loop().call_soon(self.flush)

    def _lose(self, batch: Batch, reason: str) -> None:
        lost = list(self._owed.get(batch.number, ()))
        for assignment in lost:
            self._settle(assignment)
        self._give_up(lost, reason)


def _size(entry: ResultEntry) -> int:
    return len(entry.payload) + len(entry.error) * 4 + _ENTRY_BYTES
