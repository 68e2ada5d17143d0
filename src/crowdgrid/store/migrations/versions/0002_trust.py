"""Whose Python a node runs, and the input an answer was signed for.

Both columns are added at the end and no row is rewritten: a result of before keeps a null `input`, which is read as
"not known".
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("node", sa.Column("trusts", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("assignment", sa.Column("input", sa.LargeBinary(), nullable=True))
