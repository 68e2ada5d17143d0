"""What goes on beside the work: the owner's limits, the control socket, the benchmarks.

None of it is needed for the first offer, so it is imported and started only when the link is being made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from crowdgrid.agent import probe, trust
from crowdgrid.agent.agent import Agent
from crowdgrid.agent.consent import Action
from crowdgrid.agent.control import Control
from crowdgrid.agent.duty import Duty
from crowdgrid.agent.facts import FactReader
from crowdgrid.agent.greeting import Greeting
from crowdgrid.agent.settings import AgentSettings, hub_address
from crowdgrid.agent.unsandboxed import Unsandboxed
from crowdgrid.errors import BadInput, Unavailable
from crowdgrid.runtimes import Runtime

log = logging.getLogger(__name__)


class Stoppable(Protocol):
    """What can be ended: `main.House`."""

    link: Any

    def keep_python(self, trusts: tuple[str, ...]) -> None: ...

    def leave(self) -> None: ...


class Attendance:
    """Serves the owner of one agent."""

    def __init__(
        self,
        settings: AgentSettings,
        folder: Path,
        agent: Agent,
        house: Stoppable,
        greeting: Greeting,
        runtimes: Mapping[str, Runtime],
        unsandboxed: Unsandboxed,
    ) -> None:
        self._settings, self._folder, self._agent, self._house = settings, folder, agent, house
        self._greeting, self._runtimes, self._unsandboxed = greeting, runtimes, unsandboxed
        self._resizing: set[asyncio.Task[None]] = set()
        self._duty = Duty(folder, settings.no_limits, agent.allow, self._lend)
        self._control = Control(
            folder,
            {
                "status": self._status,
                "pause": self._pause,
                "finish": lambda: self._wish(Action.FINISH_CURRENT),
                "stop": lambda: self._wish(Action.STOP_NOW),
                "resume": lambda: self._wish(Action.RUN),
                "limits": self._limits,
                "python": self._python,
                "leave": self._leave,
            },
        )

    async def go(self) -> None:
        """Serve until cancelled."""
        limits = self._duty.limits
        self._lend(limits.cpu_share, limits.memory_bytes)
        try:
            await self._control.start()
        except OSError as error:
            log.warning("`crowdgrid agent status` will not work: no socket can be made (%s).", error.strerror)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._duty.watch(FactReader(self._folder)))
                group.create_task(self._benchmark())
        finally:
            await self._control.close()

    # --- verbs ---

    def _status(self) -> dict[str, Any]:
        decision = self._duty.decision
        link = self._house.link
        return self._agent.status() | {
            "linked": link.is_up,
            "link_problem": link.problem,
            "unknown": list(decision.unknown) if decision else [],
            "retry_after_seconds": _finite(decision.retry_after) if decision else None,
            "runtimes": list(self._runtimes),
            "python_problem": self._unsandboxed.problem,
            "limits": msgspec.to_builtins(self._duty.limits),
            "benchmarks": self._greeting.benchmarks.rates if self._greeting.benchmarks else {},
            "inventory": self._greeting.inventory,
        }

    def _pause(self, seconds: object = 0) -> dict[str, Any]:
        if not isinstance(seconds, int | float) or seconds < 0:
            raise BadInput("A pause is a number of seconds.")
        if not seconds:
            return self._wish(Action.FINISH_CURRENT)
        return self._changed(wish=Action.RUN, paused_until=time.time() + seconds)

    def _wish(self, action: Action) -> dict[str, Any]:
        return self._changed(wish=action, paused_until=0.0)

    def _limits(self, **wanted: Any) -> dict[str, Any]:
        return self._changed(**wanted) if wanted else msgspec.to_builtins(self._duty.limits)

    def _changed(self, **wanted: Any) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self._duty.change(**wanted))
        return found

    def _python(self, who: object = None) -> dict[str, Any]:
        if who is not None:
            if not isinstance(who, list) or not all(isinstance(word, str) for word in who):
                raise BadInput("Whose Python may run is a list of words.")
            self._trust(trust.words(who))
        return {"python": list(self._agent.trusts), "says": self._agent.python_says}

    def _trust(self, trusts: tuple[str, ...]) -> None:
        """Whom the owner trusts counts at once, here and then for the hub, and after a restart."""
        trust.check_way(trusts, hub_address(self._settings.hub))
        narrower = not set(self._agent.trusts) <= set(trusts)
        self._greeting.trusts = trusts
        self._agent.trust(trusts)
        if not self._unsandboxed.want(trusts, narrower=narrower):
            self._agent.greet_anew()
        try:
            self._house.keep_python(trusts)
        except OSError as error:
            raise Unavailable(
                f"It counts from now on, but could not be kept for the next start: {error.strerror}."
            ) from None

    def _leave(self) -> dict[str, Any]:
        self._house.leave()
        return {"leaving": True}

    # --- what is lent ---

    def _lend(self, cpu_share: float, memory_bytes: int) -> None:
        """Whole workers are taken away; less than one core is one worker that rests in between."""
        milli = max(10, int(self._settings.cores * 1000 * cpu_share))
        memory = memory_bytes or self._settings.memory
        slots = self._agent.slots
        if (milli, memory) == (slots.milli_cpus, slots.memory_bytes):
            return
        slots.lend(milli, memory)
        slots.rest_share = max(0.0, 1 - milli / 1000)
        self._greeting.milli_cpus, self._greeting.memory_bytes = max(milli, 1000), memory
        for runtime in self._runtimes.values():
            task = asyncio.get_running_loop().create_task(runtime.resize(slots.workers))
            self._resizing.add(task)
            task.add_done_callback(self._resizing.discard)

    # --- benchmarks ---

    async def _benchmark(self) -> None:
        """Measure once there is a link, if what is known is stale; the hub hears of it when we next greet it."""
        if self._greeting.benchmarks is not None:
            return
        await self._house.link.first_up.wait()
        found = await probe.measure(self._folder, self._greeting.machine)
        if found is None:
            log.warning("This machine's speed could not be measured.")
            return
        self._greeting.benchmarks = found
        self._agent.news = True


def _finite(seconds: float) -> float | None:
    return seconds if seconds != float("inf") else None
