"""Submitting: everything a person may do to a job, checked before the engine hears of it.

One place for REST and the client link, so both refuse the same things in the same words. A request is checked
against `crowdgrid.limits` and what this grid can run; what only the engine knows (two jobs of one name at once, a
gap in what is appended) it refuses itself, before anything has changed.

Appends to one job reach the keeper in the order in which they were asked for, however long putting their bytes
takes, and a seal after them: see `appending`.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import msgspec

from crowdgrid import ids as naming
from crowdgrid import limits
from crowdgrid.core import commands, reducing, splitting
from crowdgrid.core.model import PICKLED, UNSANDBOXED, Chunk, Items, Job, JobSpec, JobState
from crowdgrid.core.trust import comparison
from crowdgrid.core.trust.consensus import CONSENSUS
from crowdgrid.errors import BadInput, BadProgram, Conflict, NotFound, TooLarge
from crowdgrid.hub.access import Place, Principal, Verb, authorize
from crowdgrid.hub.appending import Appending, Line
from crowdgrid.protocol.messages import JobRequest

if TYPE_CHECKING:
    from crowdgrid.hub.inputs import Inputs
    from crowdgrid.hub.keeper import Keeper
    from crowdgrid.hub.programs import Programs

RUNTIMES: Final = ("wasm", "echo", "python", "python-pickle")
KNOWN_JOBS: Final = 10_000
LABELS: Final = 64
RETRY_SECONDS: Final = 30.0
_LOOKS_LIKE_ID: Final = re.compile(r"[jta][a-z2-7]{26}")
_SPEC_FIELDS: Final = tuple(name for name in JobSpec.__struct_fields__ if name in JobRequest.__struct_fields__)


class Submissions:
    """See the module."""

    def __init__(self, keeper: Keeper, inputs: Inputs, programs: Programs) -> None:
        self._keeper = keeper
        self._inputs = inputs
        self._programs = programs
        self._appending = Appending(keeper, inputs)
        self._known: OrderedDict[int, Line] = OrderedDict()
        self._opening: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()

    # --- opening ------------------------------------------------------------------------------

    async def open(self, principal: Principal, request: JobRequest) -> Job:
        """The job asked for: a new one, or the one that was opened with the same key before.

        Raises:
            BadInput: something in the request cannot be used.
            BadProgram: the program is not here, or not one this grid can run.
            Conflict: the name is taken, or the key was used for another job.
            NotAllowed: the principal may not submit.
        """
        job, _ = await self.open_once(principal, request)
        return job

    async def open_once(self, principal: Principal, request: JobRequest) -> tuple[Job, bool]:
        """As `open`, and whether the job is new."""
        authorize(principal, Verb.CREATE, Place.JOBS)
        spec = check_request(request)
        async with AsyncExitStack() as turns:  # two of one key or name would clash in the store, and stop everybody
            for kind, word in (("key", request.key), ("name", request.name)):
                if word:
                    turn = self._opening.setdefault((kind, principal.owner, word), asyncio.Lock())
                    await turns.enter_async_context(turn)
            return await self._open_in_turn(principal, request, spec)

    async def _open_in_turn(self, principal: Principal, request: JobRequest, spec: JobSpec) -> tuple[Job, bool]:
        if (known := await self._same_key(principal, request, spec)) is not None:
            return known, False
        # May take long: before the name is looked up.
        checked = await self._programs.ready(request.program, request.runtime, request.labels)
        if isinstance(request.comparison, comparison.Program):
            await self._programs.check_comparator(request.comparison.digest)
        await self._check_name(principal, request.name)
        last = self._keeper.grid.jobs
        job: Job = await self._keeper.ask(
            commands.Submit(
                owner=principal.owner,
                spec=spec,
                units=splitting.units(request.split),
                sealed=request.sealed,
                name=request.name,
                key=request.key,
                group=request.group,
                checked=checked,
            )
        )
        return self._learn(_same_work(job, spec)), job.number > last

    async def _same_key(self, principal: Principal, request: JobRequest, spec: JobSpec) -> Job | None:
        if not request.key:
            return None
        job = await self._keeper.store.job_keyed(principal.owner, request.key)
        return self._learn(_same_work(job, spec)) if job else None

    async def _check_name(self, principal: Principal, name: str) -> None:
        if name and await self._keeper.store.job_named(principal.owner, name):
            raise Conflict(
                f"You already have a job named {name!r}.",
                hint="Choose another name, or look at that one with `crowdgrid jobs show`.",
            )

    # --- finding ------------------------------------------------------------------------------

    async def find(self, principal: Principal, text: str) -> Job:
        """A job by its public id, or one of the principal's own by its name. Raises NotFound."""
        job = await self._look_up(principal, text)
        if job is None or not principal.sees(job.owner):
            raise NotFound(f"There is no job {text[:80]!r} of yours.", hint="`crowdgrid jobs ls` lists your jobs.")
        return self._learn(job)

    async def _look_up(self, principal: Principal, text: str) -> Job | None:
        if number := self._number(text):
            return await self._keeper.store.job(number)
        if len(text) > limits.NAME_CHARS or not text.isprintable():  # no name is like that
            return None
        return await self._keeper.store.job_named(principal.owner, text)

    def _number(self, text: str) -> int:
        """The job's number in a public id; 0 when it is none."""
        if not _LOOKS_LIKE_ID.fullmatch(text):
            return 0
        try:
            kind, number, _, _ = self._keeper.ids.numbers(text)
        except NotFound:
            return 0
        return number if kind == naming.type_job else 0

    def cursor(self, text: str) -> int:
        """The number of the job a page ended with. Raises BadInput."""
        if number := self._number(text):
            return number
        raise BadInput(f"before: {text[:40]!r} is not the end of a page.", hint="Send back `next` as it came.")

    def _learn(self, job: Job) -> Job:
        if job.number not in self._known:
            self._known[job.number] = Line(job)
            if len(self._known) > KNOWN_JOBS:
                self._forget_one()
        return job

    def _forget_one(self) -> None:
        number, known = self._known.popitem(last=False)
        if known.lock.locked():
            self._known[number] = known

    async def _mine(self, principal: Principal, text: str) -> Line:
        """What is known of a job the principal may change."""
        known = self._known.get(self._number(text))
        if known is None or not principal.sees(known.owner):
            job = await self.find(principal, text)
            authorize(principal, Verb.CHANGE, job)
            return self._known[job.number]
        authorize(principal, Verb.CHANGE, Place.JOBS)
        return known

    # --- input --------------------------------------------------------------------------------

    async def append(
        self, principal: Principal, job: str, first: int, items: Sequence[bytes] = (), blob: str = ""
    ) -> int:
        """Append units from ordinal `first` on; returns how many units the job has then.

        Args:
            job: its public id or name.
            items: the units, or instead `blob`: digest of a packed chunk of them, put before.

        Raises:
            BadInput: nothing, or both, were given.
            TooLarge: over `limits.CHUNK_BYTES` together, or over `limits.ITEM_BYTES` if it is one.
            NotFound: no such job or blob.
            Conflict: the job is sealed, has other units there, or there would be a gap before `first`.
        """
        if first < 0 or first + len(items) > limits.JOB_ITEMS:
            raise BadInput(f"A job's units have ordinals from 0 to {limits.JOB_ITEMS:,}.")
        if bool(items) == bool(blob):
            raise BadInput("An append needs either items or the digest of a chunk.")
        line = await self._mine(principal, job)

        async def chunk(at: int) -> Chunk:
            if blob:
                return await self._inputs.add_blob_chunk(line.number, at, naming.check_digest(blob))
            return await self._inputs.add_items(line.number, at, items)

        return await self._appending.append(line, first, chunk)

    async def append_last(self, principal: Principal, job: str, items: Sequence[bytes]) -> int:
        """Append units after whatever is there; returns how many the job has then. Asking twice appends them twice."""
        line = await self._mine(principal, job)
        return await self._appending.append_last(line, lambda at: self._inputs.add_items(line.number, at, items))

    async def seal(self, principal: Principal, job: str) -> None:
        """Nothing more will be appended; all appends asked for before come first."""
        known = await self._mine(principal, job)
        async with known.lock:
            answer = self._keeper.submit(commands.Seal(known.number))
        await answer

    # --- steering -----------------------------------------------------------------------------

    async def cancel(self, principal: Principal, job: str, reason: str = "") -> None:
        """End the job for good."""
        known = await self._mine(principal, job)
        if len(reason) > limits.NAME_CHARS:
            raise TooLarge(f"A reason has at most {limits.NAME_CHARS} characters.")
        if reason and not reason.isprintable():
            raise BadInput("A reason is one line of printable characters.")
        command = commands.Cancel(known.number, reason) if reason else commands.Cancel(known.number)
        await self._keeper.ask(command)

    async def steer(self, principal: Principal, job: str, command: Callable[[int], commands.Command]) -> None:
        """Pause, resume or reprioritise: `command` makes it of the job's number.

        Raises:
            Conflict: it has ended.
        """
        known = await self._mine(principal, job)
        try:
            await self._keeper.ask(command(known.number))
        except NotFound:  # the engine knows only jobs that go on
            raise _ended(await self.find(principal, job)) from None

    async def retry(self, principal: Principal, job: str) -> None:
        """Run failed and abandoned tasks again, also when the job has ended.

        They are opened page by page. Whoever asked is answered when all are, or after `RETRY_SECONDS`: until then what
        failed is still there to be read, and would be taken for what came of the retry.
        """
        known = await self.find(principal, job)
        authorize(principal, Verb.CHANGE, known)
        await self._keeper.ask(commands.Retry(known.number, known))
        give_up_at, pause = monotonic() + RETRY_SECONDS, 0.005
        while (now := await self._keeper.store.job(known.number)) is not None and now.retrying:
            if monotonic() > give_up_at:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.25)


