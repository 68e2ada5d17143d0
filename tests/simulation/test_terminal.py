"""`crowdgrid simulate`: what it prints, what it draws, how it ends."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from crowdgrid.cli.endings import FAILED, OK, USAGE, status_of
from crowdgrid.cli.root import root
from crowdgrid.core import leasing
from crowdgrid.simulation import reading
from crowdgrid.simulation.lines import parse
from crowdgrid.simulation.running import run

SMALL = ("honest", "--set", "crowd.0.count=20", "--set", "jobs.0.tasks=60")


def _simulate(*words: str) -> int:
    return status_of(lambda: root.main(["simulate", *words], prog_name="crowdgrid", standalone_mode=False))


def test_without_a_name_it_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate() == OK
    told = capsys.readouterr().out
    assert all(name in told for name in reading.names())


def test_one_run_is_a_table_and_json_is_the_whole_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*SMALL) == OK
    told = capsys.readouterr().out
    assert "1 of 1" in told
    assert "kept its promises" in told
    assert _simulate(*SMALL, "--json") == OK
    found = json.loads(capsys.readouterr().out)
    assert (found["fault"], found["jobs"][0]["tasks"], found["crowd"][0]["answered"]) == ("", 60, 60)
    assert parse(found["line"]).changes == ("crowd.0.count=20", "jobs.0.tasks=60")


def test_many_runs_are_a_row_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*SMALL, "--runs", "3", "--processes", "2") == OK
    assert "3 runs in" in capsys.readouterr().out


def test_a_broken_promise_ends_with_1_and_the_line_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "requeue", lambda *_, **__: None)
    assert _simulate("storm", "--seed", "3", "--set", "jobs.1.tasks=20") == FAILED
    told = capsys.readouterr()
    line = parse(told.err.splitlines()[-1].strip())
    assert str(line) == "crowdgrid simulate storm --seed 3 --set jobs.1.tasks=20"
    assert run(line).fault in told.err


@pytest.mark.parametrize(
    "words",
    [("strom",), ("storm", "--set", "network.lose=1"), ("storm", "--seed", "-1"), ("storm", "--plot", "run.pdf")],
)
def test_what_cannot_be_used_ends_with_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*words) == USAGE
    assert capsys.readouterr().err


def test_a_run_is_drawn_the_same_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.svg", "other.svg", "one.png"):
        assert _simulate(*SMALL, "--plot", str(tmp_path / name)) == OK
    capsys.readouterr()
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    words = "".join(ET.fromstring((tmp_path / "one.svg").read_text()).itertext())  # noqa: S314  just written
    assert "honest, seed 1" in words
    assert "wrong answers" in words
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_many_runs_or_nowhere_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*SMALL, "--runs", "2", "--plot", "run.png") == USAGE
    assert "A picture is of one run." in capsys.readouterr().err
    assert _simulate(*SMALL, "--plot", str(tmp_path / "none" / "run.png")) == USAGE
    assert "cannot be written" in capsys.readouterr().err
