"""A grid as a program sees it: submit jobs, find them again, look at the nodes."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import math
import re
import secrets
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from crowdgrid import limits
from crowdgrid.client import background, current, quantities
from crowdgrid.client.address import Address
from crowdgrid.client.calling import Calling
from crowdgrid.client.feeding import Feed
from crowdgrid.client.job import Job
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.link import Link
from crowdgrid.client.options import consensus_fields
from crowdgrid.client.rest import PATIENCE_SECONDS, Rest
from crowdgrid.client.splits import Split, one_of
from crowdgrid.client.trust import Trust
from crowdgrid.core import model
from crowdgrid.core.trust.comparison import EXACT, Comparison
from crowdgrid.core.trust.comparison import Program as OwnComparator
from crowdgrid.errors import BadProgram, CrowdgridError, TooLarge, Unavailable
from crowdgrid.protocol.messages import JobRequest

if TYPE_CHECKING:
    from crowdgrid.client.futures import GridFuture
    from crowdgrid.client.mapping import Mapped

T = TypeVar("T")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Input(Protocol):
    """A job's input: how it is split, and where its units come from."""

    @property
    def spec(self) -> model.Split:
        """How it is split."""
        ...

    def feed(self) -> Iterator[bytes] | None:
        """The units to append, None when there is nothing to append."""
        ...


class Connection:
    """The link to one hub and its REST interface, and what is to be ended with them.

    Args:
        alive: raises when there is no use in trying any longer.
        ended: called after it was closed.
        lent: cores its nodes are known to lend, before any has come.
        own: the hub is this user's own. trusted: did:keys of nodes whose pickles may be read, see `trust`.
    """

    def __init__(
        self,
        address: Address,
        *,
        alive: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
        lent: int = 1,
        own: bool = False,
        trusted: Iterable[str] = (),
    ) -> None:
        self.address = address
        self.lent = lent
        self.link = Link(address, alive=alive)
        self.rest = Rest(address, alive=alive)
        self.feeding = Rest(address, alive=alive, patience=math.inf)  # input is not given up for a long restart
        self.trust = Trust(self.rest, own=own, keys=frozenset(trusted))
        self.calling = Calling(self)
        self.executors: set[Calling] = set()  # to be ended with it
        self._ended = ended
        self._known: set[str] = set()  # programs put already
        self._kept: set[Future[None]] = set()  # what the end of the program waits for, see `see_through`
        self._feeds: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """End it. Safe to call twice."""
        background.run(self._close())
        self._ended()

    async def _close(self) -> None:
        closed = Unavailable("This connection to the hub was closed.", hint="Open a new one with connect().")
        for calling in [self.calling, *self.executors]:
            await calling.close(closed)
        for feed in self._feeds:
            feed.cancel()
        await self.link.close()
        await self.rest.close()
        await self.feeding.close()

    async def put_program(self, content: bytes, runtime: str) -> str:
        """Keep a program; once is enough."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._known:
            await self.rest.put_program(content, runtime)
            self._known.add(digest)
        return digest

    async def patiently(self, work: Awaitable[T]) -> T:
        """Wait for something the hub has to do, through a restart of it. Raises Unavailable when it stays away."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await work
        except TimeoutError:
            problem = self.link.problem or "The hub is there but did not answer."
            raise Unavailable(f"Nothing was done within {PATIENCE_SECONDS:.0f} s. {problem}") from None

    def see_through(self, work: Future[None]) -> None:
        """Have the end of the program wait for this."""
        self._kept.add(work)
        work.add_done_callback(self._kept.discard)

    def wait_for_feeds(self) -> None:
        """Wait until jobs that go on without us have all their input, and those given up are: when the program ends."""
        for feed in list(self._kept):
            with suppress(CrowdgridError, CancelledError):
                feed.result()

    def job(self, link: JobLink, feed: Future[None] | None = None, *, kept: bool = False) -> Job:
        """A job for people; it is let go when nobody refers to it any longer.

        `kept`: the end of the program waits until it is fed.
        """
        job = Job(self, link, feed)
        if kept and feed is not None:
            self.see_through(feed)
        weakref.finalize(job, _let_go, self.link, link).atexit = False
        return job

    async def open(
        self, program: bytes, request: JobRequest, split: Input, *, taken: Callable[[], int] | None = None
    ) -> tuple[JobLink, Future[None] | None]:
        """Open a job and begin to feed it; `taken` as of `Feed`."""
        source = split.feed()
        digest = request.program or await self.put_program(program, request.runtime)
        job = await self.patiently(self.link.open(replace(request, program=digest, split=split.spec)))
        if source is None:
            return job, None
        feed = asyncio.get_running_loop().create_task(Feed(job, source, self.feeding.put_blob, taken=taken).run())
        self._feeds.add(feed)
        feed.add_done_callback(self._feeds.discard)
        told: Future[None] = Future()
        feed.add_done_callback(lambda done: _pass_on(done, told))
        feed.add_done_callback(lambda _: job.tell())
        return job, told


