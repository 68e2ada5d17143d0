"""The benchmark document says what was measured: goals judged the right way round, tables whole."""

from __future__ import annotations

import pytest

from benchmarks.machine import Machine
from benchmarks.report import Figure, Section, Table, at_least, at_most, document, markdown_table, number

MACHINE = Machine("2030-01-02", "A processor", 2, 24.0, "Debian 12, Linux 6.1", "3.11.7", 37.0, 0.1)


@pytest.mark.parametrize(
    ("figure", "missed"),
    [
        (Figure("rate", 2_000, "tasks/s", at_least(2_000)), False),
        (Figure("rate", 1_999, "tasks/s", at_least(2_000)), True),
        (Figure("p50", 5, "ms", at_most(5)), False),
        (Figure("p50", 5.01, "ms", at_most(5)), True),
        (Figure("p50", 9_999, "ms"), False),
    ],
)
def test_a_goal_is_judged_the_right_way_round(figure: Figure, missed: bool) -> None:
    assert figure.missed is missed
    assert ("missed" in figure.row()[2]) is missed


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (2_000.4, "2,000"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0567, "0.0567"), (3, "3")],
)
def test_numbers_show_three_digits_that_mean_something(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_table_has_a_rule_and_all_its_cells() -> None:
    text = markdown_table(["", "here"], [["a", "1"], ["b", "22"]])
    assert text.splitlines() == ["|  | here |", "| --- | ---: |", "| a | 1 |", "| b | 22 |"]


def test_the_document_names_machine_missed_goals_and_profile() -> None:
    """Whoever reads it must see at once on what machine, and what was not reached and why."""
    good = Section("Start-up", "How.", [Figure("local()", 0.1, "s", at_most(0.3))])
    bad = Section(
        "Dispatch", "How.", [Figure("rate", 10, "tasks/s", at_least(2_000), "others: 5")], profile="loop 90 %"
    )
    bad.tables.append(Table(["load", "tasks/s"], [["one by one", "10"]]))
    text = document(MACHINE, [good, bad], quick=True, took=90.0)
    for part in (
        "A processor, 2 cores, 24 GB",
        "2030-01-02",
        "--quick",
        "Missed: Dispatch: rate.",
        "loop 90 %",
        "others: 5",
    ):
        assert part in text
    assert "| one by one | 10 |" in text
    assert "load average" not in text


def test_a_busy_machine_is_told_of() -> None:
    busy = Machine("2030-01-02", "A processor", 2, 24.0, "Debian 12", "3.11.7", 37.0, 3.2)
    assert "load average at the start was 3.2" in document(busy, [], quick=False, took=1.0)


def test_reached_goals_are_said_to_be() -> None:
    section = Section("Start-up", "How.", [Figure("local()", 0.1, "s", at_most(0.3))])
    assert "Every goal is reached." in document(MACHINE, [section], quick=False, took=1.0)
