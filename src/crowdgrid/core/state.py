"""What the engine has in memory: every open job, task and assignment, and every node that is here.

The classes here are the only mutable things of the engine. What must survive a restart is in the frozen
records they carry or make (`JobRun.record()`); the rest (offers, measured rates, renewals) is found again by
reconciliation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from crowdgrid import limits
from crowdgrid.core.commands import Recalled, Reported
from crowdgrid.core.effects import Effect, Recall, Save
from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    Counts,
    GridRow,
    Job,
    Node,
    Record,
    Standing,
    Task,
)
from crowdgrid.core.trust.policy import Policy
from crowdgrid.core.trust.standings import Standings, kind_of
from crowdgrid.core.trust.votes import Ballot

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.eligibility import Needs


class Lease:
    """An open assignment: when its lease runs out unless renewed, and when it ends in any case."""

    __slots__ = ("assignment", "deadline_at", "expires_at", "finished", "missed")

    def __init__(self, assignment: Assignment, now: int, lease_ms: int) -> None:
        self.assignment = assignment
        self.expires_at = now + lease_ms
        self.deadline_at = now + assignment.deadline_ms
        self.finished = False  # its node said that it is done and only has to be reported
        self.missed = 0  # heartbeats in a row that did not name it


class JobRun:
    """A job that has not ended, with its open tasks and its queue."""

    __slots__ = (
        "abandoned",
        "alarm_at",
        "alone",
        "attended",
        "ballots",
        "base",
        "cursor",
        "declined",
        "ended_at",
        "errors",
        "failed",
        "here",
        "hit",
        "in_progress",
        "in_queue",
        "kind",
        "known",
        "lane",
        "looked_over",
        "lost",
        "nodes_back_at",
        "number",
        "open",
        "orphan_at",
        "owner",
        "page",
        "paused",
        "pool",
        "priority",
        "proved",
        "queue",
        "rank",
        "rate",
        "rates",
        "reason",
        "refusals",
        "reopened",
        "replicates",
        "rested",
        "retrying",
        "returning",
        "revision",
        "sealed",
        "short",
        "skips",
        "spec",
        "split",
        "state",
        "tasks",
        "turnarounds",
        "unit_bytes",
        "units",
        "units_cut",
        "units_done",
        "validated",
        "weights",
    )

    def __init__(self, job: Job) -> None:
        counts = job.counts
        self.base = job
        self.number, self.owner = job.number, job.owner
        self.spec = job.spec
        self.replicates = job.spec.consensus != "single"  # more than one node may work on a task
        self.kind = kind_of(job.spec)  # of program, for what its nodes are worth
        self.priority = job.spec.priority
        self.state, self.paused, self.reason = job.state, job.paused, job.reason
        self.hit = job.hit
        self.revision = job.revision
        self.ended_at = job.ended_at
        self.sealed, self.retrying = job.sealed, job.retrying
        self.units = counts.units
        self.units_cut, self.units_done = counts.units_cut, counts.units_done
        self.tasks = counts.tasks
        self.in_queue = self.in_progress = 0
        self.validated = counts.validated
        self.split, self.abandoned = counts.split, counts.abandoned
        self.errors, self.lost = counts.errors, counts.lost
        self.unit_bytes = counts.unit_bytes
        heavy = [(self.units_cut, self.units, self.unit_bytes)] if self.unit_bytes else []
        self.weights = deque(each for each in heavy if each[0] < each[1])  # (first, stop, bytes each) not cut yet
        self.open: dict[int, Task] = {}
        self.ballots: dict[int, Ballot] = {}  # of open tasks, as far as there are votes
        self.short: set[int] = set()  # tasks in progress that want one more node
        self.queue: list[int] = []  # heap of ordinals that want a node; may name tasks that want none any more
        self.rate = 0.0  # units per ms on the mean node
        self.rates: dict[int, float] = {}  # the same by node
        self.proved = 0  # largest piece whose time was measured
        self.declined: dict[int, int] = {}  # node → not before
        self.refusals: dict[int, str] = {}  # node → why it declined, if it said
        self.rested: set[int] = set()  # of those in `declined`, who is there because its answers were mostly wrong
        self.failed: dict[int, int] = {}  # node → tasks in a row it could not run
        self.attended = 0  # clients that have it in hand
        self.orphan_at = 0  # when it is sealed if nobody comes back; 0 not counting
        self.alarm_at = 0  # when it is looked at next for what its time brings; 0 not at all
        self.skips = 0  # plans in a row in which those who could run it had declined
        self.pool: Pool | None = None  # the offers that suit it
        self.lane: Lane | None = None  # its place in the active queue …
        self.rank: tuple[float, int] | None = None  # … and its rank there; None in the backlog
        self.returning = 0  # ordinals below this may be open in the store and not here yet: it had ended …
        self.here: set[int] = set()  # … but not these, opened again since it came back
        self.reopened = 0  # tasks of it, since the engine began: what was read before may be out of date
        self.alone = counts.validated > 0  # a node may have answered a task alone
        self.nodes_back_at = 0  # after a restart: when nodes have had the time to open their links again
        self.turnarounds: deque[int] = deque(maxlen=limits.TURNAROUNDS_KEPT)  # ms, of the last tasks that were reported
        self.known: deque[Known] = deque(maxlen=limits.CANARIES_KEPT)  # settled tasks that may be canaries
        self.looked_over = False  # what nodes answered alone at last was compared, see `closing`
        self.page = 0  # the `Recall` under way that opens failed tasks again; 0 none …
        self.cursor: tuple[int, ...] = ()  # … and where its page begins

    def counts(self) -> Counts:
        """Its counters as a record."""
        return Counts(
            self.units,
            self.units_cut,
            self.units_done,
            self.tasks,
            self.in_queue,
            self.in_progress,
            self.validated,
            self.split,
            self.abandoned,
            self.errors,
            self.lost,
            self.unit_bytes,
        )

    def record(self) -> Job:
        """The job as it is now."""
        b = self.base
        return Job(
            b.number,
            b.owner,
            b.group,
            b.name,
            b.key,
            b.created_at,
            self.state,
            self.spec,
            self.counts(),
            self.paused,
            self.reason,
            self.hit,
            self.revision,
            self.ended_at,
            b.origin,
            b.format,
            self.sealed,
            self.retrying,
        )

    @property
    def has_work(self) -> bool:
        """Whether something could be leased now."""
        return self.in_queue > 0 or self.units_cut < self.units or bool(self.short)


class NodeRun:
    """A node that is connected, holds assignments, or has voted on an open task."""

    __slots__ = (
        "check_at",
        "given",
        "heard_at",
        "held",
        "key",
        "memory_bytes",
        "milli_cpus",
        "record",
        "session",
        "since",
        "slots",
        "votes",
    )

    def __init__(self, record: Node, now: int) -> None:
        self.record = record
        self.session = 0  # 0: no link
        self.since = now  # when it was opened
        self.given = 0  # assignments since then
        self.heard_at = now
        self.check_at = 0  # when it is looked at next for leases run out
        self.held: dict[AssignmentKey, Lease] = {}
        self.votes = 0  # on open tasks
        self.slots = 0  # the standing offer: what is left of it …
        self.milli_cpus = 0  # … and what one slot can take
        self.memory_bytes = 0
        self.key: tuple[int, int, int, float, int] | None = None  # its place in the pools; None no offer


class Known(NamedTuple):
    """A settled task that may be a canary: for nodes and owners that have not seen it."""

    task: Task
    nodes: set[int]
    owners: set[str]


class Canary(msgspec.Struct, frozen=True, gc=False):
    """A task whose answer is known, and who has it once more; see `canaries`."""

    assignment: Assignment
    task: Task


class Doubting:
    """A node's answers being looked at again: the jobs that are left, and whether it has fallen further since."""

    __slots__ = ("again", "jobs")

    def __init__(self, jobs: list[int]) -> None:
        self.jobs = jobs
        self.again = False


