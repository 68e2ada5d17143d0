"""One seed is one run: nothing but the scenario and the seed goes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import msgspec
import pytest

from crowdgrid.simulation.lines import Line, lines_in, parse
from crowdgrid.simulation.outcome import Outcome
from crowdgrid.simulation.running import run
from tests.simulation.scenes import LINES


def _told(outcome: Outcome) -> dict:
    told = msgspec.to_builtins(outcome)
    return {key: value for key, value in told.items() if "cpu" not in key}


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    line = Line("storm", 5, ("jobs.0.count=2",))
    assert _told(run(line)) == _told(run(line))
    assert _told(run(line)) != _told(run(line._replace(seed=6)))


def test_a_run_does_not_depend_on_the_hash_seed_of_its_process() -> None:
    words = [
        sys.executable,
        "-m",
        "crowdgrid.cli",
        "simulate",
        "storm",
        "--seed",
        "5",
        "--set",
        "jobs.0.count=2",
        "--json",
    ]
    found = []
    for seed in ("1", "2"):
        done = subprocess.run(words, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        found.append({key: value for key, value in json.loads(done.stdout).items() if "cpu" not in key})
    assert found[0] == found[1]


def test_a_failing_run_is_told_as_a_line_that_can_be_read_back() -> None:
    line = Line("my crowd.toml", 7, ("network.loss=0.1", "crowd.0.name='a b'"))
    assert parse(str(line)) == line
    assert list(lines_in(f"# all of them\n\n{line}  # a task was lost\n")) == [line]


@pytest.mark.parametrize("line", LINES, ids=str)
def test_what_once_failed_does_not_fail_again(line: Line) -> None:
    """Lines of `regressions.txt`."""
    assert run(line).fault == ""
