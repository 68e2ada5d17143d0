"""Job, task, assignment, result, node: the records of the grid.

Every record is a frozen `msgspec.Struct`: the engine replaces records, it never changes them, so what
is waiting to be written cannot move under the writer. Fields are what the store keeps; whatever can be
derived or need not survive a restart (offers, measured rates, lease renewals) lives in the engine.

Times are integer ms of the engine's clock, durations end in `_ms`, sizes in `_bytes`, CPU in
thousandths of a core (`milli_cpus`). `format` numbers the payload's layout, for later versions.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.core.trust.comparison import Comparison, Exact

AssignmentKey: TypeAlias = tuple[int, int, int]  # (job, ordinal, attempt)

VOTER_BYTES: Final = 8  # of a node's number in `Task.voters`
PICKLED: Final = "python-pickle"
UNSANDBOXED: Final = frozenset({"python", PICKLED})
"""Runtimes that are a process of the machine's own Python: only for those its owner trusts, see `unsandboxed`."""


class JobState(StrEnum):
    """Life of a job; `lifecycle.JOB` says which may follow which."""

    VALIDATING = "validating"
    INVALID = "invalid"
    OPEN = "open"
    SEALED = "sealed"
    COMPLETED = "completed"
    FINAL = "final"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(IntEnum):
    """Life of a task; up to `COMPLETED` it is open and lives in the engine's memory."""

    PENDING = 0
    IN_QUEUE = 1
    IN_PROGRESS = 2
    COMPLETED = 3
    FAILED = 4
    VALIDATED = 5
    SPLIT = 6
    ABANDONED = 7
    CANCELLED = 8


class AssignmentState(IntEnum):
    """Life of an assignment."""

    LEASED = 0
    REPORTED = 1
    EXPIRED = 2
    DECLINED = 3
    CANCELLED = 4
    RETRACTED = 5


class Outcome(IntEnum):
    """What a node says came of an assignment."""

    OK = 0
    PROGRAM_ERROR = 1
    NODE_ERROR = 2


class Verdict(StrEnum):
    """What the hub answers to a report; after any of these the node may forget the result."""

    COUNTED = "counted"
    LATE_PAID = "late_paid"
    LATE_UNNEEDED = "late_unneeded"
    DUPLICATE = "duplicate"
    CONFLICTING = "conflicting"
    NOT_YOURS = "not_yours"
    UNKNOWN = "unknown"


# --- how a job is split ----------------------------------------------------------------------


class Range(msgspec.Struct, frozen=True, tag="range", tag_field="kind"):
    """Half-open range of integers; one unit is one integer. `piece` 0: sized for the node that asks."""

    start: int
    stop: int
    piece: int = 0


class Items(msgspec.Struct, frozen=True, tag="items", tag_field="kind"):
    """Byte strings appended to the job; one run of the program each; one unit is one item."""

    piece: int = 0


class Lines(msgspec.Struct, frozen=True, tag="lines", tag_field="kind"):
    """Lines of text appended to the job; one run gets a block of lines; one unit is one line."""

    piece: int = 0


class Grid(msgspec.Struct, frozen=True, tag="grid", tag_field="kind"):
    """Every combination of the axes' values, the last axis fastest; one run each."""

    axes: tuple[tuple[str, tuple[str, ...]], ...]
    piece: int = 0


class EachNode(msgspec.Struct, frozen=True, tag="each_node", tag_field="kind"):
    """One task bound to each of `nodes` (numbers). In the model for learning; not offered yet."""

    nodes: tuple[int, ...]


Split: TypeAlias = Range | Items | Lines | Grid | EachNode


class Completion(msgspec.Struct, frozen=True):
    """When a job is complete: every task (`at_least` 0), or that many and the deadline has passed."""

    at_least: int = 0
    deadline_ms: int = 0


