"""Every statement the SQL adapters run, as SQLAlchemy constructs over `schema.py`.

Read at generation only. Parameters are named; `generate.py` writes down their order. Reads that
answer with task rows, assignment rows, … select all columns in the table's order: `rows.py` relies on it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement

from crowdgrid.core.model import VOTER_BYTES, AssignmentState, JobState, Outcome, TaskState
from crowdgrid.store.schema import (
    ENDED_JOBS,
    OPEN_JOBS,
    SETTLED_TASKS,
    alembic_version,
    among,
    assignment,
    chunk,
    credit,
    dropped,
    grid,
    invitation,
    is_flawed,
    is_open,
    job,
    job_spec,
    literal,
    node,
    partial,
    signature,
    standing,
    task,
    token,
    trust_move,
)

Select = sa.Select[Any]

HAS_COMPARATOR = '%"comparison":{"kind":"program"%'  # as `JobSpec` is written

JOB = sa.select(job, job_spec.c.spec).join_from(job, job_spec, job_spec.c.job == job.c.number)
LEASED = assignment.c.state == literal(int(AssignmentState.LEASED))
VOTED = sa.and_(
    assignment.c.state == literal(int(AssignmentState.REPORTED)),
    assignment.c.attempt >= task.c.since,
    assignment.c.outcome != literal(int(Outcome.NODE_ERROR)),
)
OPEN_JOB = among(job.c.state, OPEN_JOBS)


class Within(ColumnElement[bool]):
    """Whether the bytes `part` are somewhere in the bytes `whole`."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, part: sa.ColumnElement[Any], whole: sa.ColumnElement[Any]) -> None:
        self.part, self.whole = part, whole


@compiles(Within, "sqlite")
def _within_sqlite(element: Within, compiler: Any, **options: Any) -> str:
    whole, part = compiler.process(element.whole, **options), compiler.process(element.part, **options)
    return f"instr({whole}, {part}) > 0"


@compiles(Within, "postgresql")
def _within_postgres(element: Within, compiler: Any, **options: Any) -> str:
    whole, part = compiler.process(element.whole, **options), compiler.process(element.part, **options)
    return f"position({part} IN {whole}) > 0"


def _at(column: sa.Column[Any], name: str = "") -> sa.BindParameter[Any]:
    """The parameter `name` (the column's own name when not given), of the column's type."""
    return sa.bindparam(name or column.name, type_=column.type)


def _same(column: sa.Column[Any], name: str = "") -> sa.ColumnElement[bool]:
    return column == _at(column, name)


def _limit(query: Select) -> Select:
    # SQLite's compiler adds an offset in any case; written out it is at least no parameter.
    return query.limit(sa.bindparam("limit", type_=sa.BigInteger)).offset(literal(0))


def _one_of(column: sa.Column[Any], many: int) -> sa.ColumnElement[bool]:
    """Among `many` parameters `state0`, `state1` …: a list of fixed length, so that the statement is fixed."""
    return column.in_([_at(column, f"{column.name}{i}") for i in range(many)])


def _page(query: Select, key: sa.Column[Any]) -> Select:
    """Rows above `after`, by `key`."""
    return _limit(query.where(key > _at(key, "after")).order_by(key))


def _by(query: Select, index: str) -> Select:
    """Find tasks by that partial index. SQLite, which keeps no statistics, would rather scan ten million rows."""
    return query.with_hint(task, f"INDEXED BY {index}", "sqlite")


def _open_tasks() -> sa.Join:
    return sa.join(task, job, task.c.job == job.c.number)


