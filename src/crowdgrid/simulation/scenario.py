"""What a scenario file may say: a crowd, its network, a hub and its jobs, as typed values.

Each table of the file is one of these structs, each key a field with the same name; units stand at the end of names.
`reading.read` makes them from TOML and says what is wrong with a file.

Published figures are the defaults where there are any. Times on: Weibull(shape 0.393, scale 2.964 h); times off:
log-normal with (μ, σ) of ln(h) either (2.844, 0.586), `reading = "narrow"`, or (−0.586, 2.844), `reading = "wide"`: the
published pair can be read both ways.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from crowdgrid import limits

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=10_000_000)]
Some: TypeAlias = Annotated[int, Meta(ge=0, le=10_000_000)]
Positive: TypeAlias = Annotated[float, Meta(gt=0)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0)]
Ms: TypeAlias = Annotated[int, Meta(ge=0, le=10**9)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=60)]


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: a key it does not know is an error, never ignored."""


# --- what nodes answer ---------------------------------------------------------------------------


class Honest(_Table, frozen=True, tag_field="kind", tag="honest"):
    """Never wrong."""


class Erring(_Table, frozen=True, tag_field="kind", tag="erring"):
    """Wrong now and then, each answer with the same chance. `of_nodes`: the share of nodes that ever err."""

    rate: Share = 0.006
    of_nodes: Share = 1.0


class Bursty(_Table, frozen=True, tag_field="kind", tag="bursty"):
    """Wrong in bursts (heat, a failing disk): good and bad times follow one another, exponential with these means."""

    rate: Share = 0.5
    good_hours: Positive = 20.0
    bad_hours: Positive = 0.5


class Liar(_Table, frozen=True, tag_field="kind", tag="liar"):
    """Gives a wrong answer of its own to this share of tasks, without computing."""

    share: Share = 1.0


class Sleeper(_Table, frozen=True, tag_field="kind", tag="sleeper"):
    """Answers well so many times, and from then on lies in this share of tasks."""

    after: Count = 1000
    share: Share = 1.0


class Colluder(_Table, frozen=True, tag_field="kind", tag="colluder"):
    """All of this crowd choose the same tasks, this share of them, and give the same wrong answer."""

    share: Share = 1.0
    after: Some = 0


class Copier(_Table, frozen=True, tag_field="kind", tag="copier"):
    """Computes nothing: repeats what somebody has answered to the same task, and makes something up if nobody has.

    `pace`: the share of a task's time it lets pass, so as not to be conspicuous.
    """

    pace: Share = 0.5


class FreeRider(_Table, frozen=True, tag_field="kind", tag="free_rider"):
    """Computes nothing and answers "none" to everything. `pace` as a copier's."""

    pace: Share = 0.5


class Inflater(_Table, frozen=True, tag_field="kind", tag="inflater"):
    """Right, but claims so many times the use it had."""

    factor: Positive = 10.0


class Leaver(_Table, frozen=True, tag_field="kind", tag="leaver"):
    """Takes work and is gone without a word, this share of the times, for so long."""

    share: Share = 0.5
    back_s: Positive = 300.0


Behaviour: TypeAlias = Honest | Erring | Bursty | Liar | Sleeper | Colluder | Copier | FreeRider | Inflater | Leaver


# --- when nodes are there ------------------------------------------------------------------------


class Always(_Table, frozen=True, tag_field="kind", tag="always"):
    """On from when it joins."""


class Churn(_Table, frozen=True, tag_field="kind", tag="churn"):
    """On and off by turns, as published; see the module. `silent`: the share of departures nobody announces."""

    reading: Literal["narrow", "wide"] = "narrow"
    on_shape: Positive = 0.393
    on_scale_h: Positive = 2.964
    silent: Share = 0.5


class Custom(_Table, frozen=True, tag_field="kind", tag="custom"):
    """The same with figures of one's own: Weibull on, log-normal off."""

    on_shape: Positive
    on_scale_h: Positive
    off_mu: float
    off_sigma: NotNegative
    silent: Share = 0.5


class Hours(_Table, frozen=True, tag_field="kind", tag="hours"):
    """On daily from one hour to another, each node `jitter_h` earlier or later at most; virtual time begins at 0:00."""

    begin: Annotated[float, Meta(ge=0, lt=24)] = 18.0
    end: Annotated[float, Meta(ge=0, lt=24)] = 8.0
    jitter_h: Annotated[float, Meta(ge=0, le=6)] = 1.0
    silent: Share = 0.1


Availability: TypeAlias = Always | Churn | Custom | Hours


# --- the tables ----------------------------------------------------------------------------------


class Crowd(_Table, frozen=True):
    """Nodes of one kind.

    Attributes:
        owners: how many people they belong to; 0 each its own. speed: 1 does `unit_ms` in that time. speed_spread:
            σ of the log of a node's speed. cores: of a node. slots: tasks at once, each with its part of the cores and
            the memory; 0 one a core. ahead: tasks waiting per slot, as agents ask for.
        joins_over_s: they come one by one over so long, a Sybil swarm for instance.
        noise: σ of the log of a task's time beside what it should be. breaks, declines, gives_back: chance of a
            node's error, a refusal, an early return, a task. retracts: chance to withdraw a counted answer later.
    """

    name: Name
    count: Count
    behaviour: Behaviour = Honest()
    availability: Availability = Always()
    owners: Some = 0
    speed: Positive = 1.0
    speed_spread: NotNegative = 0.0
    cores: Annotated[int, Meta(ge=1, le=1024)] = 1
    slots: Annotated[int, Meta(ge=0, le=1024)] = 0
    ahead: Annotated[int, Meta(ge=0, le=16)] = 1
    memory_mb: Annotated[int, Meta(ge=1, le=1 << 20)] = 4096
    trust: Annotated[float, Meta(ge=1, le=10)] = 1.0
    joins_over_s: NotNegative = 0.0
    noise: NotNegative = 0.0
    breaks: Share = 0.0
    declines: Share = 0.0
    gives_back: Share = 0.0
    retracts: Share = 0.0