class JobSpec(msgspec.Struct, frozen=True):
    """What a person submits, without its input.

    Attributes:
        program: hex SHA-256 of the program. args: its arguments, before those the splitter appends.
        reduce: one of `reducing.REDUCERS`.
        timeout_ms, memory_bytes, output_bytes: of one run.
        target_ms: how long one task should take on the node that asks for it.
        max_errors: program errors after which the job stops.
        stale_ceiling: lost leases after which a task is abandoned.
        allow_abandoned: the job goes on without abandoned tasks.
        consensus: one of `trust.consensus.CONSENSUS`. overlap: nodes that must report, for `majority` and
            `trust_weighted`. threshold: the share of trust an answer needs, in (0, 1], for `trust_weighted`.
        error_bound: ε, the chance of a wrong answer that is accepted, in (0, 1), for `bounded_error`.
        collision: q, the chance that two wrong answers are equal, in [0, 1]: 1 for yes or no, nearly 0 for digests.
        comparison: when two results are the same answer.
        min_trust: trust index a node needs. labels, region, group: where it may run.
        final_after_ms: how long after completion answers may still be re-opened.
        keep_ms: how long the job is kept once it has ended, if that is shorter than the hub's own time; 0 that.
    """

    program: str
    split: Split
    runtime: str = "wasm"
    args: tuple[str, ...] = ()
    reduce: str = "collect"
    timeout_ms: int = limits.TIMEOUT_MS_DEFAULT
    memory_bytes: int = limits.MEMORY_BYTES_DEFAULT
    output_bytes: int = limits.OUTPUT_BYTES_DEFAULT
    milli_cpus: int = 1000
    priority: int = 0
    target_ms: int = 1000
    max_errors: int = limits.ERRORS_MAX_DEFAULT
    stale_ceiling: int = limits.STALE_CEILING_DEFAULT
    allow_abandoned: bool = False
    consensus: str = "single"
    overlap: int = 1
    min_trust: float = 0.0
    labels: tuple[str, ...] = ()
    region: str = ""
    completion: Completion = Completion()
    final_after_ms: int = 0
    keep_ms: int = 0
    threshold: float = 0.6
    error_bound: float = 1e-3
    collision: float = 1e-6
    comparison: Comparison = Exact()