def _opening() -> dict[str, Select]:
    """What `Store.open` loads."""
    open_tasks = sa.and_(is_open(), OPEN_JOB)
    leased = sa.and_(
        open_tasks,
        task.c.attempts > literal(0),
        assignment.c.job == task.c.job,
        assignment.c.ordinal == task.c.ordinal,
        sa.or_(LEASED, VOTED),
    )
    held = _by(sa.select(assignment.c.node).select_from(_open_tasks(), assignment).where(leased), "task_open")
    tasks = sa.select(task).select_from(_open_tasks()).where(open_tasks).order_by(task.c.job, task.c.ordinal)
    leases = sa.select(assignment).select_from(_open_tasks(), assignment).where(leased)
    leases = leases.order_by(task.c.job, task.c.ordinal, assignment.c.attempt)
    return {
        "revision": sa.select(alembic_version.c.version_num),
        "grid": sa.select(grid),
        "dropped": sa.select(dropped.c.job).order_by(dropped.c.job),
        "open_jobs": JOB.where(OPEN_JOB).order_by(job.c.number),
        "open_tasks": _by(tasks, "task_open"),
        "open_assignments": _by(leases, "task_open"),
        "open_nodes": sa.select(node).where(node.c.number.in_(held)).order_by(node.c.number),
        "standings": sa.select(standing).order_by(standing.c.node, standing.c.kind),
        "tokens": sa.select(token).order_by(token.c.number),
        "invitations": sa.select(invitation).order_by(invitation.c.number),
    }


def _jobs() -> dict[str, Select]:
    older = sa.and_(job.c.number < _at(job.c.number, "before"), _one_of(job.c.state, len(JobState)))
    listed = _limit(JOB.where(older).order_by(job.c.number.desc()))
    ended = sa.and_(
        job.c.ended_at > literal(0),
        job.c.ended_at < _at(job.c.ended_at, "when"),
        among(job.c.state, ENDED_JOBS),
    )
    return {
        "job": JOB.where(_same(job.c.number)),
        "job_named": JOB.where(_same(job.c.owner), _same(job.c.name), job.c.name != literal("")),
        "job_keyed": JOB.where(_same(job.c.owner), _same(job.c.key), job.c.key != literal("")),
        "jobs": listed,
        "jobs_owned": listed.where(_same(job.c.owner)),
        "ended_before": _limit(sa.select(job.c.number).where(ended).order_by(job.c.ended_at, job.c.number)),
    }


def _tasks() -> dict[str, Select]:
    of_job = sa.select(task).where(_same(task.c.job))
    answer = sa.and_(
        assignment.c.job == task.c.job,
        assignment.c.ordinal == task.c.ordinal,
        assignment.c.attempt == task.c.answer,
    )
    answered = sa.select(task, assignment).select_from(sa.outerjoin(task, assignment, answer)).where(_same(task.c.job))
    parts = of_job.where(_same(task.c.parent), task.c.parent != literal(-1))
    some = of_job.where(_one_of(task.c.state, len(TaskState)))
    return {
        "task": of_job.where(_same(task.c.ordinal)),
        "tasks": _page(some, task.c.ordinal),
        "tasks_open": _by(_page(some.where(is_open()), task.c.ordinal), "task_open"),
        "children": _by(parts.order_by(task.c.start, task.c.ordinal), "task_parent"),
        "settled": _page(
            answered.where(among(task.c.state, SETTLED_TASKS), task.c.ordinal < _at(task.c.ordinal, "stop")),
            task.c.ordinal,
        ),
        "voted": _page(
            of_job.where(
                task.c.state == literal(int(TaskState.VALIDATED)), Within(_at(task.c.voters, "voter"), task.c.voters)
            ),
            task.c.ordinal,
        ),
        "alone": _alone(of_job),
        "flawed": _by(_page(answered.where(is_flawed()), task.c.ordinal), "task_flawed"),
        "assignments": sa.select(assignment)
        .where(_same(assignment.c.job), _same(assignment.c.ordinal))
        .order_by(assignment.c.attempt),
    }


