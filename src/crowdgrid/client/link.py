"""One link to a hub that mends itself, and the jobs in hand on it.

The hub remembers nothing about a link, so mending it is saying again what is still true: which jobs are in hand,
every request without an answer (all are idempotent), and for results being read, the last ordinal up to which none
is missing. A hub that restarts under a waiting client costs time and nothing else.

Everything here runs on one event loop. `Link` and `JobLink` are low-level on purpose: programs use `client.grid`.

Invariants: appends of one job reach the hub in order and are sent again in order; a row is handed on once for each
answer of its task.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from crowdgrid import limits
from crowdgrid.client.address import Address, refusal
from crowdgrid.client.joblink import JobLink
from crowdgrid.errors import BadInput, CrowdgridError, TooLarge, Unavailable, from_code
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

M = TypeVar("M", bound=m.Message)
Alive: TypeAlias = Callable[[], None]

DELAY_SECONDS: Final = 0.1
DELAY_SECONDS_MAX: Final = 5.0
OPEN_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.5


class Request:
    """A message without an answer yet. `again`: to be sent again on the next connection."""

    __slots__ = ("again", "answer", "message")

    def __init__(self, message: m.Message, answer: asyncio.Future[Any], *, again: bool) -> None:
        self.message = message
        self.answer = answer
        self.again = again


class Link:
    """See the module.

    Args:
        alive: raises when there is no use in trying any longer (a hub this process started has died).
    """

    def __init__(self, address: Address, *, alive: Alive = lambda: None) -> None:
        self.address = address
        self.jobs: dict[str, JobLink] = {}
        self.reads: dict[int, JobLink] = {}  # asked for on this connection, not answered yet
        self.connections = 0  # made so far
        self._alive = alive
        self._ids = count(1)
        self._requests: dict[int, Request] = {}
        self._outbox: list[m.Message] = []
        self._filled = asyncio.Event()
        self._failure: CrowdgridError | None = None
        self._up = asyncio.Event()
        self._connected = False
        self._last_problem: CrowdgridError | None = None
        self._task: asyncio.Task[None] | None = None

    # --- its life --------------------------------------------------------------------------------

    async def start(self, *, patience: float = 0.0) -> None:
        """Connect.

        Args:
            patience: seconds to go on trying; 0 is one attempt.

        Raises:
            Unavailable: there is no way to the hub.
            NotSignedIn: the hub does not know the token.
        """
        self._task = asyncio.get_running_loop().create_task(self._run(patience))
        up = asyncio.ensure_future(self._up.wait())
        try:
            await asyncio.wait([self._task, up], return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if self._failure is not None:
            raise self._failure

    @property
    def problem(self) -> str:
        """Why there is no link now, "" when there is one."""
        if self._connected:
            return ""
        return (
            self._last_problem.message if self._last_problem is not None else f"There is no link to {self.address.url}."
        )

    async def close(self) -> None:
        """Say goodbye; what waits for an answer is told that the link is closed."""
        self._fail(Unavailable("This connection to the hub was closed.", hint="Open a new one with connect()."))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _fail(self, error: CrowdgridError) -> None:
        self._failure = self._failure or error
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_exception(self._failure)
                request.answer.exception()  # whoever waits sees it; nobody else has to
        self._requests.clear()
        for job in list(self.jobs.values()):
            job.fail(self._failure)

    async def _run(self, patience: float) -> None:
        loop = asyncio.get_running_loop()
        give_up_at, failures = loop.time() + patience, 0
        while self._failure is None:
            made = self.connections
            try:
                self._alive()
                await self._connect()
            except CrowdgridError as error:
                if not error.retryable:
                    self._fail(error)
                    return
                self._last_problem = error
            except Exception as error:
                # Whatever it is, nobody may be left waiting for a link that is no longer looked for.
                self._fail(CrowdgridError(f"The link to the hub failed: {type(error).__name__}: {error}"))
                raise
            failures = 0 if self.connections > made else failures + 1
            if not self.connections and loop.time() >= give_up_at:
                self._fail(self._last_problem or Unavailable(f"There is no way to {self.address.url}."))
                return
            ceiling = min(DELAY_SECONDS_MAX, DELAY_SECONDS * 2.0 ** min(failures, 10))
            await asyncio.sleep(random.uniform(0.01, ceiling))

    async def _connect(self) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

        a = self.address
        attempt = connect(
            a.link, additional_headers=a.headers, compression=None, open_timeout=OPEN_SECONDS, close_timeout=1,
            proxy=None if a.loopback else True, max_size=limits.FRAME_BYTES, ssl=a.tls,
        )  # fmt: skip
        try:
            socket = await attempt.__aenter__()
        except InvalidHandshake as error:
            raise refusal(a, error) from None
        except InvalidURI:
            raise BadInput(f"{a.url!r} is not the address of a hub.") from None
        except ConnectionClosed:
            raise a.hung_up() from None
        except (OSError, TimeoutError, EOFError) as error:
            raise a.unreachable(error) from None
        try:
            await self._serve(socket)
        except (ConnectionClosed, OSError):
            pass  # the next turn of `_run` mends it
        finally:
            await socket.close()

    async def _serve(self, socket: ClientConnection) -> None:
        self.connections += 1
        self._connected = True
        self._outbox.clear()
        self.reads.clear()
        self._say_again()
        self._up.set()
        sender = asyncio.get_running_loop().create_task(self._send_all(socket))
        try:
            async for frame in socket:
                for message in codec.hub_to_client.decode(frame if isinstance(frame, bytes) else b""):
                    self._take(message)
        finally:
            self._connected = False
            sender.cancel()
            with suppress(asyncio.CancelledError, OSError, Exception):
                await sender

    async def _send_all(self, socket: ClientConnection) -> None:
        while True:
            await self._filled.wait()
            await asyncio.sleep(0)  # one turn more: what is said together leaves in one frame
            messages, self._outbox = self._outbox, []
            self._filled.clear()
            for frame in self._frames(messages):
                await socket.send(frame)

    def _frames(self, messages: Sequence[m.Message]) -> list[bytes]:
        """As frames; who asked with a message that fits none is told so."""
        try:
            return codec.frames(messages)
        except TooLarge as error:
            if len(messages) > 1:
                return [frame for message in messages for frame in self._frames([message])]
            self._refused(m.Failed(getattr(messages[0], "id", 0), error.code, error.message, error.hint))
            return []

    def _say_again(self) -> None:
        self._requests = {id: request for id, request in self._requests.items() if request.again}
        for request in self._requests.values():
            self.say(request.message)
        for job in self.jobs.values():
            self.attach_again(job)

    # --- asking ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises why this link will never do anything again, if that is so."""
        if self._failure is not None:
            raise self._failure

    def say(self, message: m.Message) -> None:
        """Send a message that has no answer, or is followed up by whoever says it."""
        self._outbox.append(message)
        self._filled.set()

    def next_id(self) -> int:
        """A number no other request of this link has."""
        return next(self._ids)

    async def ask(self, message: m.Message, kind: type[M]) -> M:
        """Send a request and wait for its answer, over as many connections and refusals for now as it takes.

        Raises:
            CrowdgridError: what the hub refused it with.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            answer: asyncio.Future[M] = asyncio.get_running_loop().create_future()
            id: int = message.id  # type: ignore[attr-defined]
            self._requests[id] = Request(message, answer, again=True)
            self.say(message)
            try:
                return await answer
            except CrowdgridError as error:
                if not error.retryable or self._failure is not None:
                    raise
            finally:
                self._requests.pop(id, None)
            await asyncio.sleep(random.uniform(0, RETRY_SECONDS))

    def attach_again(self, job: JobLink) -> None:
        """Take a job in hand on this connection; it goes on with what is open once the hub has answered."""
        if self.jobs.get(job.id) is job:
            self.say(m.Attach(self._expect(job.attached), job.id))

    def _expect(self, then: Callable[[m.Message], None]) -> int:
        """A request of this connection only; `then` gets its answer."""
        answer: asyncio.Future[m.Message] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: None if done.cancelled() or done.exception() else then(done.result()))
        id = self.next_id()
        self._requests[id] = Request(m.Bye(), answer, again=False)
        return id

    async def open(self, request: m.JobRequest) -> JobLink:
        """Open a job (its `key` makes asking twice harmless) and take it in hand."""
        return self._in_hand(await self.ask(m.Open(self.next_id(), request), m.Opened))

    async def attach(self, job: str) -> JobLink:
        """Take an existing job in hand, by its public id or its name."""
        return self._in_hand(await self.ask(m.Attach(self.next_id(), job), m.Opened))

    def _in_hand(self, opened: m.Opened) -> JobLink:
        job = self.jobs.get(opened.job.id) or self._new(opened)
        job.holders += 1
        return job

    def _new(self, opened: m.Opened) -> JobLink:
        job = self.jobs[opened.job.id] = JobLink(self, opened.job)
        return job

    def _opened(self, message: m.Opened) -> None:
        """Know the job at once, not when whoever asked gets to run: the frame may hold its last news, too, and what
        is older must not be heard after it."""
        if job := self.jobs.get(message.job.id):
            job.update(message.job)
        elif (request := self._requests.get(message.id)) and not request.answer.done():
            self._new(message)

    def let_go(self, job: JobLink) -> None:
        """Somebody who had the job in hand has not any longer."""
        job.holders -= 1
        if not job.holders:
            job.release()

    # --- what the hub says -----------------------------------------------------------------------

    def _take(self, message: m.HubToClient | codec.Unknown) -> None:
        match message:
            case m.Results():
                if job := self.jobs.get(message.job):
                    job.take_rows(message.rows)
            case m.Appended():
                if job := self.jobs.get(message.job):
                    job.appended(message.id, message.units)
            case m.JobUpdate():
                if job := self.jobs.get(message.job.id):
                    job.update(message.job)
            case m.Opened():
                self._opened(message)
                self._answered(message.id, message)
            case m.Done():
                if job := self.reads.pop(message.id, None):
                    job.read_begins(message.id)
                self._answered(message.id, message)
            case m.Failed():
                self._refused(message)
            case m.Error() if message.fatal:
                raise from_code(message.code, message.message, message.hint)
            case _:
                pass  # a goodbye, or a word of a later version

    def _answered(self, id: int, message: m.Message) -> None:
        if (request := self._requests.pop(id, None)) and not request.answer.done():
            request.answer.set_result(message)

    def _refused(self, message: m.Failed) -> None:
        error = from_code(message.code, message.message, message.hint)
        if request := self._requests.pop(message.id, None):
            if request.answer.done():
                return
            if request.again:
                request.answer.set_exception(error)
            else:
                request.answer.set_result(message)
            return
        if job := self.reads.pop(message.id, None):
            job.read_refused(message.id, error)
        for job in _holders(self.jobs.values(), message.id):
            job.refused(message.id, error)


def _holders(jobs: Iterable[JobLink], id: int) -> Sequence[JobLink]:
    return [job for job in jobs if job.waits_for(id)]