# --- what is kept ----------------------------------------------------------------------------


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Counters of one job: units of input and tasks by where they are. Kept, never recounted."""

    units: int = 0  # known so far
    units_cut: int = 0  # in tasks
    units_done: int = 0  # in settled tasks
    tasks: int = 0  # ever cut: the next ordinal
    in_queue: int = 0
    in_progress: int = 0
    validated: int = 0
    split: int = 0
    abandoned: int = 0
    errors: int = 0  # program errors among the answers
    lost: int = 0  # leases that ended without an answer
    unit_bytes: int = 0  # the heaviest unit of input that is kept as a blob, as far as chunks tell


class Job(msgspec.Struct, frozen=True):
    """One job.

    Attributes:
        key: the submitter's idempotency key, "" for none; unique per owner.
        name: unique among an owner's jobs, "" for none.
        hit: ordinal of the validated hit of a `first` job, −1 for none.
        reason: why it is invalid, failed or cancelled.
        revision: rises when an answer changes.
        origin: the job of another hub this one stands for.
    """

    number: int
    owner: str
    group: str
    name: str
    key: str
    created_at: int
    state: JobState
    spec: JobSpec
    counts: Counts
    paused: bool = False
    reason: str = ""
    hit: int = -1
    revision: int = 0
    ended_at: int = 0
    origin: str = ""
    format: int = 1
    sealed: bool = False  # its input is whole, even while its program is still being looked at
    retrying: bool = False  # its failed tasks are being opened again, page by page; resumed after a restart


class Task(msgspec.Struct, frozen=True, gc=False):
    """One piece of a job: units [start, stop). Its bounds never change.

    Attributes:
        attempts: assignments ever made; the next attempt's number. wanted: how many are to be open or to have voted.
        answer: the attempt whose result settled it, −1 while open. digest: of that result, 32 bytes.
        errors: program errors inside the answer (items fail one by one).
        parent: ordinal of the task it was split from, −1. bound_to: the only node that may run it, 0 for any.
        confidence: of its answer, as its job's consensus has it: for `majority` and `bounded_error` the chance that it
            is right, for `trust_weighted` the share of trust that gave it; 0 for `single`, which does not judge.
        since: the first attempt whose answer counts as a vote; earlier ones were given up with the answer they led to.
        voters: the numbers of the nodes that voted on it, 8 bytes each, big endian, once it is settled.
    """

    job: int
    ordinal: int
    start: int
    stop: int
    state: TaskState
    created_at: int
    attempts: int = 0
    stale: int = 0
    answer: int = -1
    outcome: Outcome = Outcome.OK
    digest: bytes = b""
    errors: int = 0
    parent: int = -1
    bound_to: int = 0
    wanted: int = 1
    confidence: float = 0.0
    since: int = 0
    voters: bytes = b""


class Result(msgspec.Struct, frozen=True, gc=False):
    """What a node reported for an assignment.

    Attributes:
        digest: SHA-256 (32 bytes) of the answer: the payload, or for an error what identifies it.
        payload: the answer when it is at most `limits.INLINE_BYTES`; otherwise empty and `blob` names it.
        blob: hex SHA-256 of a payload kept as a blob, "" when inline. size: of the payload, bytes.
        error: one sentence when it is not ok. errors: failed items inside.
        signature, leaf: the row of `Signature` and the index of this result's leaf in it; 0 unsigned.
        reported_at: engine time.
        stderr: the end of what a run wrote there, the first failed one, else the last; for people, never compared.
        input: digest (32 bytes) of the input the answer was signed for; empty for results of before it was kept.
    """

    outcome: Outcome
    digest: bytes
    payload: bytes
    blob: str
    size: int
    error: str = ""
    errors: int = 0
    cpu_ms: int = 0
    wall_ms: int = 0
    memory_bytes: int = 0
    signature: int = 0
    leaf: int = 0
    reported_at: int = 0
    stderr: bytes = b""
    input: bytes = b""


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """One lease of one task to one node, and its result once there is one."""

    job: int
    ordinal: int
    attempt: int
    node: int
    state: AssignmentState
    leased_at: int
    deadline_ms: int
    ended_at: int = 0
    result: Result | None = None

    @property
    def key(self) -> AssignmentKey:
        """(job, ordinal, attempt)."""
        return (self.job, self.ordinal, self.attempt)


class Signature(msgspec.Struct, frozen=True, gc=False):
    """One signed report frame: an RFC 9162 tree over `leaves` (n × 32 bytes of leaf hashes) and the
    node's Ed25519 signature (64 bytes) of its root. Any result's path is derived from the leaves."""

    number: int
    node: int
    leaves: bytes
    signature: bytes


class NodeState(StrEnum):
    """Whether a node may be given work."""

    ACTIVE = "active"
    DRAINING = "draining"  # by its owner or an operator: finishes, gets nothing new
    LEFT = "left"


class Node(msgspec.Struct, frozen=True):
    """Anything that takes assignments; its identity is its Ed25519 public key (32 bytes).

    Attributes:
        inventory, benchmarks: JSON objects the node told, as bytes, for people; what counts is copied out.
        trust: trust index, 1.0 to 10.0.
        linked: its link was open when this was written; after a restart of the hub such a node is waited for longer.
        block: of the address its link was opened from last, see `ids.block_of`; "" unknown or of this machine.
        trusts: whose programs it runs outside a sandbox, as words of `unsandboxed`; empty for nobody's.
    """

    number: int
    key: bytes
    owner: str
    group: str
    name: str
    created_at: int
    state: NodeState = NodeState.ACTIVE
    runtimes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    region: str = ""
    milli_cpus: int = 1000
    memory_bytes: int = limits.MEMORY_BYTES_DEFAULT
    speed: float = 0.0  # integer benchmark, operations per second; 0 unknown
    trust: float = 1.0
    validated: int = 0  # tasks it settled
    lost: int = 0  # leases it let go
    seen_at: int = 0
    inventory: bytes = b"{}"
    benchmarks: bytes = b"{}"
    format: int = 1
    linked: bool = False
    trusts: tuple[str, ...] = ()
    block: str = ""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What a node's answers of one kind have shown, as others judged them.

    Attributes:
        kind: see `trust.standings.kind_of`. evidence: see `trust.belief`, one number a rate.
        judged: votes that were compared with others. wrong: of these, how many are believed to be wrong.
        doubted: its answers that are not final yet are being looked at again; resumed after a restart.
    """

    node: int
    kind: str
    evidence: tuple[float, ...]
    judged: int = 0
    wrong: float = 0.0
    updated_at: int = 0
    doubted: bool = False


