"""A grid for directed tests: each command is handled, checked and committed at once, questions are answered at once."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core import invariants, splitting
from crowdgrid.core.model import AssignmentKey, Chunk, Job, JobSpec, Node, Outcome, Range, Split, Verdict
from crowdgrid.core.state import JobRun
from crowdgrid.core.trust.policy import POLICY, Policy
from tests.unit.core.memory_grid import MemoryGrid, now_done

E = TypeVar("E")

GB = 1 << 30


class Rig(MemoryGrid):
    """See the module. Numbers of jobs and nodes count from 1."""

    def __init__(self, ranking: str = "priority_fit", policy: Policy = POLICY) -> None:
        super().__init__(ranking, policy)
        self.sessions = 0
        self.deaf = False  # no question to the store is answered

    def do(self, command: c.Command, after: int = 0) -> list[e.Effect]:
        """Let `after` ms pass, then the command happen; its effects, with those of what the store answered."""
        self.now += after
        effects = self.engine.handle(command, self.now)
        invariants.check(self.engine)
        self.write(effects)
        for effect in list(effects):
            if isinstance(effect, e.Recall) and not self.deaf:
                effects = effects + self.do(self.read(effect))
        return effects

    def restart(self) -> list[e.Effect]:
        """Stop the hub and start it again; what it did at once."""
        effects = self.open()
        self.write(effects)
        for recall in of(e.Recall, effects):
            effects = effects + self.do(self.read(recall))
        return effects

    def reply(self, command: c.Command) -> Any:
        """What the command is answered."""
        return next(effect.value for effect in self.do(command) if isinstance(effect, e.Reply))

    # --- submitters ---

    def submit(
        self,
        split: Split | None = None,
        *,
        owner: str = "ada",
        name: str = "",
        key: str = "",
        group: str = "",
        checked: bool = True,
        **spec: Any,
    ) -> int:
        """Open a job of ten pieces of one unit, unless told otherwise; its number."""
        split = split or Range(0, 10, 1)
        full = JobSpec(program="a" * 64, split=split, **spec)
        job: Job = self.reply(
            c.Submit(owner, full, splitting.units(split), name=name, key=key, group=group, checked=checked)
        )
        return job.number

    def cancel(self, job: int) -> None:
        """End a job at its owner's word."""
        self.do(c.Cancel(job, "No longer needed."))

    def append(self, job: int, first: int, count: int, *, size: int = 0) -> e.Appended:
        """Append `count` units; with `size` (bytes, together) they are kept as a blob."""
        chunk = Chunk(job, first, count, size, blob="b" * 64) if size else Chunk(job, first, count, count, b"x")
        appended: e.Appended = self.reply(c.Append(chunk))
        return appended

    def run(self, job: int) -> JobRun:
        """The job as it is in the engine's memory."""
        return self.engine.state.jobs[job]

    # --- nodes ---

    def node(self, slots: int = 0, *, milli_cpus: int = 1000, memory_bytes: int = GB, **fields: Any) -> int:
        """A node joins, connects and offers `slots`; its number."""
        fields = {"owner": "olga", "group": "", "name": "n", "runtimes": ("wasm",), "milli_cpus": 4000, **fields}
        fields.setdefault("memory_bytes", 8 * GB)
        key = (self.engine.state.last_node + 1).to_bytes(32, "big")
        number: int = self.reply(c.Join(Node(0, key, created_at=0, **fields))).number
        self.connect(number)
        if slots:
            self.fetch(number, slots, milli_cpus=milli_cpus, memory_bytes=memory_bytes)
        return number

    def connect(self, node: int) -> list[e.Effect]:
        self.sessions += 1
        return self.do(c.Connect(self.record(node), self.sessions))

    def disconnect(self, node: int) -> list[e.Effect]:
        return self.do(c.Disconnect(node, self.engine.state.nodes[node].session))

    def record(self, node: int) -> Node:
        found = now_done(self.store.node(node))
        assert found is not None
        return found

    def fetch(self, node: int, slots: int, *, milli_cpus: int = 1000, memory_bytes: int = GB) -> None:
        self.do(c.Fetch(node, slots, milli_cpus, memory_bytes))

    def plan(self) -> list[AssignmentKey]:
        """Hand out work; what was leased, in order."""
        return [assignment.key for _, assignment in self.leases()]

    def leases(self) -> list[tuple[int, Any]]:
        """Hand out work; (node, assignment), in order."""
        sent = of(e.Assign, self.do(c.Plan()))
        return [(assign.node, assignment) for assign in sent for _, assignment in assign.leases]

    def report(
        self, node: int, *keys: AssignmentKey, outcome: Outcome = Outcome.OK, answer: bytes = b"1", **fields: Any
    ) -> list[Verdict]:
        """A node delivers results; the verdicts, in order."""
        results = tuple(reported(key, outcome, answer, **fields) for key in keys)
        acknowledged = of(e.Acknowledge, self.do(c.Report(node, results)))
        return [verdict for effect in acknowledged for _, verdict in effect.verdicts]

    def do_report(self, node: int, *keys: AssignmentKey, **fields: Any) -> list[e.Effect]:
        """A node delivers results; all that comes of it."""
        return self.do(c.Report(node, tuple(reported(key, **fields) for key in keys)))

    def retract(self, node: int, key: AssignmentKey) -> list[e.Effect]:
        """A node takes an answer back."""
        return self.do(c.Retract(node, key, "It was not sure."))

    @property
    def kind(self) -> str:
        """What histories with the jobs of this rig count for."""
        return "a" * 16

    def finish(self, job: int, node: int) -> None:
        """Have one node do all there is."""
        for _ in range(100):
            self.fetch(node, 100)
            keys = self.plan()
            if not keys:
                return
            self.report(node, *keys)
        raise AssertionError(f"job {job} does not end")

    # --- time ---

    def wait(self, ms: int, *, idle: bool = True, beat: tuple[int, tuple[AssignmentKey, ...]] | None = None) -> Any:
        """Let time pass with the hub awake; `beat`: a node and what it names in a heartbeat each second."""
        effects: list[e.Effect] = []
        end = self.now + ms
        while self.now < end:
            step = min(1_000, end - self.now)
            if beat is not None:
                effects += self.do(c.Heartbeat(*beat), after=step)
                step = 0
            effects += self.do(c.Tick(idle), after=step)
        return effects

    def sleep(self, ms: int) -> list[e.Effect]:
        """Let time pass with the hub's machine asleep."""
        return self.do(c.Tick(True), after=ms)


def of(kind: type[E], effects: list[e.Effect]) -> list[E]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def reported(key: AssignmentKey, outcome: Outcome = Outcome.OK, answer: bytes = b"1", **fields: Any) -> c.Reported:
    """A result of `key`."""
    error = fields.pop("error", "" if outcome is Outcome.OK else "It went wrong.")
    wall_ms = fields.pop("wall_ms", 5)
    digest = hashlib.sha256(answer).digest()
    payload = answer if outcome is Outcome.OK else b""
    return c.Reported(key, outcome, digest, payload, size=len(payload), error=error, wall_ms=wall_ms, **fields)


LEASE_MS = limits.LEASE_SECONDS * 1000
RECONNECT_MS = limits.RECONNECT_SECONDS * 1000
