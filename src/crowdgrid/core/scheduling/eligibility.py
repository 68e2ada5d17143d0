"""May this node run this job? Every "no" is a sentence for the person who asks why.

What a job asks of a node is its `Needs`. Jobs that need the same share one list of the offers that suit them
(`scheduling.offers`), so that a node nobody can use never stands in the way of one that somebody can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crowdgrid.core import unsandboxed
from crowdgrid.core.model import UNSANDBOXED, Job, Node, NodeState

if TYPE_CHECKING:
    from crowdgrid.core.state import JobRun, NodeRun


class Needs(NamedTuple):
    """What a job asks of any node; the size first. `owner` is named only where it matters to nodes, so that sandboxed
    jobs of all owners share their pools."""

    milli_cpus: int
    memory_bytes: int
    runtime: str
    min_trust: float
    labels: tuple[str, ...]
    region: str
    group: str
    owner: str


def needs_of(job: Job) -> Needs:
    """What `job` asks of a node."""
    spec = job.spec
    return Needs(
        spec.milli_cpus,
        spec.memory_bytes,
        spec.runtime,
        spec.min_trust,
        spec.labels,
        spec.region,
        job.group,
        job.owner if spec.runtime in UNSANDBOXED else "",
    )


def suits(needs: Needs, node: NodeRun) -> bool:
    """Whether `objections` of a job with these needs would be empty, but for what the node declined; the quick
    form for the plan. `node` is connected and has an offer."""
    return needs[0] <= node.milli_cpus and needs[1] <= node.memory_bytes and is_kind_for(needs, node.record)


def is_kind_for(needs: Needs, record: Node) -> bool:
    """Whether a node may be given jobs with these needs, when it has the room."""
    _, _, runtime, min_trust, labels, region, group, owner = needs
    return (
        runtime in record.runtimes
        and record.trust >= min_trust
        and record.state is NodeState.ACTIVE
        and (not region or record.region == region)
        and (not group or record.group == group)
        and (not labels or all(label in record.labels for label in labels))
        and (runtime not in UNSANDBOXED or unsandboxed.admits(runtime, record.trusts, record.owner, owner, group))
    )


def objections(job: JobRun, node: NodeRun, now: int) -> list[str]:
    """Why `node` may not be given tasks of `job`, each in one sentence; empty when it may."""
    spec, record = job.spec, node.record
    found: list[str] = []
    if not node.session:
        found.append("It is not connected.")
    if record.state is not NodeState.ACTIVE:
        found.append(f"It is {record.state.value} and takes nothing new.")
    refusal = unsandboxed.objection(spec.runtime, record.trusts, record.owner, job.owner, job.base.group)
    if refusal:  # where Python is not welcome it is not offered either: one reason is enough
        found.append(refusal)
    elif spec.runtime not in record.runtimes:
        found.append(f"It cannot run {spec.runtime} programs (it has {', '.join(record.runtimes) or 'no runtime'}).")
    found += _too_small(job, node)
    if record.trust < spec.min_trust:
        found.append(f"Its trust index is {record.trust:.1f}; the job asks for {spec.min_trust:.1f}.")
    missing = [label for label in spec.labels if label not in record.labels]
    if missing:
        found.append(f"It lacks the label {', '.join(missing)}.")
    if spec.region and record.region != spec.region:
        found.append(f"It is in region {record.region or 'unknown'}; the job must stay in {spec.region}.")
    if job.base.group and record.group != job.base.group:
        found.append(f"It does not share with the group {job.base.group}.")
    until = job.declined.get(record.number, 0)
    if until > now and record.number in job.rested:
        seconds = -(-(until - now) // 1000)
        found.append(
            f"Its answers to this kind of program were mostly wrong; it is given the next task in {seconds} s."
        )
    elif until > now:
        why = job.refusals.get(record.number, "").rstrip(".")
        found.append(
            f"It declined this job{f': {why}. It' if why else '; it'} is asked again in {-(-(until - now) // 1000)} s."
        )
    return found


def _too_small(job: JobRun, node: NodeRun) -> list[str]:
    found = []
    cpus = node.milli_cpus or node.record.milli_cpus
    memory = node.memory_bytes or node.record.memory_bytes
    if job.spec.milli_cpus > cpus:
        found.append(f"It offers {cpus / 1000:g} CPUs a task; the job asks for {job.spec.milli_cpus / 1000:g}.")
    if job.spec.memory_bytes > memory:
        found.append(f"It offers {memory >> 20} MB a task; the job asks for {job.spec.memory_bytes >> 20} MB.")
    return found
