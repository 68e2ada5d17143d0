"""What the hub has to know about an assignment it sent out, to check the report: its job and its input's digest.

Notes are made when a lease is sent and dropped with its verdict. They live in memory; after a restart of the hub
they are made again from the store, from the assignment alone.
"""

from __future__ import annotations

import msgspec

from crowdgrid.core.model import Assignment, AssignmentKey, Job, Task
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import NotFound
from crowdgrid.hub.inputs import Inputs
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import Input, blobs_of, input_digest
from crowdgrid.store import Store


class Note(msgspec.Struct, frozen=True, gc=False):
    """An assignment in a node's hands.

    `program` and `input` (with the job's arguments) are SHA-256 digests of 32 bytes; `blobs` the hex digests its input names.
    """

    key: AssignmentKey
    node: int
    program: bytes
    input: bytes
    blobs: tuple[str, ...]
    reduce: str
    per_item: bool
    units: int


def note_of(job: Job, task: Task, assignment: Assignment, given: Input) -> Note:
    """The note of a lease about to be sent."""
    spec = job.spec
    return Note(
        assignment.key,
        assignment.node,
        bytes.fromhex(spec.program),
        input_digest(given, spec.args),
        tuple(blobs_of(given)),
        spec.reduce,
        per_item(spec.split),
        task.stop - task.start,
    )


class Jobs:
    """Job records by number: the open ones as the engine last told them, others from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[int, Job] = {}

    def changed(self, job: Job) -> None:
        """The engine told of a job; one that ended is no longer kept here."""
        if job.ended_at:
            self._known.pop(job.number, None)
        else:
            self._known[job.number] = job

    def known(self, number: int) -> Job | None:
        """The job if it is at hand."""
        return self._known.get(number)

    async def find(self, number: int) -> Job:
        """The job. Raises NotFound."""
        job = self._known.get(number) or await self._store.job(number)
        if job is None:
            raise NotFound("The job of this assignment is gone.")
        return job


async def note_again(store: Store, jobs: Jobs, inputs: Inputs, key: AssignmentKey, node: int) -> Note:
    """The note of an assignment sent by an earlier life of this hub. Raises NotFound."""
    job = await jobs.find(key[0])
    task = await store.task(key[0], key[1])
    found = next((a for a in await store.assignments(key[0], key[1]) if a.key == key), None)
    if task is None or found is None:
        raise NotFound("This assignment was never given out here.")
    return note_of(job, task, found, await inputs.lease_input(job, task))


def spec_of(job: Job, public_id: str, program_bytes: int) -> m.LeaseSpec:
    """What all leases of a job have in common, for the wire."""
    spec = job.spec
    return m.LeaseSpec(
        public_id,
        spec.program,
        program_bytes,
        spec.runtime,
        spec.args,
        spec.timeout_ms,
        spec.memory_bytes,
        spec.output_bytes,
        spec.milli_cpus,
        str(spec.split.__struct_config__.tag),
        job.name,
        job.owner,
        job.group,
    )
