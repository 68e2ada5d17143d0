"""Whoever asks the hub for something: submitters with their jobs, nodes that join.

What was asked is asked again when a hub comes up and it is not known whether it happened; the store is looked at
first, as the hub does, so that asking twice is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core.model import JobSpec, Range
from crowdgrid.errors import CrowdgridError
from crowdgrid.simulation import scenario as s
from crowdgrid.simulation.checkers import Fault
from crowdgrid.simulation.memory import done

if TYPE_CHECKING:
    from crowdgrid.simulation.hub import Hub
    from crowdgrid.simulation.world import World
    from crowdgrid.store.memory import MemoryStore

Known: TypeAlias = "Callable[[MemoryStore], Coroutine[Any, Any, Any]]"

_TIMEOUTS = 20  # times a task's usual time, when the scenario does not say
_PROGRAM = "5" * 64


class Clients:
    """See the module. `orders`: each job that will be submitted, by its key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[int, tuple[c.Command, Callable[[Any], None], Known | None]] = {}
        self._count = 0
        self.orders: dict[str, s.Jobs] = {}
        for order in world.scenario.jobs:
            for number in range(order.count):
                key = f"{order.name} {number}"
                self.orders[key] = order
                at = int((order.at_s + number * order.every_s) * 1000)
                world.timeline.after(at, self._submit, key, order)

    # --- asking ----------------------------------------------------------------------------------

    def ask(self, command: c.Command, then: Callable[[Any], None], *, known: Known | None = None) -> None:
        """Have `command` happen once. `known`: how to find in the store that it has."""
        self._count += 1
        self._asked[self._count] = (command, then, known)
        if self._world.hub is not None:
            self._send(self._world.hub, self._count)

    def hub_is_up(self, hub: Hub) -> None:
        """Ask again for what was not answered."""
        for number in list(self._asked):
            self._send(hub, number)

    def _send(self, hub: Hub, number: int) -> None:
        command, then, known = self._asked[number]
        found = done(known(self._world.store)) if known is not None else None
        if found is None:
            hub.ask(command, partial(self._answered, number))
        else:
            del self._asked[number]
            then(found)

    def _answered(self, number: int, value: Any) -> None:
        asked = self._asked.pop(number, None)
        if asked is None:
            return  # another hub had answered
        if isinstance(value, CrowdgridError):
            raise Fault(f"{type(asked[0]).__name__} was refused: {value.message}")
        asked[1](value)

    # --- jobs ------------------------------------------------------------------------------------

    def _submit(self, key: str, order: s.Jobs) -> None:
        spec = spec_of(order)
        submit = c.Submit(order.owner, spec, order.tasks * (order.piece or 1), sealed=True, key=key, checked=True)
        self.ask(submit, lambda _: None, known=lambda store: store.job_keyed(order.owner, key))


def spec_of(order: s.Jobs) -> JobSpec:
    """The job as its submitter writes it."""
    piece = order.piece
    usual = order.unit_ms * max(piece, 1) * _TIMEOUTS
    timeout_ms = int(order.timeout_s * 1000) or int(max(limits.TIMEOUT_MS_DEFAULT, usual))
    return JobSpec(
        program=_PROGRAM,
        split=Range(0, order.tasks * (piece or 1), piece),
        timeout_ms=min(timeout_ms, limits.TIMEOUT_MS_MAX),
        memory_bytes=order.memory_mb << 20,
        milli_cpus=order.milli_cpus,
        priority=order.priority,
        target_ms=int(order.target_s * 1000),
        stale_ceiling=order.stale_ceiling,
        allow_abandoned=order.allow_abandoned,
        consensus=order.consensus,
        overlap=order.overlap,
        threshold=order.threshold,
        error_bound=order.error_bound,
        collision=order.collision,
        min_trust=order.min_trust,
        final_after_ms=int(order.final_after_s * 1000),
    )