class Grid:
    """One grid. Use it in a `with` block, or close it; jobs go on either way (except on a `local()` grid)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        current.opened(self)
        atexit.register(connection.wait_for_feeds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Grid at {self.url}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from crowdgrid.client import notebook

        return notebook.grid(self.connection)

    @property
    def url(self) -> str:
        """The hub's address."""
        return self.connection.address.url

    @property
    def cores(self) -> int:
        """Cores that its connected nodes lend for Python functions; at least 1."""
        lent = [node["milli_cpus"] for node in self.nodes(1000) if node["online"] and "python" in node["runtimes"]]
        return sum(lent) // 1000 or self.connection.lent

    def close(self) -> None:
        """Let go of it. Jobs go on, those being fed excepted: they are sealed after a while, with what they have."""
        current.closed(self)
        atexit.unregister(self.connection.wait_for_feeds)
        self.connection.close()

    def function(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """As `crowdgrid.function`, for calls on this grid."""
        from crowdgrid.client.functions import function

        make = function(grid=self, **options)
        return make if fn is None else make(fn)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> GridFuture[T]:
        """Call any function on this grid; see `Function.submit`."""
        return self.function(fn).submit(*args, **kwargs)  # type: ignore[no-any-return]

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any], **how: Any) -> Mapped[T]:
        """Call any function for each element; see `Function.map`."""
        return self.function(fn).map(*iterables, **how)  # type: ignore[no-any-return]

    def run(
        self,
        program: str | PathLike[str] | bytes,
        *,
        args: Sequence[object] = (),
        split: Split | None = None,
        items: Iterable[bytes | str] | None = None,
        lines: str | PathLike[str] | Iterable[bytes | str] | None = None,
        reduce: str = "collect",
        name: str = "",
        timeout: float | str = limits.TIMEOUT_MS_DEFAULT / 1000,
        memory: int | str = limits.MEMORY_BYTES_DEFAULT,
        output: int | str = limits.OUTPUT_BYTES_DEFAULT,
        cpus: float = 1.0,
        priority: int = 0,
        labels: Sequence[str] = (),
        region: str = "",
        min_trust: float = 0.0,
        consensus: str = "single",
        overlap: int | None = None,
        threshold: float | None = None,
        error_bound: float | None = None,
        collision: float = 1e-6,
        compare: Comparison | str | PathLike[str] = EXACT,
        target: float | str = 1.0,
        max_errors: int = limits.ERRORS_MAX_DEFAULT,
        runtime: str = "wasm",
        key: str = "",
    ) -> Job:
        """Run a program over an input; returns at once.

        Args:
            program: a .wasm file (WASI command), its bytes, or the SHA-256 of one put before.
            args: its arguments, before those that come from the input.
            split, items, lines: the input, one of them: `Range`, `Items`, `Lines` or `ParameterGrid`.
            reduce: collect, concatenate, count, first, maximum, merge-counters, minimum or sum.
            name: to find the job again; unique among yours.
            timeout, memory, output: limits of one run: seconds, and bytes or like "512MB".
            cpus: cores one run takes. priority: −100 to 100; higher goes first.
            labels, region, min_trust: which nodes may run it.
            consensus: "single" takes the first result; "majority" what more than half of `overlap` (3) nodes say;
                "trust_weighted" what has `threshold` (0.6) of the trust of `overlap` nodes; "bounded_error" asks as many as it
                takes until the chance of a wrong answer is `error_bound` (0.001), where two wrong ones are equal with chance `collision`.
            compare: which results are the same: `Exact()`, `Numeric(rtol, atol)`, `Interval(z)`, `UnorderedLines()`, a .wasm file.
            target: seconds one task should take, where the grid chooses its size. max_errors: failed runs that stop the job.
            key: makes asking twice harmless: the same key gives the same job.

        Raises:
            BadInput, TooLarge: something cannot be used.
            BadProgram: this is no program the grid can run.
            Conflict: the name is taken.
        """
        chosen = one_of(split, items, lines)
        digest, content = _program(program)
        request = JobRequest(
            program=digest,
            split=chosen.spec,
            runtime=runtime,
            args=tuple(str(arg) for arg in args),
            reduce=reduce.replace("-", "_"),
            name=name,
            key=key or secrets.token_hex(16),
            timeout_ms=round(quantities.seconds(timeout) * 1000),
            memory_bytes=quantities.size(memory),
            output_bytes=quantities.size(output),
            milli_cpus=round(cpus * 1000),
            priority=priority,
            target_ms=round(quantities.seconds(target) * 1000),
            max_errors=max_errors,
            min_trust=min_trust,
            **consensus_fields(consensus, overlap=overlap, threshold=threshold, error_bound=error_bound),
            collision=collision,
            comparison=self._comparison(compare),
            labels=tuple(labels),
            region=region,
        )
        return self.connection.job(*background.run(self.connection.open(content, request, chosen)))

    def _comparison(self, compare: Comparison | str | PathLike[str]) -> Comparison:
        if not isinstance(compare, str | PathLike):
            return compare
        digest, content = _program(compare)
        return OwnComparator(digest or background.run(self.connection.put_program(content, "wasm")))

    def job(self, name_or_id: str) -> Job:
        """A job submitted earlier, from here or elsewhere. Raises NotFound."""
        connection = self.connection
        return connection.job(background.run(connection.patiently(connection.link.attach(name_or_id))))

    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        """Your newest jobs (an admin's: everybody's), as the REST interface shows them."""
        return list(background.run(self.connection.rest.get("/v1/jobs", limit=limit))["jobs"])

    def nodes(self, limit: int = 100) -> list[dict[str, Any]]:
        """The nodes you may see, as the REST interface shows them."""
        return list(background.run(self.connection.rest.get("/v1/nodes", limit=limit))["nodes"])

    def node(self, id: str) -> dict[str, Any]:
        """One node by its did:key, with what it holds now. Raises NotFound."""
        path = f"/v1/nodes/{quote(id, safe='')}"
        found: dict[str, Any] = background.run(self.connection.rest.get(path))
        return found