def _alone(of_job: Select) -> Select:
    """The last tasks that each node has answered alone."""
    theirs, voter = task.alias("theirs"), _at(task.c.voters, "voter")
    place = sa.func.row_number().over(partition_by=theirs.c.voters, order_by=theirs.c.ordinal.desc()).label("place")
    ranked = (
        sa.select(theirs.c.ordinal, place)
        .where(
            _same(theirs.c.job),
            theirs.c.state == literal(int(TaskState.VALIDATED)),
            sa.func.length(theirs.c.voters) == literal(VOTER_BYTES),
            theirs.c.voters >= voter,
        )
        .subquery("ranked")
    )
    found = of_job.join(ranked, ranked.c.ordinal == task.c.ordinal).where(
        ranked.c.place <= _at(task.c.ordinal, "last"),
        sa.or_(task.c.voters > voter, task.c.ordinal > _at(task.c.ordinal, "after")),
    )
    return _limit(found.order_by(task.c.voters, task.c.ordinal))


def _chunks() -> Select:
    earlier = chunk.alias("earlier")
    begin = (
        sa.select(sa.func.max(earlier.c.first))
        .where(_same(earlier.c.job, "job"), earlier.c.first <= _at(chunk.c.first))
        .scalar_subquery()
    )
    return (
        sa.select(chunk)
        .where(
            _same(chunk.c.job),
            chunk.c.first >= sa.func.coalesce(begin, _at(chunk.c.first)),
            chunk.c.first < _at(chunk.c.first, "stop"),
            chunk.c.first + chunk.c.count > _at(chunk.c.first),
        )
        .order_by(chunk.c.first)
    )


def _credits() -> dict[str, Select]:
    # Also answers that came late or were canaries, and so are no votes.
    given = among(assignment.c.state, (int(AssignmentState.REPORTED), int(AssignmentState.RETRACTED)))
    same = sa.and_(assignment.c.job == task.c.job, assignment.c.ordinal == task.c.ordinal, given)
    voted = sa.join(task, assignment, same)
    of_job = sa.and_(_same(task.c.job), task.c.state == literal(int(TaskState.VALIDATED)))
    stands = sa.and_(of_job, assignment.c.outcome == task.c.outcome, assignment.c.digest == task.c.digest)
    units = task.c.stop - task.c.start
    # A node that answered twice is paid once.
    once = sa.select(task.c.ordinal, units.label("units"), assignment.c.node).select_from(voted).where(stands)
    right = once.where(assignment.c.node > _at(assignment.c.node, "after")).distinct().subquery("right")
    earned = sa.select(right.c.node, sa.func.count(), sa.func.sum(right.c.units))
    claimed = sa.select(task.c.ordinal, units, assignment.c.node, assignment.c.cpu_ms).select_from(voted)
    several = sa.func.length(task.c.voters) > literal(VOTER_BYTES)
    differs = sa.or_(assignment.c.outcome != task.c.outcome, assignment.c.digest != task.c.digest)
    outvoted = (
        sa.select(assignment.c.ordinal)
        .where(same, differs, assignment.c.outcome != literal(int(Outcome.NODE_ERROR)))
        .correlate(task)
    )
    day = credit.c.at // literal(86_400_000)
    days = sa.select(credit.c.node, credit.c.owner, day, sa.func.sum(credit.c.amount))
    some = sa.or_(_at(credit.c.owner, "whose") == literal(""), credit.c.owner == _at(credit.c.owner, "whose"))
    days = days.group_by(credit.c.node, credit.c.owner, day).order_by(credit.c.node, credit.c.owner, day)
    entries = sa.select(credit)
    later = sa.tuple_(credit.c.node, credit.c.turn) > sa.tuple_(_at(credit.c.node), _at(credit.c.turn))
    return {
        "earned": _limit(earned.group_by(right.c.node).order_by(right.c.node)),
        "claimed": _limit(claimed.where(stands, several).order_by(task.c.ordinal, assignment.c.node)),
        "outvoted": _page(sa.select(task).where(of_job, several, sa.exists(outvoted)), task.c.ordinal),
        "credits": _limit(entries.where(_same(credit.c.job), later).order_by(credit.c.node, credit.c.turn)),
        "credits_of": _limit(
            entries.where(_same(credit.c.node), credit.c.at < _at(credit.c.at, "before")).order_by(
                credit.c.at.desc(), credit.c.job.desc(), credit.c.turn.desc()
            )
        ),
        "credit_days": _limit(days.where(credit.c.node > _at(credit.c.node, "after"), some)),
        "credit_days_of": _limit(days.where(_same(credit.c.node))),
        "price": _limit(
            sa.select(credit.c.price)
            .where(_same(credit.c.kind), credit.c.price > literal(0))
            .order_by(credit.c.at.desc())
        ),
    }


