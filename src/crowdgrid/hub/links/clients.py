"""The client link, `/v1/client`: a program submits jobs over it and is sent their results as they settle.

Requests are carried out side by side: an Append waits for its commit while the next ones are read, but each
reaches the keeper in the order in which it was sent, so appends to one job never overtake one another. Each is
answered by a message with its `id`, so a client that lost its link may send everything unanswered again: opening
by key, appending by ordinal, sealing and cancelling are idempotent.

A job opened or attached to is *in hand*: its state is pushed when it changes and its counters at most twice a
second, and while it is open the engine knows that somebody is there (`commands.Attended`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec.structs import replace

from crowdgrid import limits
from crowdgrid.core import commands
from crowdgrid.core.effects import Effect, JobChanged, NodeChanged, Settled, TaskChanged
from crowdgrid.core.model import Grid, Job, JobState, Record, Token
from crowdgrid.errors import Busy, CrowdgridError, TooLarge
from crowdgrid.hub import views
from crowdgrid.hub.api.problems import response_of
from crowdgrid.hub.links.outbox import Outbox, Send
from crowdgrid.hub.links.proofs import Proofs
from crowdgrid.hub.links.reading import ENDED, NodeNames, Reading
from crowdgrid.hub.metrics import LinkFigures
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m

if TYPE_CHECKING:
    from crowdgrid.hub.access import Access, Principal
    from crowdgrid.hub.keeper import Keeper
    from crowdgrid.hub.submission import Submissions

log = logging.getLogger("crowdgrid.links")

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

COUNTERS_SECONDS: Final = 0.5
REQUESTS_MAX: Final = 1_000  # unanswered requests of one link; more wait in the socket
WINDOW_MAX: Final = 100_000
ATTEND_RETRY_SECONDS: Final = 1.0
GRID_VALUES_SHOWN: Final = 1_000
JOB_BYTES: Final = 512  # roughly what the rest of a job takes in a message
_UNSEALED: Final = (JobState.VALIDATING, JobState.OPEN)
_ENDED: Final = (JobState.INVALID, JobState.FINAL, JobState.FAILED, JobState.CANCELLED)


class Hand:
    """A job some client has in hand: who is to be told of it, and what they were told last."""

    __slots__ = ("heard", "job", "links", "public", "readings", "timer", "told")

    def __init__(self, job: Job, public: str) -> None:
        self.job = job
        self.public = public
        self.links: set[ClientLink] = set()
        self.readings: dict[ClientLink, Reading] = {}
        self.told = _news(job)
        self.timer: asyncio.TimerHandle | None = None
        self.heard = False  # of a commit since it was taken


class ClientLinks:
    """All clients of this hub; an ASGI application for their WebSockets, and a listener on the keeper."""

    def __init__(self, keeper: Keeper, access: Access, submissions: Submissions) -> None:
        self.keeper = keeper
        self.submissions = submissions
        self.names = NodeNames(keeper.store)
        self.proofs = Proofs(keeper)
        self._access = access
        self._hands: dict[int, Hand] = {}
        self._links: set[ClientLink] = set()
        self._work: set[asyncio.Task[None]] = set()
        self.figures = LinkFigures()
        keeper.listeners.append(self.hear)
        keeper.saved.append(self._look_at_tokens)
        keeper.resets.append(self.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket from its handshake to its end."""
        await receive()  # websocket.connect
        who = partial(self._access.principal, _header(scope, b"authorization"), _address(scope))
        try:
            who()
        except CrowdgridError as error:
            await _refuse(scope, receive, send, error)
            return
        await send({"type": "websocket.accept"})
        link = ClientLink(self, who, receive, send)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            for hand in link.hands.values():
                self._let_go(hand, link)

    def close(self, reason: str) -> None:
        """End every link: the hub stops, or has to look at its store again. Clients come back by themselves."""
        for link in self._links:
            link.end(reason)

    def _look_at_tokens(self, records: Sequence[Record]) -> None:
        """A token that was revoked opens nothing from now on, and closes what it had opened."""
        if any(type(record) is Token and record.revoked_at for record in records):
            for link in self._links:
                link.look_at_token()

    # --- what the keeper committed ---------------------------------------------------------------

    def hear(self, effects: Sequence[Effect]) -> None:
        """Pass on what one commit settled: results first, then the state they led to."""
        settled: dict[int, list[Settled | TaskChanged]] = {}
        changed: dict[int, Job] = {}
        for effect in effects:
            if type(effect) is Settled:
                if effect.job in self._hands:
                    settled.setdefault(effect.job, []).append(effect)
            elif type(effect) is JobChanged:
                if effect.job.number in self._hands:
                    changed[effect.job.number] = effect.job
            elif type(effect) is TaskChanged:
                if effect.task.state in ENDED and effect.task.job in self._hands:
                    settled.setdefault(effect.task.job, []).append(effect)
            elif type(effect) is NodeChanged:
                self.names.learn(effect.node.number, effect.node.key)
        for number, found in settled.items():
            for reading in self._hands[number].readings.values():
                reading.offer(found)
        for number, job in changed.items():
            self._changed(self._hands[number], job)

    def _changed(self, hand: Hand, job: Job) -> None:
        hand.job = job
        hand.heard = True
        if _news(job) != hand.told:
            self._tell(hand)
        elif hand.timer is None:
            hand.timer = asyncio.get_running_loop().call_later(COUNTERS_SECONDS, self._tell, hand)

    def _tell(self, hand: Hand) -> None:
        if hand.timer is not None:
            hand.timer.cancel()
            hand.timer = None
        hand.told = _news(hand.job)
        update = m.JobUpdate(self.info(hand.job))
        for link in hand.links:
            link.outbox.put(update, weight_of(update.job))
        self.let_go_if_ended(hand)

    def info(self, job: Job) -> m.JobInfo:
        """The job as its owner sees it; a large grid's values and long arguments, which fit no frame, are left out."""
        info = views.job_info(job, self.keeper.ids)
        split = job.spec.split
        if isinstance(split, Grid) and not _shown(split):
            info = replace(info, spec=replace(info.spec, split=Grid((), split.piece)))
        if sum(map(len, job.spec.args)) > limits.INLINE_BYTES:
            info = replace(info, spec=replace(info.spec, args=()))
        return info

    # --- which jobs are in hand ------------------------------------------------------------------

    def take(self, job: Job, link: ClientLink) -> Hand:
        """This client has the job in hand from now on."""
        hand = self._hands.get(job.number)
        if hand is None:
            hand = self._hands[job.number] = Hand(job, self.keeper.ids.job(job.number))
            self._start(self._refresh(hand))
            if job.state in _UNSEALED:
                self._start(self._attend(job.number, present=True))
        hand.links.add(link)
        return hand

    def is_read(self, job: int) -> bool:
        """Whether a client reads the results of this job (by number) now."""
        hand = self._hands.get(job)
        return hand is not None and bool(hand.readings)

    def let_go_if_ended(self, hand: Hand) -> None:
        """Nothing more will be told of an ended job nobody reads; who wants it again attaches again."""
        if hand.job.state in _ENDED and not hand.readings:
            for link in list(hand.links):
                link.hands.pop(hand.public, None)
                self._let_go(hand, link)

    async def _refresh(self, hand: Hand) -> None:
        """What was committed between the look at the job and its being taken in hand would go unheard."""
        try:
            job = await self.keeper.store.job(hand.job.number)
        except CrowdgridError:
            return  # the links are closed when the store is lost, and clients attach again
        if job is not None and not hand.heard and hand.links:
            self._changed(hand, job)

    def _let_go(self, hand: Hand, link: ClientLink) -> None:
        hand.links.discard(link)
        hand.readings.pop(link, None)
        if hand.links:
            return
        del self._hands[hand.job.number]
        if hand.timer is not None:
            hand.timer.cancel()
        if hand.job.state in _UNSEALED:
            self._start(self._attend(hand.job.number, present=False))

    async def _attend(self, job: int, *, present: bool) -> None:
        while (job in self._hands) == present:
            try:
                await self.keeper.ask(commands.Attended(job, present))
                return
            except Busy:
                await asyncio.sleep(ATTEND_RETRY_SECONDS)
            except CrowdgridError:
                return  # the job is gone, or the engine is being rebuilt and counts from nothing

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


