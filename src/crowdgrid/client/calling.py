"""Functions on one connection: which program and codec a call needs, and the jobs that calls are appended to.

One open job for each program and options; the oldest idle ones are sealed when there are many. The program of a
function is captured once and used again as long as what it refers to is the same.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import sysconfig
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import chain
from operator import length_hint
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from crowdgrid.client import background
from crowdgrid.client.bound import Bound
from crowdgrid.client.calls import Calls
from crowdgrid.client.codec import Codec, Pickled, Plain
from crowdgrid.client.futures import GridFuture, fail_with, futures_in, settle, when_done, with_results
from crowdgrid.client.job import Job
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.mapping import Mapped, items_of
from crowdgrid.client.options import EPHEMERAL_MS, Options
from crowdgrid.client.outcomes import Outcomes
from crowdgrid.client.stuck import tell_if_stuck
from crowdgrid.errors import BadInput, CannotTravel, CrowdgridError, Unavailable

if TYPE_CHECKING:
    from crowdgrid.client.capture import Captured
    from crowdgrid.client.grid import Connection
    from crowdgrid.client.progress import Wanted

OPEN_JOBS: Final = 64
PROGRAMS_KEPT: Final = 256
_UNREAD: Final = object()

Fn: TypeAlias = Callable[..., Any]


class Program:
    """A function ready to be sent: its bytes, their digest, and how its calls are written."""

    __slots__ = ("body", "codec", "content", "digest", "seen")

    def __init__(self, seen: Captured, codec: Codec) -> None:
        self.seen = seen
        self.body = seen.body
        self.content = seen.program
        self.digest = hashlib.sha256(seen.program).hexdigest()
        self.codec = codec


class Calling:
    """See the module. One for a connection.

    Args:
        initializer: called once in every worker before its first call, with `initargs`.
        at_once: single calls the grid has at once, of all functions together; 0: as many as it takes.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        initializer: Fn | None = None,
        initargs: tuple[Any, ...] = (),
        at_once: int = 0,
    ) -> None:
        self._connection = connection
        self._bound = Bound(at_once) if at_once else None
        self._initializer = initializer
        self._initargs = initargs
        self._environment = secrets.token_hex(8)
        self._apply: Program | None = None
        self._lock = threading.Lock()
        self._programs: OrderedDict[tuple[int, str], tuple[Fn, Program]] = OrderedDict()
        self._calls: OrderedDict[tuple[str, Options], Calls] = OrderedDict()

    # --- one call --------------------------------------------------------------------------------

    def submit(self, fn: Fn, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options) -> GridFuture[Any]:
        """See `Function.submit`."""
        future: GridFuture[Any] = GridFuture()
        given = futures_in(args, kwargs)
        if not given:
            self._send(future, fn, args, kwargs, options)
            return future

        def then() -> None:
            try:
                if future.done() or fail_with(future, given):
                    return
                self._send(future, fn, *with_results(args, kwargs), options)
            except Exception as error:  # noqa: BLE001 — there is nobody else to raise it to
                settle(future, error=error)

        future.add_done_callback(_tell_if_cancelled)  # what it waits for may never be done
        when_done(given, then)
        return future

    def _send(
        self,
        future: GridFuture[Any],
        fn: Fn,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
    ) -> None:
        if options.codec == "pickle":
            program, item = self._applied(fn, args, kwargs)
        else:
            program, item = self._written(fn, args, kwargs, options)
        while not self._calls_of(program, options).submit(future, item):
            self._connection.link.check()  # a job that has ended is followed by another while there is a link

    def _written(
        self, fn: Fn, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> tuple[Program, bytes]:
        """The program to send a call to, and the call. Raises CannotTravel."""
        program = self.program(fn, options.codec)
        try:
            return program, program.codec.call(args, kwargs)
        except CannotTravel:
            if options.codec != "auto" or program.codec.name == "pickle" or not self._may_pickle:
                raise
        program = self.program(fn, "pickle")
        return program, program.codec.call(args, kwargs)

    def _applied(self, fn: Fn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, bytes]:
        """A call of `fn` as a call of the one program that calls what is sent with it."""
        from crowdgrid.protocol import pickles  # loaded by who uses pickles
        from crowdgrid.runtimes.apply import apply

        program = self._apply = self._apply or self._captured(apply, "pickle")
        if isinstance(fn, FunctionType):
            written = self._captured(fn, "pickle").body
        else:  # an object made for one call, which may be large: not to be kept
            written = pickles.dumps(fn)
        return program, program.codec.call((written, *args), kwargs)

    def _calls_of(self, program: Program, options: Options) -> Calls:
        key = (program.digest, options)
        with self._lock:
            calls = self._calls.get(key)
            if calls is None or calls.ended is not None:
                self._make_room()
                calls = self._calls[key] = self._open_calls(program, options)
            self._calls.move_to_end(key)
            return calls

    def _open_calls(self, program: Program, options: Options) -> Calls:
        connection = self._connection

        async def open_job() -> JobLink:
            digest = await connection.put_program(program.content, program.codec.runtime)
            request = options.change({} if self._bound is None else {"piece": 1}).request(
                digest,
                program.codec.runtime,
                program.codec.labels,
                one_by_one=True,
                key=secrets.token_hex(16),
                keep_ms=EPHEMERAL_MS,
                allow_abandoned=True,
            )
            return await connection.patiently(connection.link.open(request))

        return Calls(
            open_job,
            self.outcomes(program),
            blob=connection.rest.blob,
            put_blob=connection.feeding.put_blob,
            watch=partial(tell_if_stuck, connection.rest),
            bound=self._bound,
        )

    def _make_room(self) -> None:
        """Seal the job used longest ago that nobody waits for, when there are many."""
        if len(self._calls) < OPEN_JOBS:
            return
        for key, calls in self._calls.items():
            if calls.idle:
                del self._calls[key]
                background.start(calls.close(Unavailable("This job was sealed.")))
                return

    # --- many calls ------------------------------------------------------------------------------

    def map(
        self,
        fn: Fn,
        calls: Iterable[tuple[Any, ...]],
        options: Options,
        *,
        ordered: bool = True,
        return_exceptions: bool = False,
        progress: Wanted = None,
    ) -> Mapped[Any]:
        """See `Function.map`. `calls`: the arguments of each."""
        total = length_hint(calls, -1)
        program, calls = self._for_all(fn, calls, options)
        return Mapped(
            self._connection,
            program,
            self.outcomes(program),
            calls,
            options,
            ordered=ordered,
            return_exceptions=return_exceptions,
            progress=progress,
            total=total if total >= 0 else None,
        )

    def spawn_map(
        self, fn: Fn, calls: Iterable[tuple[Any, ...]], options: Options, *, name: str = "", key: str = ""
    ) -> Job:
        """See `Function.spawn_map`."""
        program, calls = self._for_all(fn, calls, options)
        request = options.map_request(program.codec, name=name, key=key, kept=True)
        source = items_of(calls, program.codec, options.piece)
        link, feed = background.run(self._connection.open(program.content, request, source))
        return self._connection.job(link, feed, kept=True)

    def _for_all(
        self, fn: Fn, calls: Iterable[tuple[Any, ...]], options: Options
    ) -> tuple[Program, Iterable[tuple[Any, ...]]]:
        """The program for all these calls: with codec "auto" the first one tells whether plain data will do."""
        if options.codec != "auto" or not self._may_pickle:
            return self.program(fn, options.codec), calls
        iterator: Iterator[tuple[Any, ...]] = iter(calls)
        first: Any = next(iterator, _UNREAD)
        if first is _UNREAD:
            return self.program(fn, "auto"), ()
        program, _ = self._written(fn, first, {}, options)
        return program, chain((first,), iterator)

    # --- programs --------------------------------------------------------------------------------

    @property
    def _may_pickle(self) -> bool:
        return self._connection.trust.possible

    def outcomes(self, program: Program) -> Outcomes:
        """Reads what calls of this program came to."""
        trust = self._connection.trust if program.codec.name == "pickle" else None
        if trust is not None:
            trust.sends(program.digest)
        return Outcomes(program.codec, program.digest, trust)

    def program(self, fn: Fn, codec: str) -> Program:
        """The program a function is sent as.

        Raises:
            CannotTravel: it cannot be sent this way.
            BadInput: pickles are not for this grid.
        """
        fn = getattr(fn, "__wrapped__", fn) if getattr(fn, "_crowdgrid_function", False) else fn
        if codec != "auto":
            return self._captured(fn, codec)
        try:
            return self._captured(fn, "msgpack")
        except CannotTravel:
            if not self._may_pickle:
                raise
            return self._captured(fn, "pickle")

    def _captured(self, fn: Fn, codec: str) -> Program:
        with self._lock:
            known = self._programs.get((id(fn), codec))
            if known is not None and known[0] is fn and known[1].seen.current():
                self._programs.move_to_end((id(fn), codec))
                return known[1]
        if codec == "pickle" and not self._may_pickle:
            raise BadInput(
                "Pickles travel only between machines that trust one another, and this grid is not one of your own.",
                hint='Use codec="msgpack", or name the nodes you trust: connect(trust=["did:key:…"]).',
            )
        program = self._capture(fn, codec)
        with self._lock:
            self._programs[id(fn), codec] = (fn, program)
            if len(self._programs) > PROGRAMS_KEPT:
                self._programs.popitem(last=False)
        return program

    def _capture(self, fn: Fn, codec: str) -> Program:
        from crowdgrid.client.capture import capture  # loads the parser: only when a function is sent

        shared = codec == "pickle" or self._initializer is not None
        seen = capture(
            fn,
            codec=codec,
            environment=self._environment if shared else "",
            paths=_own_paths() if codec == "pickle" and self._connection.trust.own else (),
            initializer=self._initializer,
            initargs=self._initargs,
        )
        return Program(seen, Pickled() if codec == "pickle" else Plain(seen.exceptions))

    # --- the end ---------------------------------------------------------------------------------

    async def abort(self, error: CrowdgridError) -> None:
        """As `close`, and what the grid has of it is withdrawn; on the loop."""
        await self._end(error, cancel=True)

    async def close(self, error: CrowdgridError) -> None:
        """Take no more calls; on the loop."""
        await self._end(error, cancel=False)

    async def _end(self, error: CrowdgridError, *, cancel: bool) -> None:
        with self._lock:
            calls, self._calls = list(self._calls.values()), OrderedDict()
        for each in calls:
            await each.close(error, cancel=cancel)


def _tell_if_cancelled(future: Future[Any]) -> None:
    if future.cancelled():
        settle(future)


def _own_paths() -> tuple[str, ...]:
    """The folders this program imports its own modules from."""
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    found: list[str] = []
    for entry in sys.path:
        path = Path(entry or ".").resolve()
        if path.is_dir() and not any(path == place or place in path.parents for place in installed):
            found.append(str(path))
    return tuple(dict.fromkeys(found))
