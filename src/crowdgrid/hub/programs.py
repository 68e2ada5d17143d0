"""Programs: kept as blobs under their SHA-256, looked at before anything of them is scheduled.

A program is looked at once, in a thread (compiling is the proof that it compiles), and the verdict is remembered: a
digest's content never changes. A submission of a program known to be good is scheduled at once; otherwise the engine
asks (`effects.Check`) and the job is `validating` until `commands.Checked` answers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from crowdgrid import limits
from crowdgrid.core import commands, effects
from crowdgrid.core.model import Job
from crowdgrid.errors import BadInput, BadProgram, CrowdgridError, NotFound, Unavailable

if TYPE_CHECKING:
    from crowdgrid.blobs import Blobs
    from crowdgrid.hub.keeper import Keeper

VERDICTS_KEPT: Final = 10_000
CHECKS_AT_ONCE: Final = 2
RETRY_SECONDS: Final = 1.0
log = logging.getLogger("crowdgrid.hub.programs")


class Programs:
    """See the module."""

    def __init__(self, keeper: Keeper, blobs: Blobs) -> None:
        self._keeper = keeper
        self._blobs = blobs
        self._verdicts: OrderedDict[str, str] = OrderedDict()  # digest -> "" when good, else what is wrong
        self._hints: dict[str, str] = {}
        self.sizes: dict[str, int] = {}  # bytes by digest, of programs of open jobs; leases tell them to nodes
        self._room = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._work: set[asyncio.Task[None]] = set()

    # --- for submitters -----------------------------------------------------------------------

    async def add(self, content: bytes, runtime: str = "wasm") -> str:
        """Keep a program; returns its digest. Raises BadProgram when this grid cannot run it."""
        if not content:
            raise BadProgram("The program is empty.", hint="Send the bytes of a .wasm file.")
        digest = hashlib.sha256(content).hexdigest() if len(content) < 1 << 16 else await _digest(content)
        if runtime == "wasm" and (problem := await self._verdict(digest, content)):
            raise BadProgram(problem, hint=self._hints.get(digest, ""))
        self._note_size(digest, len(content))
        return await self._blobs.put_bytes(content)

    async def ready(self, digest: str, runtime: str) -> bool:
        """Whether the program is known to be good; False: it is here and must be looked at first.

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
        if runtime != "wasm":
            return True
        problem = self._verdicts.get(digest)
        if problem:
            raise BadProgram(problem, hint=self._hints.get(digest, ""))
        return problem is not None

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
        if runtime != "wasm" or self._verdicts.get(digest) == "":
            return ""
        async with self._room:
            try:
                content = await self._blobs.read_bytes(digest)
            except NotFound:
                return "The program is no longer on this grid."
        problem = await self._verdict(digest, content)
        return f"{problem} {self._hints.get(digest, '')}".strip()

    # --- the verdict --------------------------------------------------------------------------

    async def _verdict(self, digest: str, content: bytes) -> str:
        if (known := self._verdicts.get(digest)) is not None:
            return known
        from crowdgrid.runtimes.check import check_wasm  # loads the compiler: only when it is needed

        problem = hint = ""
        async with self._room:
            try:
                await asyncio.to_thread(check_wasm, content)
            except BadInput as error:
                problem, hint = error.message, error.hint
            except MemoryError:
                raise Unavailable("The hub has too little memory to look at this program.") from None
        self._remember(digest, problem, hint)
        return problem

    def _remember(self, digest: str, problem: str, hint: str) -> None:
        self._verdicts[digest] = problem
        if problem:
            self._hints[digest] = hint
        if len(self._verdicts) > VERDICTS_KEPT:
            old, _ = self._verdicts.popitem(last=False)
            self._hints.pop(old, None)


async def _digest(content: bytes) -> str:
    return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