class Pool:
    """The standing offers that suit all jobs of the same needs; see `scheduling.offers`."""

    __slots__ = ("came", "jobs", "needs", "offers", "pressure", "skips")

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.jobs = 0  # in memory, with these needs
        self.offers: list[tuple[int, int, int, float, int]] = []  # sorted
        self.skips = 0  # plans since a node that suits last made an offer
        self.came = 0.0  # of the last offers, how many suited
        self.pressure = 1.0  # see `scheduling.scarcity`


class Line:
    """One owner's jobs in a lane: the first ones ranked, the others in the order of submission."""

    __slots__ = ("active", "backlog")

    def __init__(self) -> None:
        self.active: list[tuple[float, int]] = []  # sorted
        self.backlog: list[int] = []  # heap; may name jobs that have left


class Lane:
    """Jobs of one priority and one kind of need that have something to lease; see `scheduling.ready`."""

    __slots__ = ("lines", "pool", "shares")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.lines: dict[str, Line] = {}  # by owner
        self.shares: list[tuple[float, float, int, str]] = []  # heap of (share, rank of the first job, owner)


class Late(msgspec.Struct, frozen=True):
    """A result that waits for the store to say what it belongs to."""

    node: int
    reported: Reported
    signature: int


class Usage:
    """What an owner used lately, in ms of run time, decayed; and what is under way."""

    __slots__ = ("at", "under_way", "used")

    def __init__(self, now: int) -> None:
        self.used = 0.0
        self.at = now
        self.under_way = 0

    def share(self, now: int) -> float:
        """Use that counts against the owner now (β = .5^(Δt / half-life))."""
        if now != self.at:
            self.used *= 0.5 ** ((now - self.at) / limits.SHARE_HALF_LIFE_MS)
            self.at = now
        return self.used + self.under_way

    def add(self, now: int, wall_ms: int) -> None:
        """Book what a task took."""
        self.share(now)  # what was used before decays first
        self.used += wall_ms


