"""A job in hand on a link: its input going out (see `appends`), its results coming in, its state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from crowdgrid import limits
from crowdgrid.client.appends import RETRY_SECONDS, Appends
from crowdgrid.client.pace import Pace
from crowdgrid.core.model import Counts, TaskState
from crowdgrid.errors import BadInput, Conflict, CrowdgridError, from_code
from crowdgrid.protocol import messages as m

if TYPE_CHECKING:
    from crowdgrid.client.link import Link

WINDOW_ROWS: Final = 2_000
ENDED: Final = frozenset({"invalid", "completed", "final", "failed", "cancelled"})


class Seen:
    """Which rows came: every ordinal up to `after`, and some beyond it."""

    __slots__ = ("_beyond", "after")

    def __init__(self, after: int) -> None:
        self.after = after
        self._beyond: set[int] = set()

    def new(self, ordinal: int) -> bool:
        """Whether this row is the first of its task."""
        if ordinal <= self.after or ordinal in self._beyond:
            return False
        self._beyond.add(ordinal)
        while self.after + 1 in self._beyond:
            self.after += 1
            self._beyond.remove(self.after)
        return True


class JobLink:
    """See the module.

    Attributes:
        id: public. info: as the hub told it last.
        failure: why nothing more can be done with it on this link.
        resumed: its counters when a new connection took it in hand again; None on the first.
        watchers: called after each change of `info` or `failure`.
    """

    def __init__(self, link: Link, info: m.JobInfo) -> None:
        self.id = info.id
        self.info = info
        self.holders = 0  # who has it in hand here
        self.failure: CrowdgridError | None = None
        self.resumed: Counts | None = None
        self.watchers: list[Callable[[], None]] = []
        self.pace = Pace()
        self._link = link
        self._own = Appends(link, info.id, info.counts.units)
        self._feeds = [self._own]
        self._on_rows: Callable[[Sequence[m.ResultRow]], None] | None = None
        self._seen = Seen(-1)
        self._signed = False
        self._read_units = 0  # in the rows read
        self._window = 0  # rows the hub may still send
        self._asked = 0  # the `Read` without an answer yet: rows that come before it are of an earlier one
        self._owed = 0  # rows to grant once it has been answered

    # --- its state -------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether it has its answers, or will not get any."""
        return self.info.state in ENDED

    @property
    def settled(self) -> int:
        """Units whose tasks have settled, as far as is known here: counters come twice a second, rows at once."""
        return max(self.info.counts.units_done, self._read_units)

    def update(self, info: m.JobInfo) -> None:
        """The hub told of it."""
        self.info = info
        self.pace.saw(info.counts.units_done, time.monotonic())
        self.tell()

    def fail(self, error: CrowdgridError) -> None:
        """It cannot be reached any longer."""
        self.failure = self.failure or error
        for feed in self._feeds:
            feed.fail(self.failure)
        self.tell()

    def tell(self) -> None:
        """Something about it changed."""
        for watcher in list(self.watchers):
            watcher()

    async def changed(self) -> None:
        """Wait for the next news of it."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not news.done():
                news.set_result(None)

        self.watchers.append(wake)
        try:
            await news
        finally:
            self.watchers.remove(wake)

    async def seal(self) -> None:
        """Nothing more will be appended; what was is acknowledged first, so that no seal overtakes it.

        Raises:
            CrowdgridError: an append was refused for good.
        """
        for feed in list(self._feeds):
            await feed.answered()
        await self._link.ask(m.Seal(self._link.next_id(), self.id), m.Done)

    async def cancel(self, reason: str = "") -> None:
        """End it."""
        await self._link.ask(m.CancelJob(self._link.next_id(), self.id, reason), m.Done)

    def release(self) -> None:
        """Have it in hand no longer."""
        self.stop_reading()
        self._link.jobs.pop(self.id, None)

    # --- its input -------------------------------------------------------------------------------

    @property
    def units(self) -> int:
        """Input appended so far by `append`, acknowledged or not."""
        return self._own.units

    def append(self, items: Sequence[bytes] = (), *, blob: str = "", units: int = 0) -> asyncio.Future[int]:
        """Append items (or `units` of them packed in a blob put before) after what the job had when it was taken in
        hand.

        Returns:
            A future of the number of units the job then has, durably.
        """
        return self._own.append(items, blob=blob, units=units)

    def appends(self) -> Appends:
        """A feed for who has the job's whole input: it begins at the first unit, whatever is there. Give it to
        `close_feed` in the end."""
        feed = Appends(self._link, self.id, 0)
        if self.failure is not None:
            feed.fail(self.failure)
        self._feeds.append(feed)
        return feed

    def close_feed(self, feed: Appends) -> None:
        """Nothing more comes from it."""
        self._feeds.remove(feed)

    def appended(self, id: int, units: int) -> None:
        """The hub has it."""
        for feed in self._feeds:
            if feed.waits_for(id):
                feed.appended(id, units)

    def waits_for(self, id: int) -> bool:
        """Whether `id` is an append of this job."""
        return any(feed.waits_for(id) for feed in self._feeds)

    def refused(self, id: int, error: CrowdgridError) -> None:
        """The hub did not take an append."""
        for feed in self._feeds:
            if feed.waits_for(id):
                feed.refused(id, error)

    # --- its results -----------------------------------------------------------------------------

    def read(
        self,
        on_rows: Callable[[Sequence[m.ResultRow]], None],
        *,
        after: int = -1,
        window: int = WINDOW_ROWS,
        signed: bool = False,
    ) -> None:
        """Have every settled task above `after` handed to `on_rows`, once each, in the order they settle.

        The hub sends at most `window` rows until `grant` is called. `signed`: each with its node's proof.

        Raises:
            Conflict: somebody reads it already.
        """
        if self._on_rows is not None:
            raise Conflict("The results of this job are being read already.", hint="Read them in one place.")
        self._on_rows = on_rows
        self._seen = Seen(after)
        self._window = window
        self._signed = signed
        self._read_units = 0
        self._ask_to_read()

    def stop_reading(self) -> None:
        """No more results."""
        if self._on_rows is not None:
            self._on_rows = None
            self._asked = 0
            self._link.say(m.StopReading(self.id))

    def grant(self, rows: int) -> None:
        """Take so many rows more."""
        self._window += rows
        if self._asked:
            self._owed += rows  # the hub might count it to the reading before
        else:
            self._link.say(m.Grant(self.id, rows, self._seen.after))

    def _ask_to_read(self) -> None:
        """Ask for rows; the hub may still be sending those of an earlier `Read`, which lack what this one asks for."""
        self._asked, self._owed = self._link.next_id(), 0
        read = m.Read(self._asked, self.id, self._seen.after, self._window, self._signed)
        self._link.reads[self._asked] = self
        self._link.say(read)

    def read_begins(self, id: int) -> None:
        """What comes from now on answers the `Read` of this id."""
        if id == self._asked:
            self._asked = 0
            if self._owed:
                self._link.say(m.Grant(self.id, self._owed, self._seen.after))

    def read_refused(self, id: int, error: CrowdgridError) -> None:
        """The hub does not let it be read, now or at all."""
        if id != self._asked:
            return
        if error.retryable:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._read_again)
        else:
            self.fail(error)

    def take_rows(self, rows: Sequence[m.ResultRow]) -> None:
        """Rows came.

        Raises:
            BadInput: one has units that no task can have. Who reads counts and orders by them.
        """
        for row in rows:
            if not (0 <= row.start < row.stop <= limits.RANGE_BOUND) or row.ordinal < 0:
                raise BadInput(
                    f"The hub told of a task {row.ordinal} with units {row.start} to {row.stop}, which there cannot be.",
                    hint="This is no hub of crowdgrid, or one of another version: `crowdgrid doctor` tells.",
                )
        if self._on_rows is None or self._asked:
            return
        self._window -= len(rows)
        fresh = [row for row in rows if self._seen.new(row.ordinal)]
        if len(fresh) < len(rows):
            self.grant(len(rows) - len(fresh))  # what came twice does not use up the window
        if fresh:
            self._read_units += sum([row.stop - row.start for row in fresh if row.state != TaskState.SPLIT])
            self._on_rows(fresh)

    # --- a new connection ------------------------------------------------------------------------

    def attached(self, answer: m.Message) -> None:
        """The hub answered to it being taken in hand again: send what the last connection left open."""
        if isinstance(answer, m.Opened):
            self.resumed = answer.job.counts  # `info` may be newer already: the link updates it as messages come
            self.tell()
            for feed in self._feeds:
                feed.say_again()
            self._read_again()
        elif isinstance(answer, m.Failed):
            error = from_code(answer.code, answer.message, answer.hint)
            if error.retryable:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._link.attach_again, self)
            else:
                self.fail(error)

    def _read_again(self) -> None:
        if self._on_rows is not None:
            self._window = max(self._window, 0)
            self._ask_to_read()
