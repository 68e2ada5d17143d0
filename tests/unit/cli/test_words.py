"""What is typed and what is printed: ranges, hours, shares, durations, sizes."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from crowdgrid.cli import agent, showing
from crowdgrid.cli.run import print_answer, range_of, sayable
from crowdgrid.client.splits import Range
from crowdgrid.errors import BadInput


@pytest.mark.parametrize(
    ("text", "found"), [("0:10**10", Range(0, 10**10)), (":1e9", Range(0, 10**9)), ("-5:1_000", Range(-5, 1000))]
)
def test_a_range_is_what_was_typed(text: str, found: Range) -> None:
    assert range_of(text) == found


@pytest.mark.parametrize("text", ["5", "a:b", "1:", "0:1.5"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        range_of(text)


def test_the_owners_limits_are_read_as_typed() -> None:
    options = dict.fromkeys(
        ("mains_only", "battery_min", "unmetered_only", "temperature_max", "memory", "others_cpu_max")
    )
    wanted = agent._wanted(
        {**options, "cpu_share": "50%", "idle": "5m", "hours": ("22:00-07:00",), "mains_only": False}
    )
    assert wanted == {"cpu_share": 0.5, "idle_seconds": 300, "hours": [(1320, 420)], "mains_only": False}
    assert agent._wanted({**options, "cpu_share": None, "idle": None, "hours": ("any",)}) == {"hours": []}


@pytest.mark.parametrize("text", ["22-7", "noon", "22:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        agent._hours(text)


def test_durations_and_sizes_are_short() -> None:
    assert [showing.span(s) for s in (0.25, 75, 130, 7300, 200_000)] == [
        "0.2 s",
        "75 s",
        "2 min 10 s",
        "2 h 1 min",
        "2 d 7 h",
    ]
    assert [showing.bytes_text(n) for n in (0, 999, 1500, 64_000_000)] == ["0 B", "999 B", "1.5 kB", "64 MB"]


def test_an_answer_is_printed_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A list is one output after the other, each on lines of its own; raw bytes stay raw."""
    for answer, printed in (
        (b"\x00raw", b"\x00raw"),
        ([b"a\n", b"b"], b"a\nb\n"),
        (455_052_511, b"455052511\n"),
        ({"the": 3}, b"the\t3\n"),
        (None, b"none\n"),
    ):
        print_answer(answer, as_json=False)
        assert capfdbinary.readouterr().out == printed


def test_an_answer_as_json_can_be_read_back(capfd: pytest.CaptureFixture[str]) -> None:
    print_answer([b"a", b"\xff"], as_json=True)
    assert json.loads(capfd.readouterr().out) == ["a", {"base64": "/w=="}] == sayable([b"a", b"\xff"])


def test_a_table_holds_what_it_was_given(capfd: pytest.CaptureFixture[str]) -> None:
    """Square brackets in names are no markup."""
    showing.table(("name", "count"), [("[bold]x", 1_234_567)], right=("count",))
    told = capfd.readouterr().out
    assert "[bold]x" in told
    assert "1,234,567" in told


def test_a_table_wider_than_the_terminal_is_told_line_by_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that lost a digit would be another number."""
    wide = [("x" * 30, 2_083_236_893), ("y" * 30, 7)]
    monkeypatch.setattr(showing, "console", lambda: Console(width=30))
    showing.table(("name", "count"), wide, right=("count",))
    assert capfd.readouterr().out.split() == f"name {'x' * 30} count 2,083,236,893 name {'y' * 30} count 7".split()
    monkeypatch.setattr(showing, "console", lambda: Console(width=60))
    showing.table(("name", "count"), wide, right=("count",))
    assert capfd.readouterr().out.split()[:2] == ["name", "count"]
