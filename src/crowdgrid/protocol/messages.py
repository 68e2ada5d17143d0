"""The messages of the two links, as msgspec structs in array form with a tag: `[tag, field, …]`.

A frame is one binary WebSocket message: a msgpack list of messages. Fields are only ever added, at the
end and with a default, so that an older reader passes over them and an older writer leaves them out.
An unknown tag is answered with `Error` and the link lives. Times travel as durations, never as wall clock.

Node link (`/v1/node`): Hello → Challenge → Proof → Welcome, then whatever happens. Client link
(`/v1/client`, token in the Authorization header): each request carries an `id` its answer repeats.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.core.model import Counts, JobSpec, Outcome, Split, Verdict
from crowdgrid.core.trust.comparison import Comparison, Exact
from crowdgrid.protocol.packing import Input

VERSION = 1


class Message(msgspec.Struct, frozen=True, array_like=True, tag_field="t", gc=False):
    """Base of all messages: array-like and tagged by the class name in lower case."""


# --- node → hub ------------------------------------------------------------------------------


class Hello(Message, tag="hello"):
    """First words of a node: who it is and what it can run. `invitation` only when it is new here. `trusts`: whose
    programs it runs outside a sandbox, as words of `core.unsandboxed`."""

    version: int
    key: bytes
    name: str = ""
    invitation: str = ""
    runtimes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    region: str = ""
    milli_cpus: int = 1000
    memory_bytes: int = 0
    speed: float = 0.0
    inventory: dict[str, Any] = {}
    benchmarks: dict[str, Any] = {}
    features: tuple[str, ...] = ()
    software: str = ""
    trusts: tuple[str, ...] = ()


class Proof(Message, tag="proof"):
    """Ed25519 signature over `signing.proof_bytes(grid, nonce, key)`."""

    signature: bytes


class Heartbeat(Message, tag="heartbeat"):
    """The node is alive and holds these assignments (queued, running, or spooled unacknowledged); only they
    are renewed. `sent` is echoed in `Beat` and lets the node measure the round trip."""

    held: tuple[bytes, ...] = ()
    sent: int = 0
    load: dict[str, Any] = {}


class Fetch(Message, tag="fetch"):
    """A standing offer, in place of the last one: this many more assignments, each of at most so much."""

    slots: int
    milli_cpus: int = 1000
    memory_bytes: int = limits.MEMORY_BYTES_DEFAULT


class Progress(Message, tag="progress"):
    """Units done of assignments that run long."""

    units: tuple[tuple[bytes, int], ...]


class ResultEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One result. `digest` is SHA-256 (32 bytes) as by `packing.answer_digest`; `blob` (hex) when the payload is
    over the inline limit and was put before. `stderr`: the end of what a run wrote there: the first failed one, else the last."""

    assignment: bytes
    outcome: Outcome
    digest: bytes
    payload: bytes = b""
    blob: str = ""
    size: int = 0
    error: str = ""
    errors: int = 0
    cpu_ms: int = 0
    wall_ms: int = 0
    memory_bytes: int = 0
    stderr: bytes = b""


class Report(Message, tag="report"):
    """Results with one signature over the tree of their leaves.

    `leaves` are the leaf hashes (n × 32 bytes) of the batch the results were signed in, and `places` each
    result's index in it: a spooled result keeps the batch it was signed in, which may hold others.
    """

    results: tuple[ResultEntry, ...]
    places: tuple[int, ...]
    leaves: bytes
    signature: bytes


class Decline(Message, tag="decline"):
    """Assignments given back untouched, with the reason for people."""

    assignments: tuple[bytes, ...]
    reason: str = ""


class Retract(Message, tag="retract"):
    """An answer already given is withdrawn."""

    assignment: bytes
    reason: str = ""


class Remainder(Message, tag="remainder"):
    """[start, at) of the task is done, [at, stop) comes back."""

    assignment: bytes
    at: int


class Bye(Message, tag="bye"):
    """The link will be closed on purpose. Either side may say it."""

    reason: str = ""


# --- hub → node ------------------------------------------------------------------------------