class TrustMove(msgspec.Struct, frozen=True, gc=False):
    """A node's trust index moved, at engine time `at`, because of its vote on a task; `job` 0: because it was away."""

    node: int
    at: int
    job: int
    ordinal: int
    before: float
    after: float


class Credit(msgspec.Struct, frozen=True, gc=False):
    """What a node earned by a job: so much goes from its submitter's account to its owner's. Never changed: what proves
    wrong later is balanced by an entry of the next turn.

    Attributes:
        turn: counts the entries of one job and node, from 0. at: engine time, ms.
        submitter, owner: whose accounts it is taken from and given to. kind: see `trust.standings.kind_of`.
        amount: in millionths; negative takes back. units, tasks: what it is for, beyond earlier turns.
        price: millionths a unit.
    """

    job: int
    node: int
    turn: int
    at: int
    submitter: str
    owner: str
    kind: str
    amount: int
    units: int
    tasks: int
    price: float


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Items or lines [first, first + count) of a job, stored once.

    `data` is the packed chunk (see `hub/inputs.py`) when at most `limits.INLINE_BYTES`; otherwise it is
    empty and `blob` names it. `size` is of the packed chunk, bytes.
    """

    job: int
    first: int
    count: int
    size: int
    data: bytes = b""
    blob: str = ""


class Partial(msgspec.Struct, frozen=True, gc=False):
    """A reducer's fold over the settled tasks of one block of `limits.BLOCK_TASKS` ordinals: a cache."""

    job: int
    block: int
    value: bytes


class Token(msgspec.Struct, frozen=True):
    """A person's or tool's way in. Only the SHA-256 of the secret is kept (hex)."""

    number: int
    secret_hash: str
    owner: str
    role: str  # "admin", "submitter" or "reader"
    name: str
    created_at: int
    expires_at: int = 0  # 0 never
    revoked_at: int = 0


class Invitation(msgspec.Struct, frozen=True):
    """A code that lets nodes join as `owner`'s. Only the SHA-256 of the code is kept (hex)."""

    number: int
    code_hash: str
    owner: str
    group: str
    created_at: int
    uses_left: int
    expires_at: int = 0
    revoked_at: int = 0


class GridRow(msgspec.Struct, frozen=True):
    """The one row about the grid itself: who owns the store (epoch, batch), and its clock and counters."""

    epoch: int
    batch: int
    now: int
    jobs: int = 0  # last numbers given out
    nodes: int = 0
    signatures: int = 0
    tokens: int = 0
    invitations: int = 0
    grid_id: bytes = b""  # 16 random bytes: what nodes sign their reports for
    id_key: bytes = b""  # 16 random bytes: see `ids.PublicIds`


Record: TypeAlias = (
    Job | Task | Assignment | Signature | Node | Standing | TrustMove | Credit | Chunk | Partial | Token | Invitation
)


def key_of(record: Record) -> tuple[str | int, ...]:
    """A record's key among all records: of two with the same key the later replaces the earlier."""
    match record:
        case Task():
            return ("task", record.job, record.ordinal)
        case Assignment():
            return ("assignment", *record.key)
        case Chunk():
            return ("chunk", record.job, record.first)
        case Partial():
            return ("partial", record.job, record.block)
        case Standing():
            return ("standing", record.node, record.kind)
        case Credit():
            return ("credit", record.job, record.node, record.turn)
        case TrustMove():
            return ("trust", record.node, record.at, record.job, record.ordinal)
    return (type(record).__name__, record.number)
