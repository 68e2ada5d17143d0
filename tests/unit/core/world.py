"""A small grid for tests: an engine, a store in memory, nodes that work and misbehave, and a group commit between.

Every `do_…` method is one thing that may happen, told by one integer: a state machine draws the integers, a seeded
driver rolls them. Messages reach nodes and submitters only when their batch is committed; a crash loses the
batch under way and everything that was on a wire. `invariants.check` is called after every command.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core import invariants, splitting
from crowdgrid.core.engine import saved
from crowdgrid.core.model import (
    AssignmentKey,
    Chunk,
    Completion,
    Grid,
    Items,
    Job,
    JobSpec,
    Lines,
    Node,
    NodeState,
    Outcome,
    Partial,
    Range,
    Split,
    Task,
    Verdict,
)
from crowdgrid.core.trust.comparison import Exact, Numeric
from crowdgrid.core.unsandboxed import admits
from crowdgrid.errors import CrowdgridError
from tests.unit.core.memory_grid import MemoryGrid, now_done
from tests.unit.core.truth import answer_of, audit, total

T = TypeVar("T")

OWNERS = ("ada", "bob", "eve")
LABELS: tuple[tuple[str, ...], ...] = ((), ("gpu",), ("gpu", "big"))
RUNTIMES = (("wasm",), ("wasm", "python"), ("wasm",), ("python",), ("wasm", "python", "python-pickle"))
TRUSTS: tuple[tuple[str, ...], ...] = ((), ("own",), ("everyone",), ("bob", "own"), ("group:lab",))


class Dice:
    """One integer, as many choices as wanted."""

    def __init__(self, number: int) -> None:
        self.number = number

    def below(self, count: int) -> int:
        self.number, found = divmod(self.number, count)
        return found

    @classmethod
    def for_health(cls) -> Dice:
        """Dice with which a node answers well, and finds no hit."""
        return cls(12 * 8 - 1)

    def pick(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]


class Member:
    """A node as it is outside: what it was sent, what it has finished and not heard of."""

    def __init__(self, record: Node) -> None:
        self.record = record
        self.session = 0
        self.held: dict[AssignmentKey, Task] = {}
        self.spool: dict[AssignmentKey, c.Reported] = {}

    @property
    def number(self) -> int:
        return self.record.number


class World(MemoryGrid):
    """See the module."""

    def __init__(self, ranking: str = "crowd") -> None:
        super().__init__(ranking)
        self.members: dict[int, Member] = {}
        self.jobs: list[int] = []  # numbers somebody was told
        self.sessions = 0
        self.names = 0
        self.verdicts: Counter[str] = Counter()
        self.refused = 0
        self.counted: Counter[AssignmentKey] = Counter()
        self.expected: Counter[tuple[int, AssignmentKey]] = Counter()  # reports sent, less verdicts heard
        self.start()
        self.start()

    # --- the keeper's part -------------------------------------------------------------------

    def start(self) -> None:
        """Start a hub on what the store holds; links and questions under way are gone."""
        self.pending: list[e.Effect] = self.open()
        self.to_read: list[e.Recall] = []
        self.answers: list[c.Recalled] = []
        self.to_check: list[int] = []
        self.folded: c.Put | None = None
        self.expected.clear()
        for member in self.members.values():
            member.session = 0

    def handle(self, command: c.Command) -> list[e.Effect]:
        """Let a command happen, refusals included; a refusal must change nothing."""
        before = saved(self.engine)
        try:
            effects = self.engine.handle(command, self.now)
        except CrowdgridError:
            self.refused += 1
            after = saved(self.engine)
            assert msgspec.structs.replace(after, grid=before.grid) == before, "a refused command changed something"
            effects = []
        invariants.check(self.engine)
        if isinstance(command, c.Plan):
            self._check_trust(effects)
        self.pending += effects
        return effects

    def _check_trust(self, effects: Sequence[e.Effect]) -> None:
        """No plan leases Python to a node that does not trust the job's owner."""
        for effect in effects:
            if isinstance(effect, e.Assign):
                node = self.engine.state.nodes[effect.node].record
                for task, _ in effect.leases:
                    job = self.engine.state.jobs[task.job]
                    assert admits(job.spec.runtime, node.trusts, node.owner, job.owner, job.base.group)

    def commit(self) -> None:
        """Write what is pending, then let it out."""
        effects, self.pending = self.pending, []
        self.write(effects)
        for effect in effects:
            self._deliver(effect)

    def _deliver(self, effect: e.Effect) -> None:
        match effect:
            case e.Assign():
                member = self.members[effect.node]
                if member.session == effect.session:
                    for task, assignment in effect.leases:
                        member.held.setdefault(assignment.key, task)
            case e.Withdraw():
                member = self.members[effect.node]
                if member.session == effect.session:
                    for key in effect.assignments:
                        member.held.pop(key, None)
            case e.Acknowledge():
                self._acknowledged(effect)
            case e.Recall():
                self.to_read.append(effect)
            case e.Check():
                self.to_check.append(effect.job.number)
            case e.CloseLink():
                member = self.members[effect.node]
                if member.session == effect.session:
                    self.part(member)
            case e.Reply(value=Job() as job):
                if job.number not in self.jobs:
                    self.jobs.append(job.number)
            case e.Reply(value=Node() as node):
                if node.number not in self.members:
                    self.members[node.number] = Member(node)
            case _:
                pass

    def _acknowledged(self, effect: e.Acknowledge) -> None:
        for key, verdict in effect.verdicts:
            self.verdicts[verdict.value] += 1
            self.expected[effect.node, key] -= 1
            assert self.expected[effect.node, key] >= 0, "a report got two verdicts"
            self.members[effect.node].spool.pop(key, None)
            self.members[effect.node].held.pop(key, None)
            if verdict is Verdict.COUNTED:
                self.counted[key] += 1
                assert self.counted[key] == 1, "a result was counted twice"

    def part(self, member: Member) -> None:
        session, member.session = member.session, 0
        self.handle(c.Disconnect(member.number, session))

    # --- submitters ----------------------------------------------------------------------------

    def do_submit(self, number: int) -> None:
        dice = Dice(number)
        split = _split(dice)
        runtime = dice.pick(("wasm", "wasm", "python", "python-pickle"))
        completion = Completion(dice.pick((0, 0, 0, 2)), dice.pick((0, 30_000)))
        spec = JobSpec(
            program="a" * 64,
            split=split,
            reduce=dice.pick(("sum", "collect", "sum", "first")),
            priority=dice.pick((0, 0, 1)),
            max_errors=dice.pick((3, 100, 1)),
            stale_ceiling=dice.pick((10, 2, 1)),
            allow_abandoned=bool(dice.below(3)),
            labels=LABELS[dice.pick((0, 0, 0, 1))],
            min_trust=dice.pick((0.0, 0.0, 2.0)),
            milli_cpus=dice.pick((1000, 500)),
            timeout_ms=dice.pick((60_000, 5_000)),
            completion=completion,
            final_after_ms=dice.pick((0, 0, 20_000)),
            runtime=runtime,
            consensus=dice.pick(("single", "single", "majority", "trust_weighted", "bounded_error"))
            if runtime != "python-pickle"  # which runs on nodes of one owner only
            else "single",
            overlap=dice.pick((1, 2, 3)),
            threshold=dice.pick((0.6, 0.9)),
            error_bound=dice.pick((0.5, 0.01)),
            collision=dice.pick((1.0, 1e-6)),
            comparison=Exact() if dice.below(3) else Numeric(),
        )
        owner, name = dice.pick(OWNERS), dice.pick(("", "x", "y"))
        key = dice.pick(("", f"k{dice.below(3)}"))
        known = now_done(self.store.job_keyed(owner, key)) if key else None
        if known or (name and now_done(self.store.job_named(owner, name))):
            return  # as the hub does: what has ended is looked up in the store
        sealed, checked = not splitting.appended(split), bool(dice.below(4))
        group = dice.pick(("", "", "", "lab"))
        self.handle(c.Submit(owner, spec, splitting.units(split), sealed, name, key, group, checked=checked))

    def _job(self, dice: Dice) -> int:
        """A job somebody knows, most often one that runs, and now and then one that never was."""
        if not self.jobs or not dice.below(40):
            return 9_999
        running = [number for number in self.jobs if number in self.engine.state.jobs]
        return dice.pick(running if running and dice.below(4) else self.jobs)

    def do_append(self, number: int) -> None:
        dice = Dice(number)
        job = self._job(dice)
        live = self.engine.state.jobs.get(job)
        if live is not None and not splitting.appended(live.spec.split):
            return
        first = max(0, (live.units if live else 0) + dice.pick((0, 0, 0, 0, -2, 3)))
        count = 1 + dice.below(4)
        self.handle(c.Append(Chunk(job, first, count, count, b"x" * count)))

    def do_seal(self, number: int) -> None:
        self.handle(c.Seal(self._job(Dice(number))))

    def do_check(self, number: int) -> None:
        if self.to_check:
            job = self.to_check.pop(0)
            self.handle(c.Checked(job, "" if Dice(number).below(8) else "It is not a program."))

    def do_pause(self, number: int) -> None:
        self.handle(c.Pause(self._job(Dice(number))))

    def do_resume(self, number: int) -> None:
        self.handle(c.Resume(self._job(Dice(number))))

    def do_cancel(self, number: int) -> None:
        self.handle(c.Cancel(self._job(Dice(number))))

    def do_retry(self, number: int) -> None:
        job = self._job(Dice(number))
        self.handle(c.Retry(job, now_done(self.store.job(job))))

    def do_reprioritise(self, number: int) -> None:
        dice = Dice(number)
        self.handle(c.Reprioritise(self._job(dice), dice.pick((0, 1, 5))))

    def do_attend(self, number: int) -> None:
        dice = Dice(number)
        self.handle(c.Attended(self._job(dice), bool(dice.below(2))))

    # --- nodes -----------------------------------------------------------------------------------

    def do_join(self, number: int) -> None:
        if len(self.members) < 8:
            self.handle(c.Join(self.new_node(Dice(number))))

    def new_node(self, dice: Dice) -> Node:
        self.names += 1
        return Node(
            0,
            self.names.to_bytes(32, "big"),
            dice.pick(OWNERS),
            "lab" if not dice.below(3) else "",
            f"n{self.names}",
            0,
            runtimes=dice.pick(RUNTIMES),
            labels=dice.pick(LABELS),
            milli_cpus=dice.pick((4000, 1000)),
            trust=dice.pick((1.0, 2.5)),
            trusts=dice.pick(TRUSTS),
        )

    def _member(self, dice: Dice, online: bool = True) -> Member | None:
        found = [m for m in self.members.values() if bool(m.session) == online]
        return dice.pick(found) if found else None

    def connect(self, member: Member, trusts: tuple[str, ...] | None = None) -> bool:
        """Open a (newer) link for a node, whose owner may have changed his mind; whether the hub let it."""
        self.sessions += 1
        record = now_done(self.store.node(member.number))
        assert record is not None
        news = trusts is not None and trusts != record.trusts
        record = msgspec.structs.replace(record, trusts=record.trusts if trusts is None else trusts)
        effects = self.handle(c.Connect(record, self.sessions, news))
        if effects:
            member.session = self.sessions
        return bool(effects)

    def do_connect(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice, online=not dice.below(6))
        if member is None:
            return
        greets, slots, cpus = dice.below(8), 1 + dice.below(4), dice.pick((1000, 2000))
        if self.connect(member, dice.pick((None, None, None, *TRUSTS))) and greets:
            self.handle(c.Fetch(member.number, slots, cpus, 1 << 30))

    def do_disconnect(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice)
        if member is None:
            return
        if not dice.below(5):
            self.handle(c.Disconnect(member.number, member.session - 1))  # of an earlier link
        else:
            self.part(member)
            if dice.below(2):
                member.held.clear()  # the machine was switched off; its spool is on disk

    def do_fetch(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice)
        if member is not None:
            self.handle(c.Fetch(member.number, dice.below(6), dice.pick((1000, 500, 2000)), 1 << 30))

    def do_heartbeat(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice)
        if member is None:
            return
        named = [*member.held, *member.spool]
        how = dice.below(6)
        if how == 0:
            named = []
        elif how == 1:
            named = [key for key in named if dice.below(2)]
        elif how == 2:
            others = [key for key in self.engine.state.leases if key not in member.held]
            named += [(9_999, 0, 0), *others[: dice.below(3)]]
        self.handle(c.Heartbeat(member.number, tuple(named)))

    def finish(self, member: Member, key: AssignmentKey, dice: Dice) -> c.Reported:
        """What a node answers for an assignment; it does not change its mind unless told to."""
        known = member.spool.get(key)
        if known is not None:
            return known
        task = member.held.pop(key)
        kind = dice.below(12)
        hit = not dice.below(8)
        outcome = {0: Outcome.PROGRAM_ERROR, 1: Outcome.NODE_ERROR}.get(kind, Outcome.OK)
        payload = answer_of(task) + dice.pick((b"", b"", b"\n", b" ")) if outcome is Outcome.OK else b""
        digest = hashlib.sha256(payload or b"error").digest()
        error = "" if outcome is Outcome.OK else "It went wrong."
        wall_ms = dice.pick((1, 10, 1_000))
        member.spool[key] = c.Reported(
            key, outcome, digest, payload, size=len(payload), error=error, wall_ms=wall_ms, hit=hit and not error
        )
        return member.spool[key]

    def send(self, member: Member, results: Sequence[c.Reported], signature: bytes = b"") -> None:
        for reported in results:
            self.expected[member.number, reported.assignment] += 1
        self.handle(c.Report(member.number, tuple(results), b"l" * 32 if signature else b"", signature))

    def do_report(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice)
        if member is None:
            return
        ready = [*member.spool, *member.held]
        keys = [key for key in ready if dice.below(3)] or ready[:1]
        self.send(member, [self.finish(member, key, dice) for key in keys], b"s" * 64 if dice.below(2) else b"")

    def do_report_badly(self, number: int) -> None:
        """Twice in a frame, something else, somebody else's, or of long ago."""
        dice = Dice(number)
        member = self._member(dice)
        if member is None:
            return
        how = dice.below(4)
        keys = list(self.counted) + [key for other in self.members.values() for key in other.held]
        mine = [*member.spool, *member.held]
        if how == 0 and mine:
            reported = self.finish(member, dice.pick(mine), dice)
            self.send(member, [reported, reported])
        elif keys:
            key = dice.pick(keys) if how < 3 else (9_999, 1, 1)
            text = dice.pick((b"lie", b"another lie"))
            task = now_done(self.store.task(key[0], key[1]))
            outcome = dice.pick((Outcome.OK, Outcome.NODE_ERROR))
            node = member.number if how != 1 else self._holder_of(key, member.number)
            if outcome is Outcome.OK and key in self.engine.state.leases:
                return  # a lie told in time is counted: one vote settles a task here
            payload = answer_of(task) if task is not None else b"0"
            reported = c.Reported(key, outcome, hashlib.sha256(text).digest(), payload)
            self.send(self.members[node], [reported])

    def _holder_of(self, key: AssignmentKey, otherwise: int) -> int:
        rows = now_done(self.store.assignments(key[0], key[1]))
        return next((row.node for row in rows if row.key == key and row.result), otherwise)

    def do_decline(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice)
        if member is not None:
            keys = [key for key in member.held if dice.below(2)] + [(9_999, 0, 0)]
            for key in keys:
                member.held.pop(key, None)
            self.handle(c.Decline(member.number, tuple(keys), "Its owner said so."))

    def do_retract(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice)
        keys = [*self.counted, *(member.held if member else ()), *(member.spool if member else ())]
        if member is None or not keys:
            return
        key = keys[-1 - dice.below(min(len(keys), 8))]
        node = self._holder_of(key, member.number) if dice.below(4) else member.number
        self.members[node].held.pop(key, None)
        self.members[node].spool.pop(key, None)
        self.counted.pop(key, None)
        self.handle(c.Retract(node, key, "Its memory is faulty."))

    def do_remainder(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice)
        if member is None or not member.held:
            return
        key, task = dice.pick(list(member.held.items()))
        at = task.start + dice.below(task.stop - task.start + 1)
        if at < task.stop:
            del member.held[key]
        self.handle(c.Remainder(member.number, key, at))

    def do_update(self, number: int) -> None:
        dice = Dice(number)
        member = self._member(dice, online=bool(dice.below(2)))
        if member is None:
            return
        record = now_done(self.store.node(member.number))
        assert record is not None
        states = (NodeState.ACTIVE, NodeState.DRAINING, NodeState.ACTIVE, NodeState.LEFT)
        state = dice.pick(states) if record.state is not NodeState.LEFT else NodeState.LEFT
        changed = {"name": f"m{dice.below(9)}", "state": state, "milli_cpus": dice.pick((4000, 1000, 7000))}
        self.handle(c.Update(msgspec.structs.replace(record, **changed)))

    # --- the hub -----------------------------------------------------------------------------------

    def do_plan(self, number: int) -> None:
        self.handle(c.Plan())
        if Dice(number).below(3):
            self.commit()

    def do_tick(self, number: int) -> None:
        dice = Dice(number)
        self.commit()  # nothing waits long for its commit
        self.now += dice.pick((250, 250, 4_000, 0, 70_000, 3_600_000, -5_000))
        self.handle(c.Tick(bool(dice.below(3))))

    def do_let_time_pass(self, number: int) -> None:
        """Up to two minutes, the hub awake all the while."""
        for _ in range(1 + Dice(number).below(30)):
            self.commit()
            self.now += 4_000
            self.handle(c.Tick(True))

    def do_commit(self, number: int) -> None:
        self.commit()
        audit(self, self.jobs)

    def do_read(self, number: int) -> None:
        """The store answers a question; the answer has not arrived yet."""
        if self.to_read:
            effect = self.to_read.pop(Dice(number).below(len(self.to_read)))
            self.answers.append(self.read(effect))

    def do_lose_read(self, number: int) -> None:
        """The store could not be read just then."""
        if self.to_read:
            self.to_read.pop(Dice(number).below(len(self.to_read)))

    def do_recalled(self, number: int) -> None:
        if self.answers:
            self.handle(self.answers.pop(Dice(number).below(len(self.answers))))

    def do_fold(self, number: int) -> None:
        """Begin to fold a closed block: its rows are read, what comes of them is kept later."""
        dice = Dice(number)
        job = self._job(dice)
        rows = self.settled(job) if job in self.jobs else []
        if rows:
            block = dice.pick(rows).task.ordinal // limits.BLOCK_TASKS
            mine = [row for row in rows if row.task.ordinal // limits.BLOCK_TASKS == block]
            if len(mine) == limits.BLOCK_TASKS:
                partial = Partial(job, block, str(total(self, job, block)).encode())
                self.folded = c.Put(partial, self.job(job).revision)

    def do_keep_fold(self, number: int) -> None:
        """Have it kept; the engine knows whether it still stands."""
        put, self.folded = self.folded, None
        if put is not None:
            self.handle(put)

    def do_ask_why(self, number: int) -> None:
        dice = Dice(number)
        self.handle(c.Why(job=self._job(dice)))
        if self.members:
            self.handle(c.Why(node=dice.pick(list(self.members))))
        tasks = list(self.engine.state.leases)
        if tasks:
            job, ordinal, _ = dice.pick(tasks)
            self.handle(c.Why(job=job, ordinal=ordinal))
        self.handle(c.Snapshot())

    def do_restart(self, number: int) -> None:
        """Stop the hub in good order and start it: it knows what it knew."""
        while self.pending:
            self.commit()
        before = saved(self.engine)
        self.start()
        after = saved(self.engine)
        whole = {job.number for job in before.jobs if not job.retrying}  # the others find the rest page by page
        assert _of(before.jobs, whole) == _of(after.jobs, whole)
        assert [t for t in before.tasks if t.job in whole] == [t for t in after.tasks if t.job in whole]
        held = [a for a in before.assignments if a.job in whole]
        assert held == [a for a in after.assignments if a.job in whole]
        assert {n.number for n in before.nodes} <= {n.number for n in after.nodes}
        known = {node.number: node for node in after.nodes}
        assert all(known[node.number] == node for node in before.nodes)
        assert msgspec.structs.replace(before.grid, epoch=0) == msgspec.structs.replace(
            after.grid, epoch=0, now=before.grid.now, batch=before.grid.batch
        )

    def do_crash(self, number: int) -> None:
        """The hub is killed: what was not committed never happened."""
        self.pending.clear()
        self.start()
        if Dice(number).below(2):
            self.commit()


def _of(jobs: Sequence[Job], numbers: set[int]) -> list[Job]:
    return [job for job in jobs if job.number in numbers]


def _split(dice: Dice) -> Split:
    piece = dice.pick((0, 1, 3, 2))
    start = dice.below(5)
    splits: tuple[Split, ...] = (
        Range(start, start + 1 + dice.below(20), piece),
        Items(piece),
        Lines(piece),
        Grid((("a", ("1", "2", "3")), ("b", tuple("xyz"[: 1 + dice.below(3)]))), piece),
    )
    return dice.pick(splits)
