"""The page on the simulation shows a scenario that runs."""

from __future__ import annotations

import re
from pathlib import Path

from crowdgrid.simulation import reading
from crowdgrid.simulation.world import World

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_the_scenario_of_the_page_runs(tmp_path: Path) -> None:
    found = re.search(r'```toml title="mine.toml"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert found
    (tmp_path / "mine.toml").write_text(found[1])
    outcome = World(reading.read(tmp_path / "mine.toml"), 1).run()
    assert outcome.fault == ""
    assert outcome.jobs[0].final == 1


def test_every_behaviour_and_availability_is_named_there() -> None:
    words = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    kinds = re.findall(r'tag="(\w+)"', Path(reading.__file__).with_name("scenario.py").read_text())
    assert len(kinds) > 10
    assert set(kinds) - words == set()