def connect(url: str | None = None, token: str | None = None, *, trust: Iterable[str] = ()) -> Grid:
    """A running grid.

    Args:
        url: the hub's address. None: CROWDGRID_URL, then the saved login (`crowdgrid login`).
        token: None: CROWDGRID_TOKEN, then the saved login for this address.
        trust: did:keys of nodes whose pickles may be read here. On the hub of this machine, as `crowdgrid up` runs it,
            your own nodes are trusted without it.

    Raises:
        Unavailable: there is no way to the hub.
        NotSignedIn: it does not know the token.
    """
    from crowdgrid.client import login

    address = login.address(url, token)
    connection = Connection(address, own=login.is_own(address), trusted=trust)
    try:
        background.run(connection.link.start())
    except BaseException:
        connection.close()
        raise
    return Grid(connection)


def _program(program: str | PathLike[str] | bytes) -> tuple[str, bytes]:
    """(digest, content): one of them is empty."""
    if isinstance(program, bytes):
        content = program
    elif isinstance(program, str) and _DIGEST.fullmatch(program):
        return program, b""
    else:
        content = _read(Path(program))
    if len(content) > limits.PROGRAM_BYTES:
        raise TooLarge(f"A program of {len(content):,} bytes is over the limit of {limits.PROGRAM_BYTES:,}.")
    return "", content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadProgram(
            f"The program {str(path)!r} cannot be read: {(error.strerror or str(error)).lower()}.",
            hint="Give the path of a .wasm file; crowdgrid.kernels.path('primes') is one to try.",
        ) from None


def _let_go(link: Link, job: JobLink) -> None:
    """Called by the garbage collector, on any thread."""
    with suppress(RuntimeError):  # the loop is closed: the process ends
        background.loop().call_soon_threadsafe(link.let_go, job)


def _pass_on(done: asyncio.Task[None], told: Future[None]) -> None:
    if done.cancelled():
        told.cancel()
    elif (error := done.exception()) is not None:
        told.set_exception(error)
    else:
        told.set_result(None)
