"""The first schema.

A revision is frozen: it imports nothing of ours, so that it goes on meaning what it meant.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def key(name: str) -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def integers(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def small(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.SmallInteger(), nullable=nullable)


def boolean(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def texts(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def binary(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def index(name: str, table: str, columns: list[str], *, where: str = "", unique: bool = False) -> None:
    options: dict[str, Any] = {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)} if where else {}
    op.create_index(name, table, columns, unique=unique, **options)


def upgrade() -> None:
    grid()
    jobs()
    tasks()
    assignments()
    nodes()
    inputs()
    people()


def grid() -> None:
    counters = ("epoch", "batch", "now", "jobs", "nodes", "signatures", "tokens", "invitations")
    op.create_table("grid", key("id"), *integers(*counters), binary("grid_id"), binary("id_key"))
    op.create_table("dropped", key("job"))


def jobs() -> None:
    op.create_table(
        "job",
        key("number"),
        *texts("owner", "group", "name", "key"),
        *integers("created_at"),
        *texts("state", "program", "counts"),
        boolean("paused"),
        *texts("reason"),
        *integers("hit", "revision", "ended_at"),
        *texts("origin"),
        *integers("format"),
        boolean("sealed"),
        boolean("retrying"),
    )
    index("job_name", "job", ["owner", "name"], where="name != ''", unique=True)
    index("job_key", "job", ["owner", "key"], where="\"key\" != ''", unique=True)
    index("job_open", "job", ["number"], where="state IN ('validating', 'open', 'sealed', 'completed')")
    index("job_ended", "job", ["ended_at"], where="ended_at > 0")
    index("job_owner", "job", ["owner", "number"])
    op.create_table("job_spec", key("job"), *texts("spec"))


def tasks() -> None:
    op.create_table(
        "task",
        key("job"),
        key("ordinal"),
        *integers("start", "stop"),
        small("state"),
        *integers("created_at", "attempts", "stale", "answer"),
        small("outcome"),
        binary("digest"),
        *integers("errors", "parent", "bound_to"),
        sqlite_with_rowid=False,
    )
    index("task_open", "task", ["job", "ordinal"], where="state <= 4")
    index("task_flawed", "task", ["job", "ordinal"], where="state = 7 OR state = 5 AND errors > 0")
    index("task_parent", "task", ["job", "parent"], where="parent != -1")


def assignments() -> None:
    used = ("errors", "cpu_ms", "wall_ms", "memory_bytes", "signature", "leaf", "reported_at")
    op.create_table(
        "assignment",
        key("job"),
        key("ordinal"),
        key("attempt"),
        *integers("node"),
        small("state"),
        *integers("leased_at", "deadline_ms", "ended_at"),
        small("outcome", nullable=True),
        binary("digest", nullable=True),
        binary("payload", nullable=True),
        *texts("blob", nullable=True),
        *integers("size", nullable=True),
        *texts("error", nullable=True),
        *integers(*used, nullable=True),
        binary("stderr", nullable=True),
        sqlite_with_rowid=False,
    )
    index("assignment_blob", "assignment", ["job", "ordinal", "attempt"], where="blob != ''")
    op.create_table("signature", key("number"), *integers("node"), binary("leaves"), binary("signature"))


def nodes() -> None:
    op.create_table(
        "node",
        key("number"),
        binary("key"),
        *texts("owner", "group", "name"),
        *integers("created_at"),
        *texts("state", "runtimes", "labels", "region"),
        *integers("milli_cpus", "memory_bytes"),
        sa.Column("speed", sa.Double(), nullable=False),
        sa.Column("trust", sa.Double(), nullable=False),
        *integers("validated", "lost", "seen_at"),
        binary("inventory"),
        binary("benchmarks"),
        *integers("format"),
        small("linked"),
    )
    index("node_key", "node", ["key"], unique=True)
    index("node_owner", "node", ["owner", "number"])


def inputs() -> None:
    op.create_table("chunk", key("job"), key("first"), *integers("count", "size"), binary("data"), *texts("blob"))
    index("chunk_blob", "chunk", ["job", "first"], where="blob != ''")
    op.create_table("partial", key("job"), key("block"), binary("value"), sqlite_with_rowid=False)


def people() -> None:
    times = ("expires_at", "revoked_at")
    op.create_table(
        "token",
        key("number"),
        *texts("secret_hash", "owner", "role", "name"),
        *integers("created_at", *times),
    )
    index("token_secret", "token", ["secret_hash"], unique=True)
    op.create_table(
        "invitation",
        key("number"),
        *texts("code_hash", "owner", "group"),
        *integers("created_at", "uses_left", *times),
    )
    index("invitation_code", "invitation", ["code_hash"], unique=True)