class Challenge(Message, tag="challenge"):
    """Prove your key: sign this nonce (32 random bytes, used once) for this grid (16 bytes)."""

    nonce: bytes
    grid: bytes


class Welcome(Message, tag="welcome"):
    """The node is in. Durations in ms. `node` is its did:key, `name` as the hub shows it, `owner` whose it is."""

    version: int
    node: str
    name: str
    grid: bytes
    heartbeat_ms: int
    lease_ms: int
    trust: float = 1.0
    features: tuple[str, ...] = ()
    blob_token: str = ""  # `Authorization: Node TOKEN` on /v1/blobs while this link lives
    owner: str = ""


class LeaseSpec(msgspec.Struct, frozen=True, array_like=True):
    """What the leases of one job have in common. `job` is its public id, `label` its name for people."""

    job: str
    program: str
    program_bytes: int
    runtime: str
    args: tuple[str, ...]
    timeout_ms: int
    memory_bytes: int
    output_bytes: int
    milli_cpus: int
    split: str
    label: str = ""
    owner: str = ""
    group: str = ""


class Lease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One leased task: units [start, stop), its input, and how long it may take in all.

    `parent`: the assignment whose `Remainder` made this task; its finished answer belongs here.
    """

    assignment: bytes
    spec: int  # index into Assign.specs
    start: int
    stop: int
    input: Input
    deadline_ms: int
    parent: bytes = b""


class Assign(Message, tag="assign"):
    """Leases, each naming its spec by index. An assignment the node already holds is passed over."""

    specs: tuple[LeaseSpec, ...]
    leases: tuple[Lease, ...]


class Cancel(Message, tag="cancel"):
    """Drop these assignments; nothing is owed for them."""

    assignments: tuple[bytes, ...]
    reason: str = ""


class Acknowledge(Message, tag="acknowledge"):
    """Verdicts on results: the node may forget them."""

    verdicts: tuple[tuple[bytes, Verdict], ...]


class Beat(Message, tag="beat"):
    """Answer to a heartbeat, with its `sent`. What to drop comes as `Cancel`."""

    sent: int


class Hold(Message, tag="hold"):
    """Ask for nothing for a while (ms); what runs goes on."""

    reason: str
    retry_after_ms: int = 0


class Resume(Message, tag="resume"):
    """`Hold` is over."""


class Error(Message, tag="error"):
    """Something the other side sent was not understood or not allowed. `fatal`: the link closes now."""

    code: str
    message: str
    hint: str = ""
    fatal: bool = False
    retry_after_ms: int = 0


# --- client → hub ----------------------------------------------------------------------------


class JobRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job as a person asks for it: over REST as JSON, over the link inside `Open`.

    `program` is the digest of a blob put before (`PUT /v1/programs`). `sealed`: no input will be appended
    (ranges and grids always are). `key` makes asking twice harmless. `final_after_ms` −1: an hour where the consensus
    judges answers again, else 0. Other fields of the work as in `model.JobSpec`.
    """

    program: str
    split: Split
    runtime: str = "wasm"
    args: tuple[str, ...] = ()
    reduce: str = "collect"
    name: str = ""
    key: str = ""
    group: str = ""
    sealed: bool = False
    timeout_ms: int = limits.TIMEOUT_MS_DEFAULT
    memory_bytes: int = limits.MEMORY_BYTES_DEFAULT
    output_bytes: int = limits.OUTPUT_BYTES_DEFAULT
    milli_cpus: int = 1000
    priority: int = 0
    target_ms: int = 1000
    max_errors: int = limits.ERRORS_MAX_DEFAULT
    stale_ceiling: int = limits.STALE_CEILING_DEFAULT
    allow_abandoned: bool = False
    min_trust: float = 0.0
    labels: tuple[str, ...] = ()
    region: str = ""
    keep_ms: int = 0
    consensus: str = "single"
    overlap: int = 1
    threshold: float = 0.6
    error_bound: float = 1e-3
    collision: float = 1e-6
    final_after_ms: int = -1
    comparison: Comparison = Exact()


class Open(Message, tag="open"):
    """Open a job; the same key again answers with the same job."""

    id: int
    request: JobRequest