def _ended(job: Job) -> Conflict:
    """Why a job cannot be steered, and what can be done instead."""
    named = f"The job {job.name!r}" if job.name else "The job"
    can_retry = job.state in (JobState.FINAL, JobState.FAILED)
    again = "`crowdgrid jobs retry` runs again what failed." if can_retry else "Submit it again."
    return Conflict(f"{named} has ended: it is {job.state.value}, so it neither runs nor waits.", hint=again)


def _same_work(job: Job, spec: JobSpec) -> Job:
    if msgspec.structs.replace(job.spec, priority=spec.priority) != spec:
        raise Conflict("This key was used for another job.", hint="Use a fresh key for each job you open.")
    return job


# --- what may be asked for -----------------------------------------------------------------------


def check_request(request: JobRequest) -> JobSpec:
    """The work a request describes, checked against the limits. Raises BadInput, TooLarge or BadProgram."""
    naming.check_digest(request.program)
    splitting.check(request.split)
    reducing.check(request.reduce)
    check_name(request.name)
    _check_args(request.args)
    _check_numbers(request)
    _check_agreement(request)
    _check_places(request)
    if request.runtime not in RUNTIMES:
        raise BadProgram(
            f"This grid has no runtime {request.runtime[:40]!r}.", hint=f"Use one of {', '.join(RUNTIMES)}."
        )
    if request.runtime in UNSANDBOXED and not isinstance(request.split, Items):
        raise BadInput(
            "A Python function is called once for each item, and this job has none.", hint="Split it by items."
        )
    if request.sealed and splitting.appended(request.split):
        raise BadInput(
            "A job of items or lines that is sealed from the start would have no input.",
            hint="Open it unsealed, append, then seal it.",
        )
    spec = JobSpec(**{name: getattr(request, name) for name in _SPEC_FIELDS})
    if request.final_after_ms < 0:
        judged_again = request.consensus == "bounded_error"
        spec = msgspec.structs.replace(spec, final_after_ms=limits.FINAL_AFTER_MS if judged_again else 0)
    return spec


