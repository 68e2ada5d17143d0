"""The agent itself: what link, slots, reporter and the owner's wishes mean to one another.

Everything happens on one event loop, in short callbacks; nothing here waits. Whatever must be true after
a lost message is told again by state: heartbeats name all that is held (waiting, running, answered but
not judged), offers replace one another, unjudged answers are sent again with each new link.

While the owner does not allow work (`Permit`), nothing is offered; what waits is given back with the
owner's reason, so that others get it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from crowdgrid import limits
from crowdgrid.agent import offers, trust
from crowdgrid.agent.consent import Action
from crowdgrid.agent.programs import Programs
from crowdgrid.agent.pulse import Pulse
from crowdgrid.agent.reporter import Reporter
from crowdgrid.agent.slots import Inputs, Slots
from crowdgrid.agent.work import Held, JobQueue, answer
from crowdgrid.core.unsandboxed import described
from crowdgrid.errors import BadInput, CrowdgridError, printable
from crowdgrid.ids import check_digest
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import blobs_of
from crowdgrid.runtimes import Runtime

NO_PROGRAM: Final = frozenset({"echo"})  # runtimes that run none
_ID_BYTES: Final = 16
_REST_SHARE: Final = 0.5  # of the time what waits here takes, reports may rest

log = logging.getLogger(__name__)


class Sender(Protocol):
    """The link, as far as it is needed here."""

    @property
    def is_up(self) -> bool: ...

    def send(self, *messages: m.Message) -> None: ...

    def drop(self, reason: str) -> None: ...

    def renew(self) -> None: ...


class Permit(msgspec.Struct, frozen=True):
    """What the owner allows now, and why not more."""

    action: Action = Action.RUN
    why: tuple[str, ...] = ()


class Agent:
    """One agent between one link and its workers.

    Args:
        hello: makes what is told of this node; called for each new link.
        runtimes: by name; may still be starting, see `ready`.
        programs: fetches programs and inputs.
        open_reporter: makes the reporter for a grid (16 bytes).
        milli_cpus, memory_bytes: what is lent.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        hello: Callable[[], m.Hello],
        runtimes: Mapping[str, Runtime],
        programs: Programs,
        open_reporter: Callable[[bytes], Reporter],
        *,
        milli_cpus: int,
        memory_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        inputs: Inputs = programs
        self.trusts: tuple[str, ...] = ()  # whose Python runs here
        self.slots = Slots(
            runtimes,
            inputs,
            self,
            milli_cpus=milli_cpus,
            memory_bytes=memory_bytes,
            objection=self._objection,
            clock=clock,
        )
        self.reporter: Reporter | None = None
        self.welcome: m.Welcome | None = None
        self.permit = Permit()
        self.pulse = Pulse()
        self.done = 0  # answers given since this process began
        self.news = False  # there is something new for `Hello`: said anew when nothing is under way
        self.link: Sender
        self._hello, self._programs, self._open_reporter, self._clock = hello, programs, open_reporter, clock
        self._ready = self._draining = self._greet_anew = False
        self._offered = 0
        self._hold_until = 0.0
        self._warned = ""
        self._parts: dict[bytes, Held] = {}  # done in part; the hub leases that part anew

    # --- for the house around it ---

    def ready(self) -> None:
        """The runtimes are up: what came meanwhile may start."""
        self._ready = True
        self._go_on()

    def allow(self, permit: Permit) -> None:
        """Act on what the owner allows now."""
        changed, self.permit = permit.action is not self.permit.action, permit
        if permit.action is Action.STOP_NOW:
            self.slots.return_all(_owner_says(permit))
        elif permit.action is Action.FINISH_CURRENT:
            self.slots.return_waiting(_owner_says(permit))
        if changed:
            self.pulse.hasten()  # the hub's people see it at once
            if permit.action is not Action.RUN:
                self._withdraw()
            self._go_on()

    def trust(self, trusts: tuple[str, ...]) -> None:
        """Run Python of these from now on; what is here of others is given back, also what runs."""
        self.trusts = trusts
        self.slots.evict()
        self._go_on()

    def greet_anew(self) -> None:
        """Have the hub hear at once, whatever is under way, that this node runs something else, or for others."""
        self._greet_anew = True

    def _objection(self, spec: m.LeaseSpec) -> str:
        return trust.objection(spec, self.trusts, self.welcome.owner if self.welcome else "")

    def drain(self) -> None:
        """Take nothing more, give back what waits, let long tasks end between two runs."""
        self._draining = True
        self._withdraw()
        self.slots.return_waiting("draining")
        self.slots.stop_at_boundary()

    @property
    def settled_all(self) -> bool:
        """Whether nothing is left that the hub has to hear of or answer."""
        return not self._parts and not len(self.slots) and not (self.reporter and self.reporter.unjudged)

    @property
    def python_says(self) -> str:
        """Whose Python runs here, for people."""
        return described(self.trusts, self.welcome.owner if self.welcome else "")

    def status(self) -> dict[str, Any]:
        """What people ask about."""
        reporter = self.reporter
        return {
            "action": self.permit.action.value,
            "why": " ".join(self.permit.why),
            "draining": self._draining,
            "node": self.welcome.node if self.welcome else "",
            "name": self.welcome.name if self.welcome else "",
            "owner": self.welcome.owner if self.welcome else "",
            "trust": self.welcome.trust if self.welcome else 0.0,
            "python": list(self.trusts),
            "python_says": self.python_says,
            "round_trip_ms": round(self.pulse.round_trip_ms, 2),
            "running": self.slots.running,
            "waiting": len(self.slots) - self.slots.running,
            "unjudged": reporter.unjudged if reporter else 0,
            "verdicts": dict(reporter.verdicts) if reporter else {},
            "spool_problem": reporter.problem if reporter else "",
            "done": self.done,
            "milli_cpus": self.slots.milli_cpus,
            "memory_bytes": self.slots.memory_bytes,
        }

    def tick(self) -> None:
        """To be called a few times a second."""
        now = self._clock()
        self.pulse.look(now)
        if self.slots.expire():
            self._go_on()
        if self.reporter is not None:
            self.reporter.tick()
            self._warn(self.reporter.problem)
        if not self.link.is_up:
            return
        if self.pulse.lost(now):
            self.link.drop("The hub does not answer.")
            return
        if self.pulse.due(now):
            self._beat()
        self._give_back_surplus()
        self._offer()
        if self._greet_anew or (self.news and self.settled_all):
            self.news = self._greet_anew = False
            self.link.renew()

    def _warn(self, problem: str) -> None:
        if problem and problem != self._warned:
            log.warning("%s", problem)
        self._warned = problem

    # --- events of the link ---

    def hello(self) -> m.Hello:
        """See `link.Events`."""
        self.news = self._greet_anew = False
        return self._hello()

    def up(self, welcome: m.Welcome) -> None:
        """See `link.Events`."""
        if self.welcome is not None and self.welcome.grid != welcome.grid:
            self._other_grid()
        if self.welcome is None or self.welcome.owner != welcome.owner:
            log.info("%s", printable(described(self.trusts, welcome.owner)))
        self.welcome = welcome
        self.slots.evict()  # the hub may call this node's owner something else than before
        if self.reporter is None:
            self.reporter = self._open_reporter(welcome.grid)
            self.reporter.rest = self._rest
        self._offered = 0
        self._hold_until = 0.0
        self.pulse.begin(welcome.heartbeat_ms)
        self._beat()
        self._offer()
        self.reporter.link_up()

    def down(self, refused: bool) -> None:
        """See `link.Events`."""
        self._parts.clear()  # what was to be leased anew is not ours any more
        if self.reporter is not None:
            self.reporter.link_down(refused)

    def received(self, messages: Sequence[m.HubToNode]) -> None:
        """See `link.Events`."""
        for message in messages:
            match message:
                case m.Assign():
                    self._assigned(message)
                case m.Acknowledge(verdicts):
                    if self.reporter is not None:
                        self.reporter.acknowledge(verdicts)
                case m.Cancel(assignments):
                    self._cancelled(assignments)
                case m.Beat(sent):
                    self.pulse.answered(self._clock(), sent)
                case m.Hold():
                    self._hold_until = self._clock() + (message.retry_after_ms / 1000 or float("inf"))
                    self._offered = 0
                case m.Resume():
                    self._hold_until = 0.0
                case _:
                    pass  # the link has dealt with it
        self._go_on()

    # --- events of the slots ---

    def answered(self, held: Held) -> None:
        """See `slots.Events`."""
        self._report(held, held.lease)

    def stopped(self, held: Held) -> None:
        """See `slots.Events`."""
        if self.link.is_up:
            self._parts[held.id] = held
            self.link.send(m.Remainder(held.id, held.lease.start + len(held.finished)))

    def refused(self, held: Sequence[Held], reason: str) -> None:
        """See `slots.Events`."""
        self.link.send(m.Decline(tuple([one.id for one in held]), reason))

    def returned(self, held: Sequence[Held], reason: str) -> None:
        """See `slots.Events`. `Remainder` from the first unit on says nothing against the job, as `Decline` would."""
        log.info("Giving back %d tasks: %s", len(held), reason)
        self.link.send(*[m.Remainder(one.id, one.lease.start) for one in held])

    def settled(self) -> None:
        """See `slots.Events`."""
        self._go_on()

    # --- leases ---

    def _assigned(self, message: m.Assign) -> None:
        queues = [self._queue(spec) for spec in message.specs]
        refused: dict[str, list[bytes]] = {}
        closed = self._closed()
        for lease in message.leases:
            if not 0 <= lease.spec < len(queues) or len(lease.assignment) != _ID_BYTES:
                raise BadInput("A lease names no spec of its frame, or has no proper id.")
            queue = queues[lease.spec]
            if isinstance(queue, str):
                refused.setdefault(queue, []).append(lease.assignment)
            elif not self._is_known(lease):
                if closed or len(self.slots) >= limits.HELD_ASSIGNMENTS:
                    self.link.send(m.Remainder(lease.assignment, lease.start))
                else:
                    self._take(queue, lease)
        self._offered = max(0, self._offered - len(message.leases))
        for reason, assignments in refused.items():
            self.link.send(m.Decline(tuple(assignments), reason))

    def _queue(self, spec: m.LeaseSpec) -> JobQueue | str:
        """The queue for leases of `spec`, or why they cannot run here."""
        check_digest(spec.program)
        if not (
            limits.TIMEOUT_MS_MIN <= spec.timeout_ms <= limits.TIMEOUT_MS_MAX
            and 0 < spec.memory_bytes <= limits.MEMORY_BYTES_MAX
            and 0 < spec.output_bytes <= limits.OUTPUT_BYTES
            and spec.milli_cpus > 0
        ):
            raise BadInput("A lease has limits on time, memory, output or cores that are out of bounds.")
        reason = self.slots.why_not(spec)
        if reason:
            return reason
        queue = self.slots.queue_of(spec)
        if not queue.path:
            self._bring_program(queue)
        return queue

    def _is_known(self, lease: m.Lease) -> bool:
        """Whether a lease is held already, or is the part done of one that was: then it is answered."""
        if lease.assignment in self.slots or (self.reporter and lease.assignment in self.reporter):
            return True
        part = self._parts.pop(lease.parent, None) if lease.parent else None
        if part is None or lease.start != part.lease.start or lease.stop - lease.start != len(part.finished):
            return False
        self._report(part, lease)
        return True

    def _take(self, queue: JobQueue, lease: m.Lease) -> None:
        self.slots.add(queue, lease)
        given = lease.input
        if given.parts or given.tails_blob:
            self._programs.want(blobs_of(given))

    def _bring_program(self, queue: JobQueue) -> None:
        digest = queue.spec.program
        found = None if queue.spec.runtime in NO_PROGRAM else self._programs.here(digest)
        if found is not None or queue.spec.runtime in NO_PROGRAM:
            queue.path = str(found or digest)
            return
        self._programs.fetch(digest, lambda outcome: self._brought(queue, outcome))

    def _brought(self, queue: JobQueue, outcome: str | CrowdgridError) -> None:
        if isinstance(outcome, str):
            queue.path = outcome
            self._go_on()
        else:
            self.slots.refuse_waiting(queue, f"Its program could not be fetched: {outcome.message}")

    def _cancelled(self, assignments: Sequence[bytes]) -> None:
        self.slots.drop(assignments)
        if self.reporter is not None:
            self.reporter.drop(assignments)
        for assignment in assignments:
            self._parts.pop(assignment, None)

    def _report(self, held: Held, lease: m.Lease) -> None:
        assert self.reporter is not None, "leases come after Welcome"
        assert self.welcome is not None
        self.done += 1
        self.reporter.add(answer(held, lease, held.finished, self.welcome.grid))

    def _other_grid(self) -> None:
        """The hub at this address has become another grid: what we hold means nothing to it."""
        log.warning("The hub is a different grid than before; what was leased by the old one is dropped.")
        self.slots.drop(self.slots.held)
        if self.reporter is not None:
            self.reporter.abandon()
        self.reporter = None

    # --- what the hub is told ---

    def _go_on(self) -> None:
        if self._ready and not self._closed():
            self.slots.dispatch()
        if self.reporter is not None:
            self.reporter.flush()
        if self.link.is_up:
            self._offer()

    def _closed(self) -> bool:
        """Whether nothing may be taken now."""
        return self._draining or self.permit.action is not Action.RUN

    def _load(self) -> offers.Load:
        slots, running = self.slots, self.slots.running
        holding = self._clock() < self._hold_until
        return offers.Load(
            workers=slots.workers,
            task_seconds=slots.task_seconds,
            running=running,
            queued=len(slots) - running,
            unreported=self.reporter.unjudged if self.reporter else 0,
            offered=self._offered,
            open=not self._closed() and not holding,
        )

    def _offer(self) -> None:
        load = self._load()
        want = offers.wanted(load)
        if self.link.is_up and offers.should_send(load, want):
            self._offered = want
            memory = min(self.slots.memory_bytes, limits.MEMORY_BYTES_MAX)
            self.link.send(m.Fetch(want, max(self.slots.milli_cpus, 1000), memory))

    def _rest(self) -> float:
        """Seconds reports may rest: there is work for longer, and another report before it is done."""
        return self.slots.queued_seconds / self.slots.workers * _REST_SHARE

    def _withdraw(self) -> None:
        """Take the standing offer back, even if it should be used up: leases and offers may have crossed."""
        self._offered = 0
        self.link.send(m.Fetch(0))

    def _give_back_surplus(self) -> None:
        load = self._load()
        share = offers.surplus(load, self.slots.queued_seconds)
        if share > 0:
            keep = max(load.workers, int(load.queued * (1 - share)))
            self.slots.return_waiting("It would have waited here for long.", keep=keep)

    def _beat(self) -> None:
        held = self.slots.held + (self.reporter.held if self.reporter else [])
        load = {"action": self.permit.action.value, "why": self.permit.why}
        self.link.send(self.pulse.beat(self._clock(), held, load))


def _owner_says(permit: Permit) -> str:
    return "The node's owner does not let it work now: " + " ".join(permit.why)
