"""The tables, once, for SQLite and PostgreSQL (SQLAlchemy Core).

Nothing imports this at run time: SQLAlchemy costs half a second. `generate.py` turns tables and
queries into `statements_sqlite.py` and `statements_postgres.py`, which are committed.

Why it looks like this:

- The hot tables, `task` and `assignment`, have integer keys and (in SQLite) no row id: one b-tree each.
- A result lives in its assignment's row; its columns are null until there is one.
- Partial indexes hold only what is open, flawed, split or names a blob, so settled rows cost nothing there.
- A job's spec may be megabytes and hardly ever changes while its counters change with every batch: own table.
- `dropped` names jobs whose rows are still being removed, a few with each commit.

A change here needs a new revision in `migrations/versions/`: see the README.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from crowdgrid.core.model import JobState, TaskState

metadata = sa.MetaData()

OPEN_JOBS = tuple(state.value for state in (JobState.VALIDATING, JobState.OPEN, JobState.SEALED, JobState.COMPLETED))
ENDED_JOBS = tuple(state.value for state in JobState if state.value not in OPEN_JOBS)
OPEN_TASK_MAX = int(TaskState.FAILED)
SETTLED_TASKS = (int(TaskState.VALIDATED), int(TaskState.SPLIT), int(TaskState.ABANDONED))


def _integer(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=options.pop("nullable", False), **options)


def _key(name: str) -> sa.Column[int]:
    """A key column the engine counts itself. In SQLite a lone INTEGER key *is* the row id."""
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False)


def _small(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger, nullable=nullable)


def _text(name: str, *, nullable: bool = False, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable, **options)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def _boolean(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def literal(value: int | str) -> sa.ColumnElement[Any]:
    """`value` as written SQL: a partial index is only used where its condition can be seen in the statement."""
    return sa.literal_column(f"'{value}'" if isinstance(value, str) else str(value))


def among(column: sa.ColumnElement[Any], values: tuple[int | str, ...]) -> sa.ColumnElement[bool]:
    """`column` is one of `values`, written out."""
    return column.in_([literal(value) for value in values])


def _partial(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool], unique: bool = False) -> None:
    sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


grid = sa.Table(
    "grid",
    metadata,
    _key("id"),  # always 1
    _integer("epoch"),
    _integer("batch"),
    _integer("now"),
    _integer("jobs"),
    _integer("nodes"),
    _integer("signatures"),
    _integer("tokens"),
    _integer("invitations"),
    _bytes("grid_id"),
    _bytes("id_key"),
)

job = sa.Table(
    "job",
    metadata,
    _key("number"),
    _text("owner"),
    _text("group"),
    _text("name"),
    _text("key"),
    _integer("created_at"),
    _text("state"),
    _text("program"),  # of the spec, for the collector
    _text("counts"),  # JSON of `Counts`
    _boolean("paused"),
    _text("reason"),
    _integer("hit"),
    _integer("revision"),
    _integer("ended_at"),
    _text("origin"),
    _integer("format"),
    _boolean("sealed"),
    _boolean("retrying"),
)
_partial("job_name", job.c.owner, job.c.name, where=job.c.name != literal(""), unique=True)
_partial("job_key", job.c.owner, job.c.key, where=job.c.key != literal(""), unique=True)
_partial("job_open", job.c.number, where=among(job.c.state, OPEN_JOBS))
_partial("job_ended", job.c.ended_at, where=job.c.ended_at > literal(0))
sa.Index("job_owner", job.c.owner, job.c.number)

job_spec = sa.Table("job_spec", metadata, _key("job"), _text("spec"))  # JSON of `JobSpec`

task = sa.Table(
    "task",
    metadata,
    _key("job"),
    _key("ordinal"),
    _integer("start"),
    _integer("stop"),
    _small("state"),
    _integer("created_at"),
    _integer("attempts"),
    _integer("stale"),
    _integer("answer"),
    _small("outcome"),
    _bytes("digest"),
    _integer("errors"),
    _integer("parent"),
    _integer("bound_to"),
    _integer("wanted", server_default="1"),
    sa.Column("confidence", sa.Double, nullable=False, server_default="0"),
    _integer("since", server_default="0"),
    sa.Column("voters", sa.LargeBinary, nullable=True),  # null: none
    sqlite_with_rowid=False,
)


def is_open(table: sa.FromClause = task) -> sa.ColumnElement[bool]:
    """The task is not settled."""
    return table.c.state <= literal(OPEN_TASK_MAX)


def is_flawed(table: sa.FromClause = task) -> sa.ColumnElement[bool]:
    """The task was abandoned, or its answer has errors in it."""
    wrong = sa.and_(table.c.state == literal(int(TaskState.VALIDATED)), table.c.errors > literal(0))
    return sa.or_(table.c.state == literal(int(TaskState.ABANDONED)), wrong)


_partial("task_open", task.c.job, task.c.ordinal, where=is_open())
_partial("task_flawed", task.c.job, task.c.ordinal, where=is_flawed())
_partial("task_parent", task.c.job, task.c.parent, where=task.c.parent != literal(-1))

assignment = sa.Table(
    "assignment",
    metadata,
    _key("job"),
    _key("ordinal"),
    _key("attempt"),
    _integer("node"),
    _small("state"),
    _integer("leased_at"),
    _integer("deadline_ms"),
    _integer("ended_at"),
    # The result, as `Result` has it; null together.
    _small("outcome", nullable=True),
    _bytes("digest", nullable=True),
    _bytes("payload", nullable=True),
    _text("blob", nullable=True),
    _integer("size", nullable=True),
    _text("error", nullable=True),
    _integer("errors", nullable=True),
    _integer("cpu_ms", nullable=True),
    _integer("wall_ms", nullable=True),
    _integer("memory_bytes", nullable=True),
    _integer("signature", nullable=True),
    _integer("leaf", nullable=True),
    _integer("reported_at", nullable=True),
    _bytes("stderr", nullable=True),
    _bytes("input", nullable=True),  # null also in results of before revision 0002
    sqlite_with_rowid=False,
)
_partial(
    "assignment_blob",
    assignment.c.job,
    assignment.c.ordinal,
    assignment.c.attempt,
    where=assignment.c.blob != literal(""),
)
LEASE_COLUMNS = 8  # of assignment, before its result

signature = sa.Table("signature", metadata, _key("number"), _integer("node"), _bytes("leaves"), _bytes("signature"))

node = sa.Table(
    "node",
    metadata,
    _key("number"),
    sa.Column("key", sa.LargeBinary, nullable=False),
    _text("owner"),
    _text("group"),
    _text("name"),
    _integer("created_at"),
    _text("state"),
    _text("runtimes"),  # JSON list
    _text("labels"),  # JSON list
    _text("region"),
    _integer("milli_cpus"),
    _integer("memory_bytes"),
    sa.Column("speed", sa.Double, nullable=False),
    sa.Column("trust", sa.Double, nullable=False),
    _integer("validated"),
    _integer("lost"),
    _integer("seen_at"),
    _bytes("inventory"),
    _bytes("benchmarks"),
    _integer("format"),
    _small("linked"),
    _text("trusts", server_default="[]"),  # JSON list
    _text("block", server_default=""),
)
sa.Index("node_key", node.c.key, unique=True)
sa.Index("node_owner", node.c.owner, node.c.number)

standing = sa.Table(
    "standing",
    metadata,
    _key("node"),
    sa.Column("kind", sa.Text, primary_key=True),
    _bytes("evidence"),  # doubles, little endian, one a rate of `trust.belief`
    _integer("judged"),
    sa.Column("wrong", sa.Double, nullable=False),
    _integer("updated_at"),
    _boolean("doubted"),
    sqlite_with_rowid=False,
)

trust_move = sa.Table(
    "trust_move",
    metadata,
    _key("node"),
    _key("at"),
    _key("job"),
    _key("ordinal"),
    sa.Column("before", sa.Double, nullable=False),
    sa.Column("after", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)

credit = sa.Table(
    "credit",
    metadata,
    _key("job"),
    _key("node"),
    _key("turn"),
    _integer("at"),
    _text("submitter"),
    _text("owner"),
    _text("kind"),
    _integer("amount"),  # millionths
    _integer("units"),
    _integer("tasks"),
    sa.Column("price", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("credit_node", credit.c.node, credit.c.at)
sa.Index("credit_kind", credit.c.kind, credit.c.at)

chunk = sa.Table(
    "chunk",
    metadata,
    _key("job"),
    _key("first"),
    _integer("count"),
    _integer("size"),
    _bytes("data"),
    _text("blob"),
)
_partial("chunk_blob", chunk.c.job, chunk.c.first, where=chunk.c.blob != literal(""))

partial = sa.Table("partial", metadata, _key("job"), _key("block"), _bytes("value"), sqlite_with_rowid=False)

token = sa.Table(
    "token",
    metadata,
    _key("number"),
    _text("secret_hash"),
    _text("owner"),
    _text("role"),
    _text("name"),
    _integer("created_at"),
    _integer("expires_at"),
    _integer("revoked_at"),
)
sa.Index("token_secret", token.c.secret_hash, unique=True)

invitation = sa.Table(
    "invitation",
    metadata,
    _key("number"),
    _text("code_hash"),
    _text("owner"),
    _text("group"),
    _integer("created_at"),
    _integer("uses_left"),
    _integer("expires_at"),
    _integer("revoked_at"),
)
sa.Index("invitation_code", invitation.c.code_hash, unique=True)

dropped = sa.Table("dropped", metadata, _key("job"))

alembic_version = sa.Table(
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