def check_name(name: str) -> None:
    """Refuse a name that could not be typed, printed or told from an id. Raises BadInput or TooLarge."""
    if len(name) > limits.NAME_CHARS:
        raise TooLarge(f"A name has at most {limits.NAME_CHARS} characters.")
    if name and (not name.isprintable() or name != name.strip() or "/" in name or name in (".", "..")):
        raise BadInput(f"{name!r} cannot be a name.", hint="Use printable characters without / or spaces around.")
    if _LOOKS_LIKE_ID.fullmatch(name):
        raise BadInput(f"The name {name!r} looks like an id.", hint="Choose another one.")


def _check_args(args: tuple[str, ...]) -> None:
    if len(args) > limits.ARGS:
        raise TooLarge(f"A program gets at most {limits.ARGS} arguments, not {len(args):,}.")
    if sum(len(arg.encode()) for arg in args) > limits.ARGS_BYTES:
        raise TooLarge(f"The arguments are over {limits.ARGS_BYTES:,} bytes together.", hint="Send them as input.")
    for at, arg in enumerate(args):
        if "\0" in arg:
            raise BadInput(f"Argument {at} holds a zero byte, which no argument can.")
        if len(arg.encode()) > limits.ARG_BYTES:
            raise TooLarge(f"Argument {at} is over {limits.ARG_BYTES:,} bytes.", hint="Send it as input instead.")


