"""The statements that are committed are those the schema and the queries give."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa

from crowdgrid.core import model
from crowdgrid.store import generate, queries, rows, schema, statements_postgres, statements_sqlite


def test_generated_statements_have_not_drifted() -> None:
    assert generate.drifted() == [], "run `python -m crowdgrid.store.generate`"


def test_check_tells_what_has_drifted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(queries, "queries", lambda: {"grid": sa.select(schema.grid.c.now)})
    assert generate.main(["--check"]) == 1
    assert "statements_sqlite.py has drifted" in capsys.readouterr().out


def test_both_databases_have_the_same_statements() -> None:
    for part in ("UPSERTS", "QUERIES", "WRITES"):
        assert list(getattr(statements_sqlite, part)) == list(getattr(statements_postgres, part))


def test_parameters_of_a_statement_have_one_order_per_name() -> None:
    for statements in (statements_sqlite, statements_postgres):
        for sql, names in {**statements.QUERIES, **statements.WRITES}.values():
            assert len(set(names)) == len(names)
            mark = "?" if statements is statements_sqlite else "$"
            assert all(f"{mark}{at + 1}" in sql for at in range(len(names)))


@pytest.mark.parametrize(
    ("table", "record", "aside"),
    [
        (schema.task, model.Task, set()),
        (schema.node, model.Node, set()),
        (schema.signature, model.Signature, set()),
        (schema.chunk, model.Chunk, set()),
        (schema.partial, model.Partial, set()),
        (schema.token, model.Token, set()),
        (schema.invitation, model.Invitation, set()),
        (schema.grid, model.GridRow, {"id"}),
        (schema.job, model.Job, {"program", "counts", "spec"}),
    ],
)
def test_columns_stand_in_the_order_of_the_fields(table: sa.Table, record: type, aside: set[str]) -> None:
    """Rows become records by position; a field added to a record needs a column, and a revision."""
    columns = [column.name for column in table.columns if column.name not in aside]
    assert columns == [name for name in record.__struct_fields__ if name not in aside]  # type: ignore[attr-defined]


def test_an_assignments_columns_are_its_fields_and_then_its_results() -> None:
    columns = [column.name for column in schema.assignment.columns]
    fields = [name for name in model.Assignment.__struct_fields__ if name != "result"]
    assert columns == [*fields, *model.Result.__struct_fields__]
    assert len(fields) == schema.LEASE_COLUMNS
    assert len(model.Task.__struct_fields__) == rows.TASK_COLUMNS


def test_every_group_of_rows_knows_its_key() -> None:
    tables = {"lease": "assignment", "result": "assignment"}
    for group, width in rows.KEY_COLUMNS.items():
        table = schema.metadata.tables[tables.get(group, group)]
        keys = [column.name for column in table.primary_key]
        assert [column.name for column in table.columns][:width] == keys
    assert set(rows.KEY_COLUMNS) == set(statements_sqlite.UPSERTS)


@pytest.mark.parametrize("name", sorted({**statements_sqlite.QUERIES, **statements_sqlite.WRITES}))
def test_no_statement_walks_through_every_task_or_result(name: str) -> None:
    """With ten million settled tasks a scan takes seconds; only the indexes of what is open may be walked through."""
    database = sqlite3.connect(":memory:")
    for statement in statements_sqlite.DDL:
        database.execute(statement)
    sql, names = {**statements_sqlite.QUERIES, **statements_sqlite.WRITES}[name]
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * len(names))]
    database.close()
    assert not [step for step in plan if step in ("SCAN task", "SCAN assignment", "SCAN signature", "SCAN chunk")]