class State:
    """Everything in memory, and the effects of the command being handled."""

    def __init__(self, grid: GridRow, now: int, policy: Policy) -> None:
        self.grid = grid
        self.policy = policy
        self.standings = Standings(policy)
        self.now = now
        self.last_tick = now
        self.last_job = grid.jobs
        self.last_node = grid.nodes
        self.last_signature = grid.signatures
        self.last_token = grid.tokens
        self.last_invitation = grid.invitations
        self.last_recall = 0
        self.jobs: dict[int, JobRun] = {}
        self.nodes: dict[int, NodeRun] = {}
        self.leases: dict[AssignmentKey, Lease] = {}
        self.names: dict[tuple[str, str], int] = {}  # (owner, name) of open jobs, and of those that ended just now
        self.keys: dict[tuple[str, str], int] = {}  # (owner, idempotency key) of the same
        self.ended: deque[tuple[int, int, str, str, str]] = deque()  # (when forgotten, job, owner, name, key)
        self.offering: dict[int, NodeRun] = {}  # nodes with a standing offer
        self.pools: dict[Needs, Pool] = {}  # the offers, by what jobs need
        self.cores = 0  # of the nodes that are connected
        self.speeds = 0.0  # of those that measured theirs, together …
        self.measured = 0  # … and how many these are
        self.checks: list[tuple[int, int]] = []  # heap of (check_at, node)
        self.alarms: list[tuple[int, int]] = []  # heap of (alarm_at, job)
        self.woken: dict[int, JobRun] = {}  # jobs that may have something to lease, for the next plan
        self.levels: dict[int, dict[Needs, Lane]] = {}  # the active queue, by priority
        self.came = 0.0  # offers, of late
        self.ordered_at = now
        self.eased: dict[str, None] = {}  # owners with less under way than at the last plan
        self.usage: dict[str, Usage] = {}
        self.owned: dict[str, int] = {}  # jobs in memory, by owner
        # Each `Recall` under way: when it was asked (oldest first), and what it is for.
        self.recalls: dict[int, tuple[int, Recall, Callable[[State, Recalled], None]]] = {}
        self.late: dict[AssignmentKey, Late | None] = {}  # results waiting for the store; None: withdrawn meanwhile
        self.speculated_at = 0
        self.canaries: dict[AssignmentKey, Canary] = {}
        self.last_canary = now  # a number for each that could have been given
        self.whole: dict[int, JobRun] = {}  # jobs that would be complete but for a last look
        self.moved: list[tuple[Standing, float]] = []  # in this command: standings, with the doubt there was before
        self.doubting: dict[tuple[int, str], Doubting] = {}  # by node and kind
        self.dirty: dict[int, JobRun] = {}
        self.out: list[Effect] = []

    def emit(self, effect: Effect) -> None:
        """Have `effect` performed after the commit."""
        self.out.append(effect)

    def save(self, record: Record) -> None:
        """Have `record` committed."""
        self.out.append(Save(record))

    def touch(self, job: JobRun) -> None:
        """Have `job` saved and announced once, at the end of this command."""
        self.dirty[job.number] = job

    def use_of(self, owner: str) -> Usage:
        """The owner's usage account."""
        usage = self.usage.get(owner)
        if usage is None:
            usage = self.usage[owner] = Usage(self.now)
        return usage

    def job(self, number: int) -> JobRun | None:
        """The job if it is in memory."""
        return self.jobs.get(number)
