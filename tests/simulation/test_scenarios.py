"""A scenario file with a mistake is told in one sentence: the file, the key, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdgrid.errors import BadInput
from crowdgrid.simulation import reading
from crowdgrid.simulation.scenario import Colluder, Scenario

GOOD = """
[network]
loss = 0.1

[[crowd]]
name = "machines"
count = 3
behaviour = {kind = "colluder", share = 0.5}

[[jobs]]
name = "sweep"
tasks = 10
"""


def _read(folder: Path, text: str, *changes: str) -> Scenario:
    path = folder / "mine.toml"
    path.write_text(text)
    return reading.read(path, changes)


def test_a_file_is_read_with_defaults_for_what_it_does_not_say(tmp_path: Path) -> None:
    found = _read(tmp_path, GOOD)
    assert found.crowd[0].behaviour == Colluder(share=0.5)
    assert (found.network.loss, found.network.duplicate, found.hub.commit_ms) == (0.1, 0.0, 5)


@pytest.mark.parametrize(
    ("wrong", "right", "sentence"),
    [
        ("cuont = 3", "count = 3", "crowd.0 has no key 'cuont'; it may have name, count,"),
        ("lose = 0.1", "loss = 0.1", "network has no key 'lose'; it may have delay_ms, loss,"),
        ("[netwrok]", "[network]", "the file has no key 'netwrok'"),
        ("loss = 1.5", "loss = 0.1", "network.loss: expected `float` <= 1.0."),
        ('loss = "little"', "loss = 0.1", "network.loss: expected `float`, got `str`."),
        ("count = 0", "count = 3", "crowd.0.count: expected `int` >= 1."),
        ('kind = "coluder"', 'kind = "colluder"', "crowd.0.behaviour.kind is 'coluder'; it may be honest, erring,"),
        ("shard = 0.5", "share = 0.5", "crowd.0.behaviour has no key 'shard'; it may have kind, share, after."),
        ('kind = "liar", after = 3', 'kind = "colluder", share = 0.5', "crowd.0.behaviour has no key 'after'"),
        ("tasks = 10\nwork = 'some'", "tasks = 10", "jobs.0.work is 'some'; it may be fixed, lognormal, normal."),
        ("piece = 10", "tasks = 10", "jobs.0 lacks 'tasks', which has no default."),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(
    tmp_path: Path, wrong: str, right: str, sentence: str
) -> None:
    assert right in GOOD
    with pytest.raises(BadInput) as told:
        _read(tmp_path, GOOD.replace(right, wrong))
    assert "mine.toml: " in told.value.message
    assert sentence in told.value.message


def test_a_close_word_is_proposed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Did you mean 'count'"):
        _read(tmp_path, GOOD.replace("count = 3", "cuont = 3"))


def test_what_is_no_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"mine.toml is not TOML: .*line 3"):
        _read(tmp_path, GOOD.replace("loss = 0.1", "loss = = 0.1"))


def test_a_scenario_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(BadInput, match="no scenario 'strom'") as told:
        reading.found("strom")
    assert "storm" in told.value.hint


def test_a_directory_or_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        reading.read(tmp_path)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        reading.read(tmp_path / "none.toml")


def test_keys_can_be_changed_from_the_command_line(tmp_path: Path) -> None:
    found = _read(tmp_path, GOOD, "network.loss=0.2", "crowd.0.behaviour.share=1.0", "jobs.0.name=other", "run.hours=1")
    assert (found.network.loss, found.crowd[0].behaviour, found.jobs[0].name) == (0.2, Colluder(share=1.0), "other")
    assert found.run.hours == 1


@pytest.mark.parametrize("change", ["network.loss", "crowd.7.count=1", "crowd.name=x", "=1", "network.loss.a=1"])
def test_a_change_of_nothing_is_told(tmp_path: Path, change: str) -> None:
    with pytest.raises(BadInput):
        _read(tmp_path, GOOD, change)


@pytest.mark.parametrize("name", reading.names())
def test_the_scenarios_that_come_along_can_be_read_and_say_what_they_are(name: str) -> None:
    assert reading.read(reading.found(name)).about.endswith(".")
