"""The runtimes that are no sandbox, which come and go with whom the owner trusts.

They share one mapping with the others (`runtimes`, by name): what is in it is told to the hub and can be run. One
that is wanted is started before it is in; one that is not wanted any more is out at once, and its processes end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from crowdgrid.agent import trust
from crowdgrid.core.model import UNSANDBOXED
from crowdgrid.errors import CrowdgridError
from crowdgrid.runtimes import Runtime

log = logging.getLogger(__name__)


class Unsandboxed:
    """See the module.

    Args:
        runtimes: all runtimes of this agent, by name; this adds to it and takes away.
        make: makes one, by its name.
        workers: how many programs may run at once now.
        changed: is told when what had to be started is there, or could not be.
    """

    def __init__(
        self,
        runtimes: dict[str, Runtime],
        make: Callable[[str], Runtime],
        workers: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self.problem = ""  # why what is wanted could not be started
        self._runtimes, self._make, self._workers, self._changed = runtimes, make, workers, changed
        self._turn = asyncio.Lock()
        self._wanted: tuple[str, ...] = tuple(name for name in runtimes if name in UNSANDBOXED)
        self._work: set[asyncio.Task[None]] = set()

    def want(self, trusts: Sequence[str], *, narrower: bool) -> bool:
        """Have what there should be for those trusted now.

        `narrower`: somebody is not trusted any more: no idle worker that may have run something of theirs stays.
        Returns whether something has to be started first; `changed` is told when it is.
        """
        self._wanted = trust.runtimes(trusts)
        gone = [self._runtimes.pop(name) for name in UNSANDBOXED - set(self._wanted) if name in self._runtimes]
        starting = any(name not in self._runtimes for name in self._wanted)
        task = asyncio.get_running_loop().create_task(self._follow(gone, narrower))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return starting

    async def _follow(self, gone: Sequence[Runtime], narrower: bool) -> None:
        async with self._turn:
            await asyncio.gather(*(runtime.close() for runtime in gone))
            here = [name for name in self._wanted if name in self._runtimes]
            for runtime in [self._runtimes[name] for name in here if narrower]:
                await runtime.resize(0)
                await runtime.resize(self._workers())
            missing = [name for name in self._wanted if name not in here]
            for name in missing:
                if name in self._wanted:  # still
                    await self._start(name)
            if missing:
                self._changed()

    async def _start(self, name: str) -> None:
        runtime = self._make(name)
        try:
            await runtime.start()
        except CrowdgridError as error:
            self.problem = error.message
            log.warning("Runtime %s cannot be started: %s", name, error.message)
            return
        except asyncio.CancelledError:
            await runtime.close()
            raise
        if name not in self._wanted:  # the owner has thought better of it meanwhile
            await runtime.close()
            return
        self.problem = ""
        self._runtimes[name] = runtime

    async def close(self) -> None:
        """Wait until nothing of it is under way."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
