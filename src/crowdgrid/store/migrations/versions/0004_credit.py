"""Credit: what nodes earned by each job, a row for each time a job was settled with them. And the address block a node
was last seen at. A column is added at the end; no row is rewritten."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("node", sa.Column("block", sa.Text(), nullable=False, server_default=""))
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    keys = ("job", "node", "turn")
    op.create_table(
        "credit",
        *(sa.Column(name, number, nullable=False, autoincrement=False) for name in keys),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("submitter", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(*keys),
        sqlite_with_rowid=False,
    )
    op.create_index("credit_node", "credit", ["node", "at"])
    op.create_index("credit_kind", "credit", ["kind", "at"])
