"""A node of the crowd: it speaks the engine's protocol as the agent does, and is there, or wrong, as its crowd is.

It calls out, greets with what it holds, makes a standing offer, runs what it is leased, and keeps each answer until
it is judged; with every new link it sends again what was not. One report is under way at a time. It finds a dead link
by the silence after a heartbeat.

Heartbeats are not events. As long as a node is there and reachable its heartbeats would only renew; so the hub has
`vouches` asked when a lease would else run out, and hears a last one from those that fall silent.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import AssignmentKey, Node, Outcome, Task, Verdict
from crowdgrid.simulation import availability
from crowdgrid.simulation.behaviour import Mind
from crowdgrid.simulation.streams import Stream, draw, key_of, spread
from crowdgrid.simulation.timeline import START_MS

if TYPE_CHECKING:
    from crowdgrid.simulation.crowd import Group
    from crowdgrid.simulation.hub import Hub

_BEAT_MS: Final = 15_000  # silence after a heartbeat that means the link is dead, as in the agent
_HEARTBEAT_MS: Final = limits.HEARTBEAT_SECONDS * 1000
_RETRY_FIRST_MS, _RETRY_SOON_MS, _RETRY_MS = 250, 1_500, 30_000
_SOON_TRIES: Final = 16
_JOINING: Final = -1
_DRAWS: Final = 8  # of one task's chances


class Member:
    """See the module.

    Attributes:
        place: its number in the world, 0 …; number: the hub's, 0 or less before it has joined.
        session: of its link, 0 none. up: the hub has welcomed it. dead: its link is, and nobody has noticed.
    """

    __slots__ = (
        "boots",
        "dead",
        "down_at",
        "frames",
        "group",
        "held",
        "hub",
        "luck",
        "mind",
        "number",
        "offered",
        "online",
        "owner",
        "place",
        "running",
        "session",
        "speed",
        "spool",
        "started",
        "stream",
        "tries",
        "under_way",
        "unsent",
        "up",
        "up_at",
        "waiting",
    )  # fmt: skip

    def __init__(self, group: Group, place: int, within: int) -> None:
        seed = group.world.seed
        spec = group.spec
        self.group = group
        self.place = place
        self.number = 0
        owners = spec.owners or spec.count
        self.owner = f"{spec.name}-{within % owners}"
        self.mind = Mind(spec.behaviour, seed, group.index, within)
        self.stream = Stream(seed, "availability", group.index, within)
        self.luck = key_of(seed, "luck", group.index, within)
        self.speed = spec.speed * spread(draw(key_of(seed, "speed", group.index, within), 0), spec.speed_spread)
        self.online = self.up = self.dead = False
        self.session = self.boots = self.tries = self.frames = self.offered = self.started = 0
        self.up_at = self.down_at = 0
        self.hub: Hub | None = None
        # Most nodes of a large crowd hold nothing: these are made when they are needed.
        self.held: dict[AssignmentKey, Task] = _NO_TASKS
        self.running: dict[AssignmentKey, int] = _NO_TIMES  # when each is done
        self.waiting: deque[AssignmentKey] = _NO_KEYS
        self.spool: dict[AssignmentKey, c.Reported] = _NO_REPORTS
        self.unsent: list[c.Reported] = _NOTHING
        self.under_way: dict[AssignmentKey, None] = _NO_MARKS

    # --- being there -----------------------------------------------------------------------------

    def begin(self) -> None:
        """The run begins for this node."""
        self._turn(availability.first(self.group.spec.availability, self.stream, self._since()))

    def _since(self) -> int:
        return self.group.world.timeline.now - START_MS

    def _turn(self, turn: availability.Turn) -> None:
        world = self.group.world
        if turn.on and not self.online:
            self.online = True
            world.online += 1
            self.connect(self.boots)
        elif not turn.on and self.online:
            self.leave(silent=self.stream.chance(availability.silent_share(self.group.spec.availability)))
        if turn.ms >= 0:
            world.timeline.after(turn.ms, self._change, turn.on)

    def _change(self, was_on: bool) -> None:
        self._turn(availability.then(self.group.spec.availability, was_on, self.stream, self._since()))

    def leave(self, *, silent: bool) -> None:
        """Switched off: what it was working on is lost, what it has answered is on its disk."""
        if not self.online:
            return
        world = self.group.world
        self.online = False
        world.online -= 1
        self.boots += 1
        session, hub = self.session, self.hub
        if session and hub is not None:
            if silent and not self.dead:
                hub.hear_last(self, session)
            elif not self.dead:
                self.up_at = world.network.carry(self, self.up_at, hub.gone, self, session)
        self._unlink()
        self.held, self.running, self.waiting = _NO_TASKS, _NO_TIMES, _NO_KEYS

    def come_back(self, boots: int) -> None:
        """Switched on again, unless it was meanwhile."""
        if not self.online and self.boots == boots:
            self.online = True
            self.group.world.online += 1
            self.connect(boots)

    # --- the link --------------------------------------------------------------------------------

    def connect(self, boots: int) -> None:
        """Call out, or try again later."""
        world = self.group.world
        if not self.online or self.boots != boots or self.session:
            return
        if self.number <= 0:
            if not self.number:
                self._join()
            return
        opens_at = world.network.opens_at(self)
        if opens_at > world.timeline.now:
            world.timeline.at(opens_at + self._pause(), self.connect, boots)
        elif world.hub is None:
            world.timeline.after(self._pause(), self.connect, boots)
        else:
            world.timeline.after(world.network.delay(self), self._knock, world.hub, boots)

    def _join(self) -> None:
        spec, world = self.group.spec, self.group.world
        self.number = _JOINING
        record = Node(
            0,
            self.place.to_bytes(32, "big"),
            self.owner,
            "",
            f"{spec.name}-{self.place}",
            0,
            runtimes=("wasm",),
            milli_cpus=spec.cores * 1000,
            memory_bytes=spec.memory_mb << 20,
            trust=spec.trust,
        )
        world.clients.ask(c.Join(record), self._joined, known=lambda store: store.node_keyed(record.key))

    def _joined(self, record: Node) -> None:
        self.number = record.number
        self.group.world.members[record.number] = self
        self.connect(self.boots)

    def _knock(self, hub: Hub, boots: int) -> None:
        world = self.group.world
        if not self.online or self.boots != boots or self.session:
            return
        if not hub.alive:
            world.timeline.after(self._pause(), self.connect, boots)
            return
        self.hub = hub
        self.session = hub.greet(self)
        self.up_at = self.down_at = 0

    def welcomed(self, session: int) -> None:
        """The hub has taken the link up: say what is here."""
        if session != self.session:
            return
        self.up = True
        self.tries = 0
        self.offered = 0
        self.unsent = list(self.spool.values())
        self.under_way = {}
        self._go_on([c.Heartbeat(self.number, self.names())])

    def cut(self) -> None:
        """A partition begins between this node and the hub."""
        if self.session and not self.dead and self.hub is not None:
            self.hub.hear_last(self, self.session)
            self.notice_later(self.session)

    def die(self) -> None:
        """The link is dead, and nobody is told."""
        if self.session and not self.dead:
            self.dead = True
            if self.hub is not None:
                self.hub.hear_last(self, self.session)
            self.notice_later(self.session)

    def notice_later(self, session: int) -> None:
        """The next heartbeat will not be answered: the node notices within a beat and its silence."""
        self.frames += 1
        wait = _BEAT_MS + int(draw(self.luck, -self.frames) * _HEARTBEAT_MS)
        self.group.world.timeline.after(wait, self.noticed, session)

    def noticed(self, session: int) -> None:
        """The silence has lasted too long, if it still does."""
        if session == self.session and (self.dead or self.group.world.network.cut(self)):
            self.cut_off(session)

    def cut_off(self, session: int) -> None:
        """The link is gone, and the node knows."""
        if session and session == self.session:
            self._unlink()
            self.group.world.timeline.after(self._pause(), self.connect, self.boots)

    def _unlink(self) -> None:
        self.session = 0
        self.hub = None
        self.up = self.dead = False
        self.offered = 0

    def _pause(self) -> int:
        """Full jitter, short while the loss is fresh."""
        self.tries += 1
        self.frames += 1
        cap = _RETRY_SOON_MS if self.tries <= _SOON_TRIES else _RETRY_MS
        return 1 + int(draw(self.luck, -self.frames) * min(_RETRY_FIRST_MS << min(self.tries, 16), cap))

    def vouches(self, session: int) -> bool:
        """Whether its heartbeats on this link have reached the hub."""
        return session == self.session and not self.dead and not self.group.world.network.cut(self)

    def names(self) -> tuple[AssignmentKey, ...]:
        """What a heartbeat names: all that is held, waiting, running or answered and not judged."""
        return (*self.held, *self.spool)

    # --- what the hub says -----------------------------------------------------------------------

    def receive(self, session: int, effects: list[e.Effect]) -> None:
        """A frame from the hub."""
        if session != self.session:
            return
        more: list[c.Command] = []
        for effect in effects:
            if type(effect) is e.Assign:
                if self._assigned(effect, more):
                    return
            elif type(effect) is e.Acknowledge:
                self._acknowledged(effect)
            elif type(effect) is e.Withdraw:
                self._withdrawn(effect)
        if self.up:
            self._go_on(more)

    def _assigned(self, effect: e.Assign, more: list[c.Command]) -> bool:
        """Take leases. True: it is gone with them."""
        group = self.group
        if self.held is _NO_TASKS:
            self.held, self.running, self.waiting = {}, {}, deque()
        for task, assignment in effect.leases:
            key = assignment.key
            if key in self.held or key in self.spool:
                continue
            self.started += 1
            if group.fickle and self._refuses(key, task, more):
                continue
            self.held[key] = task
            self.waiting.append(key)
            group.world.expect(self, task, assignment)
        self.offered = max(0, self.offered - len(effect.leases))
        if group.leavers and self.mind.leaves():
            self.leave(silent=True)
            group.world.timeline.after(group.away_ms, self.come_back, self.boots)
            return True
        return False

    def _refuses(self, key: AssignmentKey, task: Task, more: list[c.Command]) -> bool:
        spec, at = self.group.spec, self.started * _DRAWS
        if draw(self.luck, at) < spec.declines:
            more.append(c.Decline(self.number, (key,), "Its owner does not want it."))
            return True
        if draw(self.luck, at + 1) < spec.gives_back:
            more.append(c.Remainder(self.number, key, task.start))
            return True
        return False

    def _acknowledged(self, effect: e.Acknowledge) -> None:
        world = self.group.world
        for key, verdict in effect.verdicts:
            world.verdicts[verdict] += 1
            self.under_way.pop(key, None)
            if self.spool.pop(key, None) is not None:
                self.group.verdicts[verdict] += 1
            if verdict is Verdict.COUNTED and self.group.fickle:
                self._regret(key)

    def _regret(self, key: AssignmentKey) -> None:
        self.started += 1
        if draw(self.luck, self.started * _DRAWS + 2) < self.group.spec.retracts:
            self.group.world.timeline.after(_HEARTBEAT_MS, self._retract, key)

    def _retract(self, key: AssignmentKey) -> None:
        if self.up:
            self._send([c.Retract(self.number, key, "Its memory is faulty.")])

    def _withdrawn(self, effect: e.Withdraw) -> None:
        for key in effect.assignments:
            self.running.pop(key, None)
            self.held.pop(key, None)
            self.under_way.pop(key, None)
            if self.spool.pop(key, None) is not None:
                self.unsent = [each for each in self.unsent if each.assignment != key]

    # --- work ------------------------------------------------------------------------------------

    def _go_on(self, commands: list[c.Command]) -> None:
        """Start what can be, report what is done, offer what is free."""
        group = self.group
        slots = group.slots
        while self.waiting and len(self.running) < slots:
            key = self.waiting.popleft()
            task = self.held.get(key)
            if task is not None and key not in self.running:
                self._start(key, task)
        if not self.up:
            return
        if self.unsent and not self.under_way:
            batch, self.unsent = self.unsent[: limits.FRAME_TASKS], self.unsent[limits.FRAME_TASKS :]
            self.under_way = dict.fromkeys([each.assignment for each in batch])
            commands.append(c.Report(self.number, tuple(batch)))
        want = max(0, slots * (1 + group.spec.ahead) - len(self.held))
        if want != self.offered:
            self.offered = want
            commands.append(c.Fetch(self.number, want, group.slot_milli_cpus, group.slot_bytes))
        if commands:
            self._send(commands)

    def _start(self, key: AssignmentKey, task: Task) -> None:
        group = self.group
        world = group.world
        took = int(group.pace * world.truths[task.job].work_ms(task) / self.speed)
        if group.spec.noise:
            took = int(took * spread(draw(self.luck, self.started * _DRAWS + 3), group.spec.noise))
        took = max(took, 1)
        self.running[key] = world.timeline.now + took
        world.timeline.after(took, self._finish, key, took)

    def _finish(self, key: AssignmentKey, took: int) -> None:
        world = self.group.world
        now = world.timeline.now
        if self.running.get(key) != now:
            return  # withdrawn, or lost when it was switched off
        del self.running[key]
        task = self.held.pop(key)
        if self.spool is _NO_REPORTS:
            self.spool, self.under_way = {}, {}
        reported = self.spool[key] = self._answer(key, task, took)
        self.unsent = [*self.unsent, reported]
        self._go_on([])

    def _answer(self, key: AssignmentKey, task: Task, took: int) -> c.Reported:
        group = self.group
        world = group.world
        group.answered += 1
        self.started += 1
        if group.spec.breaks and draw(self.luck, self.started * _DRAWS + 4) < group.spec.breaks:
            group.broke += 1
            return c.Reported(key, Outcome.NODE_ERROR, _BROKEN, error="Its disk is full.", wall_ms=took)
        told = self.mind.answer(world.truths[task.job], task, self._since(), world.board)
        group.wrong += told.wrong
        payload = told.payload
        if world.board is not None:
            world.board.post(task, payload)
        claimed = int(took * told.claims)
        return c.Reported(
            key,
            Outcome.OK,
            sha256(payload).digest(),
            payload,
            "",
            len(payload),
            cpu_ms=claimed,
            wall_ms=claimed,
            hit=payload != b"none",
        )

    def _send(self, commands: list[c.Command]) -> None:
        if self.dead or self.hub is None:
            return
        network = self.group.world.network
        self.up_at = network.carry(self, self.up_at, self.hub.receive, self.session, commands)


# Shared by all nodes that hold nothing; never written to.
_NO_TASKS: Final[dict[AssignmentKey, Task]] = {}
_NO_TIMES: Final[dict[AssignmentKey, int]] = {}
_NO_KEYS: Final[deque[AssignmentKey]] = deque(maxlen=0)
_NO_REPORTS: Final[dict[AssignmentKey, c.Reported]] = {}
_NO_MARKS: Final[dict[AssignmentKey, None]] = {}
_NOTHING: Final[list[c.Reported]] = []
_BROKEN: Final = sha256(b"broken").digest()