class Jobs(_Table, frozen=True):
    """Jobs of one kind, and what is true of their tasks.

    Attributes:
        at_s, every_s: when the first one is submitted, and the next ones after it. tasks: of each. piece: units of
            a task; 0 lets the hub choose, and then `tasks` counts units.
        work: how `unit_ms` varies from task to task: not at all, or by `spread` (σ of its log, or of its share of the
            mean for `normal`).
        wrong_answers: how many there are; 0 so many that two errors never agree by chance.
        none_share: the share of tasks whose true answer is "none".
        Others as in `core.model.JobSpec`; 0 for the limits' defaults.
    """

    name: Name
    tasks: Annotated[int, Meta(ge=1, le=1 << 40)]
    unit_ms: Positive = 10_000.0
    count: Count = 1
    at_s: NotNegative = 0.0
    every_s: NotNegative = 0.0
    owner: Name = "submitter"
    piece: Some = 1
    work: Literal["fixed", "lognormal", "normal"] = "fixed"
    spread: NotNegative = 0.0
    wrong_answers: Some = 0
    none_share: Share = 0.0
    milli_cpus: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    memory_mb: Annotated[int, Meta(ge=1, le=1 << 20)] = 512
    priority: Annotated[int, Meta(ge=-limits.PRIORITY_MAX, le=limits.PRIORITY_MAX)] = 0
    timeout_s: NotNegative = 0.0
    target_s: Positive = 1.0
    stale_ceiling: Annotated[int, Meta(ge=1, le=1000)] = 1000
    allow_abandoned: bool = False
    consensus: Literal["single", "majority", "trust_weighted", "bounded_error"] = "single"
    overlap: Annotated[int, Meta(ge=1, le=limits.OVERLAP_MAX)] = 1
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.6
    error_bound: Annotated[float, Meta(gt=0, lt=1)] = 1e-3
    collision: Share = 1e-6
    min_trust: Annotated[float, Meta(ge=0, le=10)] = 0.0
    final_after_s: NotNegative = 0.0


class Partition(_Table, frozen=True):
    """A time in which part of the nodes and the hub do not reach one another."""

    at_s: NotNegative
    for_s: Positive
    share: Share = 0.3


class Network(_Table, frozen=True):
    """Between nodes and hub. A link keeps the order of its frames, as TCP does, unless told otherwise.

    Attributes:
        delay_ms: of a frame, uniform between the two. loss: the chance that a frame is the last of its link: some
            router has forgotten it, and neither side is told. duplicate: that a frame arrives twice.
        reorder: that it overtakes, or is overtaken, by up to `reorder_ms`.
    """

    delay_ms: tuple[Ms, Ms] = (10, 80)
    loss: Share = 0.0
    duplicate: Share = 0.0
    reorder: Share = 0.0
    reorder_ms: Ms = 500
    partitions: tuple[Partition, ...] = ()


class HubTable(_Table, frozen=True):
    """The hub.

    Attributes:
        commit_ms: how long a commit takes. read_ms: a look into the store.
        crash_every_s, takeover_every_s: mean time between crashes, and between second hubs that take the store over,
            exponential; 0 never. down_s: how long it is away after a crash.
    """

    ranking: Literal["crowd", "priority_fit", "weighted_round_robin", "fifo"] = "crowd"
    commit_ms: Ms = 5
    read_ms: Ms = 2
    crash_every_s: NotNegative = 0.0
    takeover_every_s: NotNegative = 0.0
    down_s: NotNegative = 3.0


class PolicyTable(_Table, frozen=True):
    """As `core.trust.policy.Policy`, which has the meanings."""

    trust_up: NotNegative = 0.1
    trust_down: NotNegative = 0.5
    audit_rate: Share = 0.03
    closing_audits: Some = 3
    canary_rate: Share = 0.01
    speculate: bool = True
    owners_vote_once: bool = True
    probation: Some = 5
    stranger_doubt: Share = 0.05


class Run(_Table, frozen=True):
    """The run.

    Attributes:
        hours: of virtual time at most; it ends before when every job has. must_finish: else it is a fault that it did
            not. check_every: commands between full checks of the engine's invariants.
        starve_s: how long a job may have work while a node that would do offers itself.
    """

    hours: Positive = 24.0
    must_finish: bool = True
    check_every: Count = 10_000
    starve_s: Positive = 120.0


class Scenario(_Table, frozen=True):
    """A whole file. `about`: one sentence for people."""

    crowd: Annotated[tuple[Crowd, ...], Meta(min_length=1)]
    jobs: Annotated[tuple[Jobs, ...], Meta(min_length=1)]
    about: str = ""
    run: Run = Run()
    hub: HubTable = HubTable()
    policy: PolicyTable = PolicyTable()
    network: Network = Network()