def _others() -> dict[str, Select]:
    nodes = sa.select(node)
    return {
        "signature": sa.select(signature).where(_same(signature.c.number)),
        "trust_moves": _limit(
            sa.select(trust_move)
            .where(_same(trust_move.c.node), trust_move.c.at < _at(trust_move.c.at, "before"))
            .order_by(trust_move.c.at.desc(), trust_move.c.job.desc(), trust_move.c.ordinal.desc())
        ),
        "chunks": _chunks(),
        "partials": sa.select(partial).where(_same(partial.c.job)).order_by(partial.c.block),
        "node": nodes.where(_same(node.c.number)),
        "node_keyed": nodes.where(_same(node.c.key)),
        "nodes": _page(nodes, node.c.number),
        "nodes_owned": _page(nodes.where(_same(node.c.owner)), node.c.number),
    }


def _named_blobs() -> dict[str, Select]:
    """Pages for the collector: where it stands, then the digest."""
    gone = sa.select(dropped.c.job)

    def page(table: sa.Table, *keys: sa.Column[Any]) -> Select:
        after = sa.tuple_(*keys) > sa.tuple_(*(_at(key) for key in keys))
        wanted = sa.and_(table.c.blob != literal(""), table.c.job.not_in(gone), after)
        return _limit(sa.select(*keys, table.c.blob).where(wanted).order_by(*keys))

    return {
        "programs_named": _page(sa.select(job.c.number, job.c.program), job.c.number),
        "comparators_named": _page(
            sa.select(job_spec.c.job, job_spec.c.spec).where(job_spec.c.spec.like(literal(HAS_COMPARATOR))),
            job_spec.c.job,
        ),
        "chunks_named": page(chunk, chunk.c.job, chunk.c.first),
        "results_named": page(assignment, assignment.c.job, assignment.c.ordinal, assignment.c.attempt),
    }


def queries() -> dict[str, Select]:
    """Every read, by name."""
    return {**_opening(), **_jobs(), **_tasks(), **_others(), **_credits(), **_named_blobs()}


SWEPT = (
    (assignment, assignment.c.ordinal),
    (task, task.c.ordinal),
    (chunk, chunk.c.first),
    (partial, partial.c.block),
)
FENCED = ("now", "jobs", "nodes", "signatures", "tokens", "invitations")


def writes() -> dict[str, sa.Executable]:
    """Every write but the upserts, by name."""
    found: dict[str, sa.Executable] = {
        "fence": sa.update(grid)
        .values({"batch": _at(grid.c.batch), **{name: _at(grid.c[name]) for name in FENCED}})
        .where(grid.c.id == literal(1), _same(grid.c.epoch), grid.c.batch == _at(grid.c.batch) - literal(1)),
        "take_over": sa.update(grid).values(epoch=grid.c.epoch + literal(1)).where(grid.c.id == literal(1)),
        "create": sa.insert(grid).values({column.name: _at(column) for column in grid.c}),
        "stamp": sa.insert(alembic_version).values(version_num=_at(alembic_version.c.version_num)),
        "drop_partial": sa.delete(partial).where(_same(partial.c.job), _same(partial.c.block)),
        "drop_job": sa.delete(job).where(_same(job.c.number)),
        "drop_spec": sa.delete(job_spec).where(_same(job_spec.c.job)),
        "note_dropped": sa.insert(dropped).values(job=_at(dropped.c.job)),
        "forget_dropped": sa.delete(dropped).where(_same(dropped.c.job)),
    }
    for table, key in SWEPT:
        found[f"first_{table.name}"] = sa.select(sa.func.min(key)).where(_same(table.c.job))
        found[f"sweep_{table.name}"] = sa.delete(table).where(_same(table.c.job), key < _at(key, "stop"))
    return found
