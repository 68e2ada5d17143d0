"""A grid as a program sees it: submit jobs, find them again, look at the nodes."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import secrets
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from crowdgrid import limits
from crowdgrid.client import background, quantities
from crowdgrid.client.address import Address
from crowdgrid.client.feeding import Feed
from crowdgrid.client.job import Job
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.link import Link
from crowdgrid.client.rest import PATIENCE_SECONDS, Rest
from crowdgrid.client.splits import Split, one_of
from crowdgrid.errors import BadProgram, TooLarge, Unavailable
from crowdgrid.protocol.messages import JobRequest

T = TypeVar("T")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Connection:
    """The link to one hub and its REST interface, and what is to be ended with them.

    Args:
        alive: raises when there is no use in trying any longer.
        ended: called after it was closed.
    """

    def __init__(
        self,
        address: Address,
        *,
        alive: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.address = address
        self.link = Link(address, alive=alive)
        self.rest = Rest(address, alive=alive)
        self.feeding = Rest(address, alive=alive, patience=math.inf)  # input is not given up for a long restart
        self._ended = ended
        self._known: set[str] = set()  # programs put already
        self._feeds: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """End it. Safe to call twice."""
        background.run(self._close())
        self._ended()

    async def _close(self) -> None:
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

    def job(self, link: JobLink, feed: Future[None] | None = None) -> Job:
        """A job for people; it is let go when nobody refers to it any longer."""
        job = Job(self, link, feed)
        weakref.finalize(job, _let_go, self.link, link).atexit = False
        return job

    async def open(self, program: bytes, request: JobRequest, split: Split) -> tuple[JobLink, Future[None] | None]:
        """Open a job and begin to feed it."""
        source = split.feed()
        digest = request.program or await self.put_program(program, request.runtime)
        job = await self.patiently(self.link.open(replace(request, program=digest)))
        if source is None:
            return job, None
        feed = asyncio.get_running_loop().create_task(Feed(job, source, self.feeding.put_blob).run())
        self._feeds.add(feed)
        feed.add_done_callback(self._feeds.discard)
        told: Future[None] = Future()
        feed.add_done_callback(lambda done: _pass_on(done, told))
        feed.add_done_callback(lambda _: job.tell())
        return job, told


class Grid:
    """One grid. Use it in a `with` block, or close it; jobs go on either way (except on a `local()` grid)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Grid at {self.url}>"

    @property
    def url(self) -> str:
        """The hub's address."""
        return self._connection.address.url

    def close(self) -> None:
        """Let go of it. Jobs go on, those being fed excepted: they are sealed after a while, with what they have."""
        self._connection.close()

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
            target: seconds one task should take, where the grid chooses its size.
            max_errors: failed runs after which the job stops.
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
            labels=tuple(labels),
            region=region,
        )
        job, feed = background.run(self._connection.open(content, request, chosen))
        return self._connection.job(job, feed)

    def job(self, name_or_id: str) -> Job:
        """A job submitted earlier, from here or elsewhere. Raises NotFound."""
        connection = self._connection
        return connection.job(background.run(connection.patiently(connection.link.attach(name_or_id))))

    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        """Your newest jobs (an admin's: everybody's), as the REST interface shows them."""
        return list(background.run(self._connection.rest.get("/v1/jobs", limit=limit))["jobs"])

    def nodes(self, limit: int = 100) -> list[dict[str, Any]]:
        """The nodes you may see, as the REST interface shows them."""
        return list(background.run(self._connection.rest.get("/v1/nodes", limit=limit))["nodes"])

    def node(self, id: str) -> dict[str, Any]:
        """One node by its did:key, with what it holds now. Raises NotFound."""
        path = f"/v1/nodes/{quote(id, safe='')}"
        found: dict[str, Any] = background.run(self._connection.rest.get(path))
        return found


def connect(url: str | None = None, token: str | None = None) -> Grid:
    """A running grid.

    Args:
        url: the hub's address. None: CROWDGRID_URL, then the saved login (`crowdgrid token login`).
        token: None: CROWDGRID_TOKEN, then the saved login for this address.

    Raises:
        Unavailable: there is no way to the hub.
        NotSignedIn: it does not know the token.
    """
    from crowdgrid.client import login

    connection = Connection(login.address(url, token))
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
