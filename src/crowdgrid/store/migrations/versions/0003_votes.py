"""Votes: how many nodes a task wants, how sure its answer is, what every node's answers have shown, and how its trust
index moved.

Columns are added at the end and no row is rewritten: tasks of before want one node, and nothing is said of how sure
their answers are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("task", sa.Column("wanted", sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("task", sa.Column("confidence", sa.Double(), nullable=False, server_default="0"))
    op.add_column("task", sa.Column("since", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("task", sa.Column("voters", sa.LargeBinary(), nullable=True))
    op.create_table(
        "standing",
        sa.Column("node", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("judged", sa.BigInteger(), nullable=False),
        sa.Column("wrong", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("doubted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("node", "kind"),
        sqlite_with_rowid=False,
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    keys = ("node", "at", "job", "ordinal")
    op.create_table(
        "trust_move",
        *(sa.Column(name, number, nullable=False, autoincrement=False) for name in keys),
        sa.Column("before", sa.Double(), nullable=False),
        sa.Column("after", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(*keys),
        sqlite_with_rowid=False,
    )
