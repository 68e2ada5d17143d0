"""What a field means, for people: from the struct's docstring and the comments behind its fields.

In this order: the docstring's `Attributes:`, the comment behind the field, the vocabulary below for this field, the
sentences of the docstring that name it in backticks, and for what recurs everywhere (an id, a reason) the vocabulary
again. So whoever adds a field says what it is where it stands, once; the tests ask that none is left without words.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from crowdgrid import limits
from crowdgrid.core.model import JobSpec
from crowdgrid.protocol import messages as m

# Of one field (`Struct.field`), or of every field with that name that says nothing else.
VOCABULARY: Final[dict[str, str]] = {
    "assignment": "Token of the assignment, 16 bytes, as it was leased.",
    "assignments": "Tokens of assignments, 16 bytes each.",
    "benchmarks": "What the node measured of itself, for people.",
    "blob": 'Name of the bytes when they were put as a blob: hex SHA-256; "" when they are here.',
    "cpu_ms": "CPU time used.",
    "error": 'One sentence for people when something failed, else "".',
    "errors": "Failed items inside.",
    "features": "Words for what the sender can do beyond this version; none are defined yet.",
    "group": "Group of people and nodes the job belongs to.",
    "heartbeat_ms": "How often to send Heartbeat.",
    "hint": "What to do about it, for people.",
    "id": "Number of the request, chosen by the client; the answer repeats it.",
    "inventory": "What the machine has, for people.",
    "job": "Public id of the job.",
    "labels": "Words that say what the node has; a job may ask for some.",
    "lease_ms": "How long a lease lasts without a heartbeat.",
    "load": "How busy the machine is, for people.",
    "message": "What is wrong, a sentence for people.",
    "milli_cpus": "CPU.",
    "owner": "The person the job belongs to.",
    "piece": "Units of one task; 0 lets the hub choose for the node that asks.",
    "reason": "Why, for people.",
    "region": "Where the machine is, in the owner's words.",
    "retry_after_ms": "How long to wait before trying again; 0 says nothing about it.",
    "runtime": "What runs the program.",
    "runtimes": "Names of the runtimes the node offers.",
    "size": "Length of the payload.",
    "software": "Name and version of the node's program.",
    "speed": "Integer benchmark; 0 when it was not measured.",
    "start": "First unit.",
    "stop": "The unit after the last.",
    "trust": "Trust index, 1.0 to 10.0.",
    "version": "Version of the protocol the sender speaks.",
    "wall_ms": "Time from start to end.",
    "Acknowledge.verdicts": "(assignment, verdict) of each result.",
    "Append.first": "Ordinal of the first unit; units the job has already must be the same ones, a gap is refused.",
    "Append.items": f"The units themselves, at most {limits.APPEND_ITEMS:,}.",
    "Assign.leases": "Tasks leased, each naming its spec.",
    "Assign.specs": "What leases of one job have in common.",
    "Attach.job": "Public id of the job, or its name.",
    "Beat.sent": "`sent` of the heartbeat it answers.",
    "Challenge.grid": "Id of the grid, 16 bytes.",
    "Challenge.nonce": "Random bytes, used once.",
    "Completion.at_least": "Tasks that are enough; 0 for all.",
    "Completion.deadline_ms": "When that is enough.",
    "EachNode.nodes": "Numbers of the nodes.",
    "Error.code": "Stable word for programs; the codes are those of REST's problem documents.",
    "Error.fatal": "The sender closes the link now.",
    "Failed.code": "Stable word for programs; the codes are those of REST's problem documents.",
    "Failed.id": "The request that was refused; 0 when it belongs to none.",
    "Fetch.memory_bytes": "The most memory one of these assignments may ask for.",
    "Fetch.milli_cpus": "The most CPU one of these assignments may ask for.",
    "Fetch.slots": "How many more assignments the node takes; in place of the offer before.",
    "Grant.after": "The client has every row up to this ordinal.",
    "Grant.rows": "Rows to be added to the window.",
    "Grid.axes": "(name, values) of each axis; the last changes fastest.",
    "Heartbeat.held": "Assignments the node has: queued, running, or done and not acknowledged.",
    "Heartbeat.sent": "Any number; `Beat` repeats it.",
    "Hello.key": "Ed25519 public key, 32 bytes: the node's identity.",
    "Hello.memory_bytes": "Memory the machine lends.",
    "Hello.milli_cpus": "CPU the machine lends.",
    "Hello.name": "What its owner calls the machine.",
    "JobInfo.counts": "Units and tasks by where they are.",
    "JobInfo.created_at": "When it was submitted.",
    "JobInfo.ended_at": "When it ended; 0 while it has not.",
    "JobInfo.id": "Public id of the job.",
    "JobInfo.name": 'Name its owner gave it, "" for none.',
    "JobInfo.paused": "Nothing of it is leased for now.",
    "JobInfo.revision": "Rises when an answer changes.",
    "JobInfo.spec": "What was submitted; a large grid's values and long arguments are left out.",
    "JobInfo.state": "`validating`, `invalid`, `open`, `sealed`, `completed`, `final`, `failed` or `cancelled`.",
    "JobRequest.group": "Group the job is submitted to.",
    "JobRequest.name": "Name by which it is found again; unique among the owner's jobs.",
    "JobRequest.reduce": "How answers are combined: `collect`, `concatenate`, `sum`, `count`, `minimum`, `maximum`, "
    "`merge-counters` or `first`.",
    "JobRequest.runtime": "What runs the program: `wasm`, and what else the grid's nodes offer.",
    "JobRequest.split": "How the input is cut into tasks.",
    "JobRequest.priority": "−100 to 100; higher goes first.",
    "JobSpec.split": "How the input is cut into tasks.",
    "JobSpec.runtime": "What runs the program.",
    "JobSpec.priority": "−100 to 100; higher goes first.",
    "JobSpec.completion": "When it is complete.",
    "JobUpdate.job": "The job as it is now.",
    "Lease.assignment": "Token by which the node reports it, 16 bytes.",
    "Lease.deadline_ms": "How long the task may take in all, from when the message came.",
    "Lease.input": "What the program gets.",
    "LeaseSpec.args": "Arguments of every run, before those of the input.",
    "LeaseSpec.memory_bytes": "Memory one run may use.",
    "LeaseSpec.milli_cpus": "CPU one run needs.",
    "LeaseSpec.output_bytes": "What one run may write to stdout.",
    "LeaseSpec.program": "Hex SHA-256 of the program: `GET /v1/blobs/PROGRAM`.",
    "LeaseSpec.program_bytes": "Size of the program; 0 when the hub does not know it.",
    "LeaseSpec.split": "`kind` of the job's split: for `items` and `grid` each unit is a run with an answer of its own.",
    "LeaseSpec.timeout_ms": "How long one run may take.",
    "Opened.job": "The job as it is now.",
    "Part.start": "First item of the chunk that is meant.",
    "Part.stop": "The item after the last that is meant.",
    "Part.data": "A packed chunk.",
    "Progress.units": "(assignment, units done) of each.",
    "Proof.signature": "Ed25519, 64 bytes.",
    "Range.start": "First integer.",
    "Range.stop": "The integer after the last.",
    "Read.after": "Rows up to this ordinal are not wanted; −1 for all.",
    "Read.window": "Rows the client takes before it grants more.",
    "Remainder.at": "The first unit that is not done.",
    "Report.results": "Results, each with its place among the leaves.",
    "Report.signature": "Ed25519 over the root of the leaves, 64 bytes.",
    "ResultProof.assignment": "Token of the assignment, 16 bytes.",
    "ResultProof.count": "How many leaves the tree has.",
    "ResultProof.grid": "Id of the grid, 16 bytes.",
    "ResultProof.index": "Place of the leaf in the tree.",
    "ResultProof.input": "Digest of what the program was given, 32 bytes.",
    "ResultProof.path": "Hashes from the leaf to the root, 32 bytes each, lowest first.",
    "ResultProof.usage": "(cpu_ms, wall_ms, memory_bytes, size) as they are in the leaf.",
    "ResultProof.signature": "Ed25519 over the root, 64 bytes.",
    "ResultEntry.memory_bytes": "The most memory a run used.",
    "ResultEntry.outcome": "What came of the assignment.",
    "ResultEntry.payload": f"The answer, when it is at most {limits.INLINE_BYTES:,} bytes.",
    "ResultRow.ordinal": "Number of the task in its job.",
    "ResultRow.outcome": "0 ok, 1 the program failed, 2 the machine failed.",
    "ResultRow.parent": "Ordinal of the task this one was split from, −1 for none.",
    "ResultRow.payload": "The answer of the task.",
    "ResultRow.revision": "Attempt whose result this is; a later row of the same task replaces it.",
    "ResultRow.state": "State of the task: 5 validated, 6 split (its children answer), 7 abandoned.",
    "Results.rows": "Settled tasks.",
    "Welcome.grid": "Id of the grid, 16 bytes: part of everything that is signed.",
    "Welcome.version": "Version of the protocol both sides speak from here on.",
    "Counts.abandoned": "Tasks given up after too many lost leases.",
    "Counts.in_progress": "Tasks leased to a node.",
    "Counts.in_queue": "Tasks that wait for a node.",
    "Counts.split": "Tasks whose rest became tasks of its own.",
    "Counts.validated": "Tasks settled with an answer.",
    "Open.request": "The job.",
}

# A struct whose fields mean what another's of the same name do.
BORROWED: Final[dict[type[msgspec.Struct], type[msgspec.Struct]]] = {m.JobRequest: JobSpec}

_UNITS: Final = (
    (re.compile(r".*_ms"), "ms"),
    (re.compile(r".*_bytes|size"), "bytes"),
    (re.compile(r"milli_cpus"), "thousandths of a core"),
    (re.compile(r".*_at"), "ms since the epoch"),
    (re.compile(r"speed"), "operations per second"),
)
_COMMENT: Final = re.compile(r"^ {4}(\w+): .*?  # (.+)$", re.MULTILINE)
_NAMES: Final = re.compile(r"(?:^|(?<=[.:;]\s))(\w+(?:, \w+)*): ")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\[(−])|;\s+(?=`)")


@dataclass(frozen=True, slots=True)
class Docs:
    """What a struct says of itself: `text` without the attributes, and for each field its words and unit."""

    text: str
    fields: dict[str, str]
    units: dict[str, str]


def of(cls: type[msgspec.Struct]) -> Docs:
    """The words about a struct; a field nobody described has "", which the tests do not let pass."""
    text, said, named = _told(cls)
    borrowed = _told(BORROWED[cls])[1] if cls in BORROWED else {}
    own = {
        name: words
        for key, words in VOCABULARY.items()
        for kind, _, name in [key.partition(".")]
        if kind == cls.__name__
    }
    ranked = (said, own, named, borrowed, VOCABULARY)
    fields = {name: next((words[name] for words in ranked if name in words), "") for name in cls.__struct_fields__}
    return Docs(text, fields, {name: unit_of(name) for name in fields})


def unit_of(name: str) -> str:
    """The unit of a field, from its name: limits and records are named like that throughout."""
    return next((unit for pattern, unit in _UNITS if pattern.fullmatch(name)), "")


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its full stop."""
    return [_sentence(each) for each in _SENTENCE.split(" ".join(text.split()))]


def _told(cls: type[msgspec.Struct]) -> tuple[str, dict[str, str], dict[str, str]]:
    """What the class says: of itself; of its fields, one by one; and in sentences that name them on the way."""
    text, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:")
    names = set(cls.__struct_fields__)
    named: dict[str, str] = {}
    for each in sentences(text):
        for name in re.findall(r"`(\w+)`", each):
            if name in names:
                named[name] = f"{named[name]} {each}" if name in named else each
    said = {name: _sentence(comment) for name, comment in _COMMENT.findall(inspect.getsource(cls)) if name in names}
    return text.strip(), said | dict(_attributes(attributes, names)), named


def _attributes(text: str, names: set[str]) -> Iterable[tuple[str, str]]:
    """`name: words` and `one, other: words`, several to a line or one over several."""
    text = " ".join(text.split())
    starts: list[Any] = [each for each in _NAMES.finditer(text) if names & set(each[1].split(", "))]
    for start, after in zip(starts, [*starts[1:], None]):
        told = _sentence(text[start.end() : after.start() if after else len(text)])
        for name in names & set(start[1].split(", ")):
            yield name, told


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