# field -> (least, most, unit)
_BETWEEN: Final[dict[str, tuple[int, int, str]]] = {
    "timeout_ms": (limits.TIMEOUT_MS_MIN, limits.TIMEOUT_MS_MAX, " ms"),
    "memory_bytes": (limits.MEMORY_BYTES_MIN, limits.MEMORY_BYTES_MAX, " bytes"),
    "output_bytes": (1, limits.OUTPUT_BYTES, " bytes"),
    "milli_cpus": (1, 1_000_000, " thousandths of a core"),
    "priority": (-limits.PRIORITY_MAX, limits.PRIORITY_MAX, ""),
    "target_ms": (limits.TIMEOUT_MS_MIN, limits.TIMEOUT_MS_MAX, " ms"),
    "max_errors": (0, limits.JOB_ITEMS, ""),
    "stale_ceiling": (1, 1_000_000, ""),
    "min_trust": (0, 10, ""),
    "keep_ms": (0, limits.KEEP_MS_MAX, " ms"),
    "overlap": (1, limits.OVERLAP_MAX, " nodes"),
    "collision": (0, 1, ""),
    "final_after_ms": (-1, limits.FINAL_AFTER_MS_MAX, " ms"),
}


def check_between(field: str, value: float) -> None:
    """Refuse a number outside its field's limits. Raises BadInput."""
    least, most, unit = _BETWEEN[field]
    if not least <= value <= most:
        raise BadInput(f"{field} is {value:,}{unit}; it may be {least:,} to {most:,}{unit}.")


def _check_numbers(request: JobRequest) -> None:
    for field in _BETWEEN:
        check_between(field, getattr(request, field))


def _check_agreement(request: JobRequest) -> None:
    """Refuse what no vote could come to. Raises BadInput."""
    rules = ", ".join(sorted(CONSENSUS))
    if request.consensus not in CONSENSUS:
        raise BadInput(f"There is no consensus {request.consensus[:40]!r}.", hint=f"Use one of {rules}.")
    if not 0 < request.threshold <= 1:
        raise BadInput(f"threshold is {request.threshold:g}; it may be more than 0 and at most 1.")
    if not limits.ERROR_BOUND_LEAST <= request.error_bound < 1:
        least = limits.ERROR_BOUND_LEAST
        raise BadInput(f"error_bound is {request.error_bound:g}; it may be at least {least:g} and less than 1.")
    comparison.check(request.comparison)
    if request.comparison != comparison.Exact() and request.consensus == "single":
        raise BadInput(
            "Where one result settles a task there is nothing to compare it with.",
            hint='Use consensus "majority", "trust_weighted" or "bounded_error".',
        )
    if request.overlap > 1 and request.consensus not in ("majority", "trust_weighted"):
        raise BadInput(
            f"An overlap of {request.overlap} nodes needs a consensus that counts them.",
            hint='Use consensus "majority" or "trust_weighted".',
        )
    if request.consensus != "single" and request.runtime == PICKLED:
        raise BadInput(
            "Pickled functions run on nodes of their owner only, and an owner has one vote.",
            hint='Send the source (codec="msgpack"), or use consensus "single".',
        )


def _check_places(request: JobRequest) -> None:
    if len(request.labels) > LABELS:
        raise TooLarge(f"A job asks for at most {LABELS} labels.")
    for word in (*request.labels, request.region, request.group, request.key):
        if len(word) > limits.NAME_CHARS or not word.isprintable():
            raise BadInput(
                f"A label, region, group or key is printable and has at most {limits.NAME_CHARS} characters."
            )
