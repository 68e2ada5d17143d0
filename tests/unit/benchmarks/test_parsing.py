"""What benchmarks read (figures of the hub, orders between processes, names) is read right."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec

from benchmarks import figures, profiling
from benchmarks.__main__ import NAMES
from benchmarks.crowd import Crowd
from benchmarks.processes import ROOT
from benchmarks.submitter import Order

TEXT = """# HELP crowdgrid_commands_total Commands the engine handled.
# TYPE crowdgrid_commands_total counter
crowdgrid_commands_total 12.0
crowdgrid_tasks_settled_total{outcome="ok"} 7.0
crowdgrid_commit_seconds_bucket{le="+Inf"} 3.0
crowdgrid_commit_seconds_sum 0.0125
crowdgrid_slots_offered 1e+03
"""


def test_prometheus_text_is_read_with_and_without_labels() -> None:
    found = figures.parse(TEXT)
    assert found["crowdgrid_commands_total"] == 12
    assert found['crowdgrid_tasks_settled_total{outcome="ok"}'] == 7
    assert found["crowdgrid_commit_seconds_sum"] == 0.0125
    assert found["crowdgrid_slots_offered"] == 1000
    assert len(found) == 5


def test_growth_counts_from_nothing_for_what_is_new() -> None:
    assert figures.grown({"a": 1.0}, {"a": 3.0, "b": 2.0}) == {"a": 2.0, "b": 2.0}


def test_percentiles_are_of_what_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert figures.percentile(values, 0.5) == 51
    assert figures.percentile(values, 0.99) == 100
    assert figures.percentile([], 0.5) == 0.0


def test_orders_survive_the_way_to_another_process() -> None:
    """They travel as JSON on a command line."""
    order, crowd = Order("http://h:1", "cg_x", "echo", 64, 1, 0.5, 1.5), Crowd("http://h:1", "cgi_x", 10, slots=4)
    assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order
    assert msgspec.json.decode(msgspec.json.encode(crowd), type=Crowd) == crowd


def test_every_measurement_is_a_module_and_in_the_readme() -> None:
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    for name in NAMES:
        assert find_spec(f"benchmarks.{name}") is not None
        assert f"| `{name}` |" in readme


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    words = [sys.executable, "-m", "benchmarks", "speed"]
    refused = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert refused.returncode == 2
    assert "there is no measurement speed" in refused.stderr
    assert "dispatch" in refused.stderr


def test_a_profile_becomes_a_table_without_paths(tmp_path: Path) -> None:
    import cProfile

    profile = cProfile.Profile()
    profile.runcall(sorted, [3, 1, 2])
    profile.dump_stats(tmp_path / "some.prof")
    text = profiling.table(tmp_path / "some.prof")
    assert text.splitlines()[0].split()[0] == "ncalls"
    assert "sorted" in text
    assert str(tmp_path) not in text
