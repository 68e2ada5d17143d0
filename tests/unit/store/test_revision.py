"""Which statements an opened database needs."""

from __future__ import annotations

from crowdgrid.store.revision import statements


def test_a_script_is_cut_at_statements_not_at_semicolons() -> None:
    script = "-- Running upgrade 1 -> 2\n\nCREATE TABLE t (a TEXT DEFAULT ';');\n\nUPDATE t\nSET a = 'x;\ny';\n-- end\n"
    assert statements(script) == ["CREATE TABLE t (a TEXT DEFAULT ';');\n", "UPDATE t\nSET a = 'x;\ny';\n"]


def test_an_empty_script_has_none() -> None:
    assert statements("\n-- nothing to do\n") == []
