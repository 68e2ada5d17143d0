"""Programs: kept as blobs under their SHA-256, looked at before anything of them is scheduled.

A program is looked at once, in a thread (compiling is the proof that it compiles), and the verdict is remembered: a
digest's content never changes. A submission of a program known to be good is scheduled at once; otherwise the engine
asks (`effects.Check`) and the job is `validating` until `commands.Checked` answers.

A Python function is read (`protocol.functions`), which is quick and runs nothing: nobody's code is ever executed or
unpickled in the hub. So it is looked at when its job is opened, and a bad one is refused there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from crowdgrid import limits
from crowdgrid.core import commands, effects
from crowdgrid.core.model import PICKLED, UNSANDBOXED, Job
from crowdgrid.errors import BadInput, BadProgram, CrowdgridError, NotFound, Unavailable
from crowdgrid.hub.comparing import OwnComparators
from crowdgrid.protocol import functions

if TYPE_CHECKING:
    from crowdgrid.blobs import Blobs
    from crowdgrid.hub.keeper import Keeper

VERDICTS_KEPT: Final = 10_000
QUICK_BYTES: Final = 1 << 16  # are hashed and read on the event loop; more in a thread
CHECKS_AT_ONCE: Final = 2
RETRY_SECONDS: Final = 1.0
LOOKED_AT: Final = frozenset({"wasm", *UNSANDBOXED})
PYTHON_LABEL: Final = re.compile(r"python\d{1,3}\.\d{1,3}")
log = logging.getLogger("crowdgrid.hub.programs")


class Verdict(NamedTuple):
    """What a look at a program came to: `problem` is "" when it is good. `python`: (major, minor) a pickle needs."""

    problem: str = ""
    hint: str = ""
    python: tuple[int, int] = (0, 0)

    def check(self) -> None:
        """Raises BadProgram unless it is good."""
        if self.problem:
            raise BadProgram(self.problem, hint=self.hint)


class Programs:
    """See the module."""

    def __init__(self, keeper: Keeper, blobs: Blobs) -> None:
        self._keeper = keeper
        self._blobs = blobs
        self._verdicts: OrderedDict[tuple[str, str], Verdict] = OrderedDict()  # by runtime and digest
        self.sizes: dict[str, int] = {}  # bytes by digest, of programs of open jobs; leases tell them to nodes
        self._room = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._work: set[asyncio.Task[None]] = set()
        self._comparators = OwnComparators(blobs)
        keeper.comparators = self._comparators

    # --- for submitters -----------------------------------------------------------------------

    async def add(self, content: bytes, runtime: str = "wasm") -> str:
        """Keep a program; returns its digest. Raises BadProgram when this grid cannot run it."""
        if not content:
            raise BadProgram("The program is empty.", hint="Send the bytes of a .wasm file.")
        digest = hashlib.sha256(content).hexdigest() if len(content) < QUICK_BYTES else await _digest(content)
        (await self._verdict(digest, content, runtime)).check()
        self._note_size(digest, len(content))
        return await self._blobs.put_bytes(content)

    async def ready(self, digest: str, runtime: str, labels: Sequence[str] = ()) -> bool:
        """Whether the program is known to be good; False: it is here and must be looked at first.

        Args:
            labels: those the job asks for; a pickle needs that of its Python.

        Raises:
            BadProgram: it is not here, or known to be bad.
        """
        size = await self._blobs.size(digest)
        if size is None:
            raise BadProgram(
                f"There is no program {digest[:12]}… on this grid.", hint="Put its bytes to /v1/programs first."
            )
        if size > limits.PROGRAM_BYTES:
            raise BadProgram(f"A program of {size:,} bytes is over the limit of {limits.PROGRAM_BYTES:,}.")
        self._note_size(digest, size)
        if runtime not in LOOKED_AT:
            return True
        verdict = self._verdicts.get((runtime, digest))
        if verdict is None and runtime in UNSANDBOXED:
            verdict = await self._verdict(digest, await self._content(digest, size), runtime)
        if verdict is None:
            return False
        verdict.check()
        if runtime == PICKLED:
            _check_label(verdict.python, labels)
        return True

    async def check_comparator(self, digest: str) -> None:
        """Raises BadProgram unless this is a program that can be run to compare answers."""
        if not await self.ready(digest, "wasm"):
            (await self._verdict(digest, await self._blobs.read_bytes(digest), "wasm")).check()

    # --- for the engine -----------------------------------------------------------------------

    def saw(self, batch: Sequence[effects.Effect]) -> None:
        """Do what the engine asked for (a listener on the keeper); after a restart it asks again."""
        for effect in batch:
            if isinstance(effect, effects.Check):
                self._start(effect.job)

    async def learn_sizes(self, jobs: Iterable[Job]) -> None:
        """After a restart: how large the programs of these jobs are."""
        for digest in {job.spec.program for job in jobs}:
            try:
                if (size := await self._blobs.size(digest)) is not None:
                    self._note_size(digest, size)
            except CrowdgridError as error:
                log.warning("the size of a program is not known: %s", error.message)

    def _note_size(self, digest: str, size: int) -> None:
        self.sizes[digest] = size
        if len(self.sizes) > VERDICTS_KEPT:
            del self.sizes[next(iter(self.sizes))]

    async def close(self) -> None:
        """Stop looking; the next start asks again."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._comparators.close()

    def _start(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(job))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _answer(self, job: Job) -> None:
        """Look and tell, until the engine has heard it: it may be rebuilding itself meanwhile."""
        while True:
            try:
                problem = await self._look(job.spec.program, job.spec.runtime)
                await self._keeper.ask(commands.Checked(job.number, problem))
                return
            except CrowdgridError as error:
                if not error.retryable:
                    log.warning("the program of job %d was not judged: %s", job.number, error.message)
                    return
            await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, digest: str, runtime: str) -> str:
        known = self._verdicts.get((runtime, digest))
        if runtime not in LOOKED_AT or (known is not None and not known.problem):
            return ""
        async with self._room:
            try:
                content = await self._blobs.read_bytes(digest)
            except NotFound:
                return "The program is no longer on this grid."
        verdict = await self._verdict(digest, content, runtime)
        return f"{verdict.problem} {verdict.hint}".strip()

    # --- the verdict --------------------------------------------------------------------------

    async def _verdict(self, digest: str, content: bytes, runtime: str) -> Verdict:
        known = Verdict() if runtime not in LOOKED_AT else self._verdicts.get((runtime, digest))
        if known is not None:
            return known
        look = partial(_wasm, content) if runtime == "wasm" else partial(_function, content, runtime)
        if runtime != "wasm" and len(content) < QUICK_BYTES:
            verdict = look()
        else:
            async with self._room:
                try:
                    verdict = await asyncio.to_thread(look)
                except MemoryError:
                    raise Unavailable("The hub has too little memory to look at this program.") from None
        self._verdicts[runtime, digest] = verdict
        if len(self._verdicts) > VERDICTS_KEPT:
            self._verdicts.popitem(last=False)
        return verdict

    async def _content(self, digest: str, size: int) -> bytes:
        if size > limits.FUNCTION_BYTES:
            raise BadProgram(f"A function of {size:,} bytes is over the limit of {limits.FUNCTION_BYTES:,}.")
        return await self._blobs.read_bytes(digest)