class ClientLink:
    """One client's connection."""

    def __init__(self, links: ClientLinks, who: Callable[[], Principal], receive: Receive, send: Send) -> None:
        self._links = links
        self._who = who
        self._principal = who()
        self._receive = receive
        self._send = send
        self._requests = 0
        self._room = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.outbox = Outbox(send, links.figures, lighter=self._lighter, full=self._too_slow)
        self.hands: dict[str, Hand] = {}
        self._asked: dict[str, int] = {}  # by job, the last `Read` that is not performed yet

    async def run(self) -> None:
        """Serve until either side ends it."""
        self.start(self.outbox.run())
        self.start(self._listen())
        code, reason = await self._ended
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if code:
            await self._say_goodbye(code, reason)

    def end(self, reason: str, code: int = 1012) -> None:
        """Close it: 1012 the service restarts, 1013 try again later, 1002 what was sent is no protocol of ours."""
        if not self._ended.done():
            self._ended.set_result((code, reason))

    def look_at_token(self) -> None:
        """End the link if its token opens nothing any more."""
        try:
            self._principal = self._who()
        except CrowdgridError as error:
            self.outbox.put(m.Error(error.code, error.message, error.hint, fatal=True))
            self.end(error.message, 1008)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something until the link closes; if it fails, the link ends and the client comes back."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, CrowdgridError):
            self.end(error.message)
        elif error is not None:
            if not isinstance(error, OSError | RuntimeError):
                log.error("A client's link failed.", exc_info=error)
            self.end("", 0)  # the socket is gone

    def _too_slow(self) -> None:
        self._links.figures.cut_off += not self._ended.done()
        self.end("This client reads too slowly; what it asked for waits no longer.", 1013)

    def _lighter(self) -> None:
        for hand in self.hands.values():
            if reading := hand.readings.get(self):
                reading.lighter()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(1):
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:120]})
        except (OSError, RuntimeError, TimeoutError):
            pass  # it is gone already

    # --- what the client sends -------------------------------------------------------------------

    async def _listen(self) -> None:
        while (event := await self._receive())["type"] == "websocket.receive":
            try:
                messages = self._decode(event.get("bytes") or b"")
            except CrowdgridError as error:
                self._links.figures.rejected += 1
                self.outbox.put(m.Error(error.code, error.message, error.hint, fatal=True))
                await self.outbox.flush()
                self.end(error.message, 1002)
                return
            for message in messages:  # one frame may hold a hundred thousand small ones
                while self._requests >= REQUESTS_MAX:
                    self._room.clear()
                    await self._room.wait()
                self._take(message)
        self.end("", 0)

    def _decode(self, frame: bytes) -> list[m.ClientToHub | codec.Unknown]:
        self._links.figures.frames_in += 1
        self._links.figures.bytes_in += len(frame)
        return codec.client_to_hub.decode(frame)

    def _take(self, message: m.ClientToHub | codec.Unknown) -> None:
        match message:
            case m.Grant() | m.StopReading():
                self._read_on(message)
            case m.Read():
                self._asked[message.job] = message.id
                self._requests += 1
                self.start(self._answer(message))
            case m.Bye():
                self.end("", 1000)
            case codec.Unknown():
                self.outbox.put(m.Error("unknown_message", f"This hub knows no message {message.tag!r}."))
            case _:
                self._requests += 1
                self.start(self._answer(message))

    def _read_on(self, message: m.Grant | m.StopReading) -> None:
        if type(message) is m.StopReading:
            self._asked.pop(message.job, None)
        hand = self.hands.get(message.job)
        if hand is None or self not in hand.readings:
            return
        if type(message) is m.Grant:
            hand.readings[self].grant(_window(message.rows))
        else:
            hand.readings.pop(self).stop()
            self._links.let_go_if_ended(hand)

    async def _answer(self, message: m.Open | m.Attach | m.Append | m.Seal | m.CancelJob | m.Read) -> None:
        try:
            answer = await self._perform(message)
        except CrowdgridError as error:
            answer = m.Failed(message.id, error.code, error.message, error.hint)
        finally:
            self._requests -= 1
            self._room.set()
        self.outbox.put(answer, weight_of(answer.job) if type(answer) is m.Opened else 0)

    async def _perform(self, message: m.Open | m.Attach | m.Append | m.Seal | m.CancelJob | m.Read) -> m.Message:
        match message:
            case m.Append():
                return await self._append(message)
            case m.Open():
                return self._opened(message.id, await self._links.submissions.open(self._principal, message.request))
            case m.Attach():
                return self._opened(message.id, await self._links.submissions.find(self._principal, message.job))
            case m.Seal():
                await self._links.submissions.seal(self._principal, message.job)
            case m.CancelJob():
                await self._links.submissions.cancel(self._principal, message.job, message.reason)
            case m.Read():
                await self._read(message)
        return m.Done(message.id)

    async def _append(self, message: m.Append) -> m.Message:
        units = await self._links.submissions.append(
            self._principal, message.job, message.first, message.items, message.blob
        )
        return m.Appended(message.id, message.job, units)

    def _opened(self, id: int, job: Job) -> m.Message:
        if job.state in _ENDED:
            return m.Opened(id, self._links.info(job))  # there is nothing to be told of it
        hand = self._links.take(job, self)
        self.hands[hand.public] = hand
        return m.Opened(id, self._links.info(hand.job))

    async def _read(self, message: m.Read) -> None:
        """Begin, unless the client has meanwhile stopped or asked for something else."""
        hand = self.hands.get(message.job)
        try:
            window = _window(message.window)
            found = None if hand is not None else await self._links.submissions.find(self._principal, message.job)
        finally:
            if wanted := self._asked.get(message.job) == message.id:
                del self._asked[message.job]
        if not wanted:
            return
        if found is not None:
            hand = self.hands.get(message.job) or self._links.take(found, self)
            self.hands[message.job] = hand
        assert hand is not None
        if old := hand.readings.pop(self, None):
            old.stop()
        hand.readings[self] = Reading(
            self,
            self._links.keeper.store,
            self._links.names,
            job=hand.job.number,
            public=hand.public,
            after=message.after,
            window=window,
            proofs=self._links.proofs if message.signed else None,
        )


def _shown(split: Grid) -> bool:
    """Whether a grid's values are few enough to be told."""
    values = [value for _, axis in split.axes for value in axis]
    return len(values) <= GRID_VALUES_SHOWN and sum(map(len, values)) <= limits.INLINE_BYTES


def weight_of(info: m.JobInfo) -> int:
    """Bytes (roughly) of the parts of a job that may be long."""
    split = info.spec.split
    values = sum(len(value) for _, axis in split.axes for value in axis) if isinstance(split, Grid) else 0
    return JOB_BYTES + values + sum(map(len, info.spec.args))


def _window(rows: int) -> int:
    if not 0 <= rows <= WINDOW_MAX:
        raise TooLarge(f"A window is 0 to {WINDOW_MAX:,} rows.")
    return rows


def _news(job: Job) -> tuple[object, ...]:
    """What of a job is told at once."""
    return (job.state, job.paused, job.reason, job.revision)


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _refuse(scope: Scope, receive: Receive, send: Send, error: CrowdgridError) -> None:
    """Answer the handshake with problem+json where the server can, else close with the reason."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await response_of(error)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": error.message[:120]})
