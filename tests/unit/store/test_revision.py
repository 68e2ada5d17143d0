"""Which statements an opened database needs."""

from __future__ import annotations

import pytest

from crowdgrid.errors import Unavailable
from crowdgrid.store.alembic_scripts import statements
from crowdgrid.store.generate import _one_line
from crowdgrid.store.revision import needed, newest

UPGRADES = {"1": ["a", "b"], "2": ["c"], "3": ["d", "e"]}
TABLES = {"grid", "alembic_version"}


def steps(tables: set[str], found: str | None) -> list[str]:
    return [*needed("here", tables, found, upgrades=UPGRADES, ddl=["all"])]


def test_a_new_store_is_made_at_once() -> None:
    assert steps(set(), None) == ["all"]
    assert newest(UPGRADES) == "3"


@pytest.mark.parametrize(("found", "run"), [("1", ["c", "d", "e"]), ("2", ["d", "e"]), ("3", [])])
def test_an_older_store_is_led_through_each_revision_it_lacks(found: str, run: list[str]) -> None:
    assert steps(TABLES, found) == run


@pytest.mark.parametrize(
    ("tables", "found", "sentence"),
    [
        (TABLES, "4", "revision 4"),
        (TABLES, None, "something else"),
        ({"recipes"}, None, "something else"),
        ({"alembic_version"}, "1", "something else"),  # another program that uses Alembic
    ],
)
def test_what_is_not_an_older_store_of_ours_is_left_alone(tables: set[str], found: str | None, sentence: str) -> None:
    with pytest.raises(Unavailable, match=sentence):
        steps(tables, found)


# --- how they are made ------------------------------------------------------------------------------


def test_a_script_is_cut_at_statements_not_at_semicolons() -> None:
    script = "-- Running upgrade 1 -> 2\n\nCREATE TABLE t (a TEXT DEFAULT ';');\n\nUPDATE t\nSET a = 'x;\ny';\n-- end\n"
    assert statements(script) == ["CREATE TABLE t (a TEXT DEFAULT ';');\n", "UPDATE t\nSET a = 'x;\ny';\n"]


def test_an_empty_script_has_none() -> None:
    assert statements("\n-- nothing to do\n") == []


def test_a_statement_is_put_on_one_line_without_touching_what_is_quoted() -> None:
    statement = """UPDATE t -- why: it's so\n  SET a = 'two  spaces,\nit''s -- kept',\n\t"odd  ""name" = 1;\n"""
    assert _one_line(statement) == """UPDATE t SET a = 'two  spaces,\nit''s -- kept', "odd  ""name" = 1;"""
