"""Alembic runs this. It only ever writes scripts (see `store/alembic_scripts.py`), never connects."""

from alembic import context

context.configure(
    dialect_name=context.config.attributes["dialect"],
    literal_binds=True,
    transactional_ddl=False,  # the adapter's own transaction is around it
)
context.run_migrations()
