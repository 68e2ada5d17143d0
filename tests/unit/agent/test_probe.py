"""What a machine is and how fast: plain facts, kept until they are stale, None where nobody can tell."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from crowdgrid.agent import facts, probe
from crowdgrid.agent.consent import OwnerLimits, State, decide

RATES = {"integer", "floating_point", "memory_bytes_per_second", "sha256_bytes_per_second"}


def test_the_inventory_is_plain_and_short_enough_to_be_told(tmp_path: Path) -> None:
    found = probe.inventory(tmp_path)
    text = json.dumps(found)
    assert len(text) < 16_000
    assert json.loads(text) == found
    assert found["cores"] >= found["cores_usable"] >= 1
    assert found["memory_bytes"] > 1 << 20
    assert found["system"]
    assert found["architecture"]


def test_every_benchmark_measures_something(tmp_path: Path) -> None:
    rates = probe.rates(seconds=0.01)
    assert set(rates) == RATES
    assert all(rate > 0 for rate in rates.values())


def test_benchmarks_are_measured_in_a_process_of_their_own_and_kept(tmp_path: Path) -> None:
    found = asyncio.run(probe.measure(tmp_path, "this machine"))
    assert found is not None
    assert set(found.rates) == RATES
    assert probe.load(tmp_path, "this machine", found.measured_at + 60) == found


@pytest.mark.parametrize(("machine", "age"), [("another processor", 0), ("m", 8 * 86_400), ("m", -8 * 86_400)])
def test_benchmarks_of_another_machine_or_another_time_are_stale(tmp_path: Path, machine: str, age: float) -> None:
    """A clock that jumped back a month makes them stale, too, and not valid for a month."""
    kept = probe.Benchmarks("m", 1_000_000_000.0, {"integer": 5.0})
    (tmp_path / probe.FILE_NAME).write_text(json.dumps({"machine": "m", "measured_at": 1e9, "rates": {"integer": 5.0}}))
    assert probe.load(tmp_path, "m", 1e9) == kept
    assert probe.load(tmp_path, machine, 1e9 + age) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"machine": 1}'])
def test_a_file_of_benchmarks_that_is_damaged_is_measured_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / probe.FILE_NAME).write_text(text)
    assert probe.load(tmp_path, "m", 0.0) is None


def test_new_software_or_hardware_makes_them_stale() -> None:
    base = {"processor": "p", "cores_usable": 2, "memory_bytes": 1, "architecture": "a", "python": "3"}
    machine = probe.machine_of(base, "agent/1")
    assert probe.machine_of(base | {"disk_free_bytes": 7}, "agent/1") == machine
    assert probe.machine_of(base | {"cores_usable": 4}, "agent/1") != machine
    assert probe.machine_of(base, "agent/2") != machine


def test_the_facts_of_this_machine_make_a_decision(tmp_path: Path) -> None:
    """Whatever this machine can or cannot tell, reading it works and what comes of it is a decision."""
    reader = facts.FactReader(tmp_path)
    first, second = reader.read(), reader.read()
    assert first.others_cpu is None  # there is nothing yet to compare with
    for found in (first, second):
        assert 0 <= found.minute < 1440
        assert found.memory_free is None or 0 <= found.memory_free <= 1
        assert found.others_cpu is None or 0 <= found.others_cpu <= 1
        assert found.idle_seconds is None or found.idle_seconds >= 0
        assert found.disk_free is None or found.disk_free >= 0
        decide(found, OwnerLimits(idle_seconds=60), State(), 0.0)


def test_a_folder_that_is_gone_has_no_free_disk_to_tell_of(tmp_path: Path) -> None:
    assert facts.FactReader(tmp_path / "gone").read().disk_free is None