class Attach(Message, tag="attach"):
    """Take an existing job in hand, by public id or by name."""

    id: int
    job: str


class Append(Message, tag="append"):
    """Input units from ordinal `first` on: either items, or the digest of a packed chunk put as a blob."""

    id: int
    job: str
    first: int
    items: tuple[bytes, ...] = ()
    blob: str = ""


class Seal(Message, tag="seal"):
    """Nothing more will be appended."""

    id: int
    job: str


class CancelJob(Message, tag="cancel_job"):
    """End the job."""

    id: int
    job: str
    reason: str = ""


class Read(Message, tag="read"):
    """Send results of the job with ordinals above `after`, at most `window` rows until `Grant` adds more.

    `signed`: each row comes with the proof that its node signed it.
    """

    id: int
    job: str
    after: int = -1
    window: int = 1000
    signed: bool = False


class Grant(Message, tag="grant"):
    """The client can take `rows` more; it has everything up to ordinal `after`."""

    job: str
    rows: int
    after: int = -1


class StopReading(Message, tag="stop_reading"):
    """No more results of this job, please."""

    job: str


# --- hub → client ----------------------------------------------------------------------------


class JobInfo(msgspec.Struct, frozen=True):
    """A job as its owner sees it; also the REST representation. Times in ms since the epoch."""

    id: str
    name: str
    owner: str
    group: str
    state: str
    paused: bool
    reason: str
    created_at: int
    ended_at: int
    revision: int
    counts: Counts
    spec: JobSpec


class Opened(Message, tag="opened"):
    """Answer to Open and Attach."""

    id: int
    job: JobInfo


class Appended(Message, tag="appended"):
    """The job now has `units` units, durably."""

    id: int
    job: str
    units: int


class Done(Message, tag="done"):
    """Answer to Seal, CancelJob and Read."""

    id: int


class ResultProof(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What shows that a node signed a result: with payload, program and outcome the fields of its leaf, and the way
    from there to the root that was signed (RFC 9162, 2.1.3; see `protocol.signing`).

    `grid` and `assignment` have 16 bytes, `input` (the digest of what the program was given) 32; `usage` is cpu_ms,
    wall_ms, memory_bytes, size. The leaf is number `index` of `count`, `path` its siblings (32 bytes), lowest first.
    """

    grid: bytes
    assignment: bytes
    input: bytes
    usage: tuple[int, int, int, int]
    index: int
    count: int
    path: tuple[bytes, ...]
    signature: bytes


class ResultRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The answer of one task: units [start, stop). `state` is the task's (validated, split, abandoned).

    For items and grids the payload is packed answers (`packing.unpack_answers`). `node` is a did:key. `proof` comes if
    `Read.signed` asked for it and the node's signature is kept.
    """

    ordinal: int
    start: int
    stop: int
    state: int
    outcome: int
    payload: bytes
    blob: str = ""
    error: str = ""
    errors: int = 0
    node: str = ""
    revision: int = 0
    parent: int = -1
    proof: ResultProof | None = None


class Results(Message, tag="results"):
    """Settled tasks in the order they settled (or, when catching up, by ordinal). A row may come twice."""

    job: str
    rows: tuple[ResultRow, ...]


class JobUpdate(Message, tag="job_update"):
    """A job's state or counters moved; at once for states, else at most twice a second."""

    job: JobInfo


class Failed(Message, tag="failed"):
    """A request was refused; `id` 0 when it belongs to none."""

    id: int
    code: str
    message: str
    hint: str = ""


NodeToHub: TypeAlias = Hello | Proof | Heartbeat | Fetch | Progress | Report | Decline | Retract | Remainder | Bye
HubToNode: TypeAlias = Challenge | Welcome | Assign | Cancel | Acknowledge | Beat | Hold | Resume | Error | Bye
ClientToHub: TypeAlias = Open | Attach | Append | Seal | CancelJob | Read | Grant | StopReading | Bye
HubToClient: TypeAlias = Opened | Appended | Done | Results | JobUpdate | Failed | Error | Bye