def _wasm(content: bytes) -> Verdict:
    from crowdgrid.runtimes.check import check_wasm  # loads the compiler: only when it is needed

    try:
        check_wasm(content)
    except BadInput as error:
        return Verdict(error.message, error.hint)
    return Verdict()


def _function(content: bytes, runtime: str) -> Verdict:
    """A function must be written in the way its runtime reads: no pickle may come where none is expected."""
    try:
        program = functions.read(content)
    except BadInput as error:
        return Verdict(error.message, error.hint)
    if (program.codec == "pickle") is not (runtime == PICKLED):
        right = "python" if runtime == PICKLED else PICKLED
        return Verdict(
            f"The function {program.name} is written with the codec {program.codec}, which the runtime {runtime} does "
            "not read.",
            f"Send it for the runtime {right}, or with the other codec.",
        )
    return Verdict(python=program.python)


def _check_label(python: tuple[int, int], labels: Sequence[str]) -> None:
    """Raises BadProgram unless the job goes only where this pickle can be read."""
    wanted = python_label(python)
    given = [label for label in labels if PYTHON_LABEL.fullmatch(label)]
    if given != [wanted]:
        raise BadProgram(
            f"A pickle of Python {python[0]}.{python[1]} can be read by no other Python, and the job asks for "
            f"{' and '.join(given) or 'any'}.",
            hint=f"Give the job the label {wanted}, which nodes of that Python carry.",
        )


def python_label(python: tuple[int, int]) -> str:
    """The label of nodes that run this Python (major, minor)."""
    return f"python{python[0]}.{python[1]}"


async def _digest(content: bytes) -> str:
    return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
