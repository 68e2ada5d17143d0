"""A virtual hub: the production engine, a store, and what the keeper does between them, in virtual time.

Commands gather while a commit is under way; a batch of them is handled, a tick and a plan follow when they are due,
what is to be kept is committed, and only then does anything leave (`hub.keeper` has the reasons). A crash loses the
engine, all links and what was not committed; what was committed and not told is found by reconciliation. A second hub
opens the same store, and the first finds at its next commit that it was fenced off.

Silence is judged when somebody may have been silent (`expect_silence`), not at every tick: until then an engine that
is not asked holds all leases. Just before, every node whose time has come and whose heartbeats did arrive says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core import invariants
from crowdgrid.core.engine import restore
from crowdgrid.core.holding import LEASE_MS, RECONNECT_MS
from crowdgrid.core.model import AssignmentKey, Record, key_of
from crowdgrid.errors import CrowdgridError, Fenced
from crowdgrid.simulation.memory import done, recall
from crowdgrid.store import Batch, booking

if TYPE_CHECKING:
    from crowdgrid.simulation.node import Member
    from crowdgrid.simulation.world import World

Waiting = tuple[c.Command, Callable[[Any], None] | None]

_COARSE_MS: Final = 1_000  # silence is judged so exactly


class Hub:
    """See the module.

    Attributes:
        alive: until it crashes or is fenced off. links: by session, the nodes it believes to be linked.
        commands: handled so far, for the full check now and then. refused: commands the engine would not have.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.links: dict[int, Member] = {}
        self.refused = 0
        self._sessions: dict[int, int] = {}  # by node
        self._urgent: deque[Waiting] = deque()
        self._bulk: deque[Waiting] = deque()
        self._woken = self._busy = False
        self._dooms: list[int] = []  # heap of times at which somebody's silence may be due
        self._doomed: dict[int, None] = {}
        timeline = world.timeline
        seed = world.seed.to_bytes(16, "big")
        opened = done(world.store.open(grid_id=seed, id_key=seed))
        self._grid = opened.grid
        self.engine, effects = restore(
            opened.grid,
            opened.jobs,
            opened.tasks,
            opened.assignments,
            opened.nodes,
            timeline.now,
            world.scenario.hub.ranking,
            standings=opened.standings,
            policy=world.policy,
        )
        self._next_tick = timeline.now + limits.TICK_MS
        if opened.assignments:
            self.expect_silence(timeline.now + RECONNECT_MS)
            self.expect_silence(timeline.now + LEASE_MS)
        self._write(effects)
        self._tell(effects)
        for job in done(self._unbooked()):
            self._book_later(job)
        timeline.at(self._next_tick, self._tick)

    # --- links -----------------------------------------------------------------------------------

    def greet(self, member: Member) -> int:
        """A node opened a link: its session."""
        world = self.world
        world.sessions += 1
        session = world.sessions
        self.links[session] = member
        record = done(world.store.node(member.number))
        assert record is not None
        self._put(c.Connect(record, session), lambda _: self._welcome(member, session))
        return session

    def _welcome(self, member: Member, session: int) -> None:
        old = self._sessions.get(member.number)
        if old is not None and old != session:
            self.links.pop(old, None)
        self._sessions[member.number] = session
        if session in self.links:
            self._carry(member, member.welcomed, session)

    def receive(self, session: int, commands: list[c.Command]) -> None:
        """A frame from a node."""
        if self.alive and session in self.links:
            for command in commands:
                self._put(command, None)

    def gone(self, member: Member, session: int) -> None:
        """A node's socket closed."""
        if self.alive and self.links.pop(session, None) is not None:
            # What it held was renewed until now.
            self._put(c.Heartbeat(member.number, self._held(member)), None)
            self._put(c.Disconnect(member.number, session), None)

    def hear_last(self, member: Member, session: int) -> None:
        """A node falls silent on this link: until now it was heard, and from now on its silence counts."""
        if self.alive and session in self.links:
            self._put(c.Heartbeat(member.number, member.names()), None)
            self.expect_silence(self.world.timeline.now + LEASE_MS)

    def _held(self, member: Member) -> tuple[AssignmentKey, ...]:
        run = self.engine.state.nodes.get(member.number)
        return tuple(run.held) if run is not None else ()

    def expect_silence(self, at: int) -> None:
        """Have silence judged when `at` (ms) has passed."""
        at += _COARSE_MS - at % _COARSE_MS
        if at not in self._doomed:
            self._doomed[at] = None
            heappush(self._dooms, at)

    def _carry(self, member: Member, act: Callable[..., None], *given: Any) -> None:
        if not member.dead:
            member.down_at = self.world.network.carry(member, member.down_at, act, *given)

    # --- the keeper ------------------------------------------------------------------------------

    def ask(self, command: c.Command, then: Callable[[Any], None]) -> None:
        """Let `command` happen; `then` is called with the reply, or the refusal, after the commit."""
        self._put(command, then)

    def _put(self, command: c.Command, then: Callable[[Any], None] | None) -> None:
        queue = self._bulk if type(command) is c.Report else self._urgent
        queue.append((command, then))
        if not self._woken:
            self._woken = True
            if not self._busy:
                self.world.timeline.after(0, self._work)

    def _tick(self) -> None:
        if self.alive and not self._busy and not self._woken:
            self._woken = True
            self._work()
        if self.alive:
            self.world.timeline.after(limits.TICK_MS, self._tick)

    def _work(self) -> None:
        """One batch: handle what waits, and begin its commit."""
        if not self.alive or self._busy:
            return
        self._woken = False
        now = self.world.timeline.now
        effects: list[e.Effect] = []
        answers: list[tuple[Callable[[Any], None], Any]] = []
        count = room = 0
        while count < limits.BATCH_COMMANDS and room < limits.BATCH_RESULTS and (self._urgent or self._bulk):
            command, then = (self._urgent or self._bulk).popleft()
            count += 1
            room += len(command.results) if type(command) is c.Report else 1
            self._handle(command, then, effects, answers)
        more = bool(self._urgent or self._bulk)
        if now >= self._next_tick:
            self._next_tick = now + limits.TICK_MS
            judged = not more and bool(self._dooms) and self._dooms[0] <= now
            if judged:
                self._hear(now, effects)
            effects += self.engine.handle(c.Tick(judged), now)
            self.world.commands += 1
        if self.engine.wants_plan:
            effects += self.engine.handle(c.Plan(), now)
            self.world.commands += 1
        self.world.look()
        self._woken = more
        if effects or answers:
            self._busy = True
            self.world.timeline.after(self.world.scenario.hub.commit_ms, self._commit, effects, answers)
        elif more:
            self.world.timeline.after(0, self._work)

    def _handle(
        self,
        command: c.Command,
        then: Callable[[Any], None] | None,
        effects: list[e.Effect],
        answers: list[tuple[Callable[[Any], None], Any]],
    ) -> None:
        self.world.commands += 1
        try:
            found = self.engine.handle(command, self.world.timeline.now)
        except CrowdgridError as error:
            self.refused += 1
            if then is not None:
                answers.append((then, error))
            return
        effects += found
        if then is not None:
            answers.append((then, next((x.value for x in found if type(x) is e.Reply), None)))
        if type(command) is c.Disconnect:
            self.expect_silence(self.world.timeline.now + RECONNECT_MS)

    def _hear(self, now: int, effects: list[e.Effect]) -> None:
        """Have every node that would be judged now, and that has not been silent, say so."""
        while self._dooms and self._dooms[0] <= now:
            del self._doomed[heappop(self._dooms)]
        for number in due(self.engine.state.checks, now):
            member = self.world.members[number]
            session = self._sessions.get(number, 0)
            if session in self.links and member.vouches(session):
                effects += self.engine.handle(c.Heartbeat(number, member.names()), now)
                self.world.commands += 1

    def _commit(self, effects: list[e.Effect], answers: list[tuple[Callable[[Any], None], Any]]) -> None:
        if not self.alive:
            return
        try:
            self._write(effects)
        except Fenced:
            self.end()
            return
        self._busy = False
        if self.world.silenced(self):
            return  # it died between the commit and telling anybody
        for then, value in answers:
            then(value)
        self._tell(effects)
        if self._woken:
            self.world.timeline.after(0, self._work)

    def _write(self, effects: list[e.Effect]) -> None:
        records: dict[Any, Record] = {}
        partials: list[tuple[int, int]] = []
        for effect in effects:
            if type(effect) is e.Save:
                records[key_of(effect.record)] = effect.record
            elif type(effect) is e.DropPartial:
                partials.append((effect.job, effect.block))
        grid = msgspec.structs.replace(self.engine.grid(), epoch=self._grid.epoch, batch=self._grid.batch + 1)
        done(self.world.store.commit(Batch(grid, tuple(records.values()), tuple(partials))))
        self._grid = grid
        self.world.checkers.saw(effects)

    # --- telling ---------------------------------------------------------------------------------

    def _tell(self, effects: list[e.Effect]) -> None:
        frames: dict[int, list[e.Effect]] = {}
        for effect in effects:
            if type(effect) is e.Assign or type(effect) is e.Withdraw:
                frames.setdefault(effect.session, []).append(effect)
            elif type(effect) is e.Acknowledge:
                frames.setdefault(self._sessions.get(effect.node, 0), []).append(effect)
            elif type(effect) is e.Recall:
                self.world.timeline.after(self.world.scenario.hub.read_ms, self._recall, effect)
            elif type(effect) is e.CloseLink:
                self._close(effect)
            elif type(effect) is e.JobChanged and booking.earns(effect.job):
                self._book_later(effect.job.number)
            elif type(effect) is e.Check:
                self._put(c.Checked(effect.job.number), None)
        for session, frame in frames.items():
            member = self.links.get(session)
            if member is not None:
                self._carry(member, member.receive, session, frame)

    def _book_later(self, job: int) -> None:
        self.world.timeline.after(self.world.scenario.hub.read_ms, self._book, job)

    def _book(self, job: int) -> None:
        """What an ended job earned, as the hub's bookkeeping does."""
        if not self.alive:
            return
        entries = done(booking.Books(self.world.store).entries(job, self.world.timeline.now))
        for at in range(0, len(entries), booking.PAGE):
            self._put(c.Book(tuple(entries[at : at + booking.PAGE])), None)

    async def _unbooked(self) -> list[int]:
        return [job async for job in booking.unbooked(self.world.store)]

    def _recall(self, effect: e.Recall) -> None:
        if self.alive:
            self._put(recall(self.world.store, effect), None)

    def _close(self, effect: e.CloseLink) -> None:
        member = self.links.pop(effect.session, None)
        if member is not None:
            self._put(c.Disconnect(effect.node, effect.session), None)
            self._carry(member, member.cut_off, effect.session)

    # --- the end ---------------------------------------------------------------------------------

    def end(self) -> None:
        """It is gone, from one moment to the next."""
        self.alive = False
        links, self.links = self.links, {}
        for session, member in links.items():
            if not member.dead:
                self.world.timeline.after(self.world.network.delay(member), member.cut_off, session)
        if self.world.hub is self:
            self.world.hub = None

    def check(self) -> None:
        """Raises AssertionError with what is wrong in the engine."""
        invariants.check(self.engine)


def due(checks: list[tuple[int, int]], now: int) -> Iterator[int]:
    """The nodes an engine looks at now, each once: the top of its heap, which is not changed."""
    seen: dict[int, None] = {}
    todo = [0]
    while todo:
        at = todo.pop()
        if at < len(checks) and checks[at][0] <= now:
            seen[checks[at][1]] = None
            todo += (2 * at + 1, 2 * at + 2)
    yield from seen
