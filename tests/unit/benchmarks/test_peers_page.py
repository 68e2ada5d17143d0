"""What the page of the side by side says: accounts of processes, sizes, goals, faults, failures."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.machine import Machine
from benchmarks.peers.catalogue import KINDS
from benchmarks.peers.cells import Measured
from benchmarks.peers.document import document, failed
from benchmarks.peers.faults import CLIENT, Fault, State
from benchmarks.peers.flat import Flat
from benchmarks.peers.footprint import Footprint, by_package
from benchmarks.peers.goals import Found, judge
from benchmarks.peers.runtime_lock import blocks, needed
from benchmarks.peers.watch import family, role, used_between

MACHINE = Machine("2030-01-02", "A processor", 2, 24.0, "Debian 12, Linux 6.1", "3.11.7", 37.0, 0.1)
OURS = tuple(kind.title for kind in KINDS if kind.ours)
RIVALS = tuple(kind.title for kind in KINDS if kind.rival)
POOL = "ProcessPoolExecutor"


# --- processes -------------------------------------------------------------------------------------


def test_a_family_has_orphans_and_marked_ones_and_nobody_else() -> None:
    """A server that left its client's tree is counted; a stranger's process never is."""
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20, 30: 1, 40: 1, 41: 40}
    assert family(10, [20, 99], parents, [30]) == {10, 11, 12, 20, 21, 30}
    assert family(99, [], parents, []) == set()


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("python -m crowdgrid.cli hub --data x ", "hub"),
        ("crowdgrid agent run --hub http://127.0.0.1:1 ", "agents"),
        ("/usr/bin/redis-server 127.0.0.1:1 ", "broker"),
        ("python dask scheduler --host 127.0.0.1 ", "scheduler"),
        ("ray::busy_1ms() ", "workers"),
        ("ray::DashboardAgent ", "others"),
        ("python -c from multiprocessing.spawn import spawn_main ", "workers"),
        ("bash ", "others"),
    ],
)
def test_roles_are_told_by_command_lines(command: str, what: str) -> None:
    assert role(command) == what


def test_time_used_counts_those_that_came_in_between() -> None:
    before = {(1, "client"): 1.0, (2, "workers"): 5.0, (9, "workers"): 3.0}
    after = {(1, "client"): 1.5, (2, "workers"): 6.0, (3, "workers"): 0.25}
    assert used_between(before, after) == {"client": 0.5, "workers": 1.25}


# --- sizes -------------------------------------------------------------------------------------------


def test_sizes_are_by_package_and_without_what_installs() -> None:
    files = [
        ("wasmtime/a.so", 10), ("wasmtime-50.0.1.dist-info/RECORD", 1), ("numpy.libs/b.so", 5), ("numpy/c.py", 2),
        ("six.py", 3), ("_cffi_backend.cpython-311-x86_64-linux-gnu.so", 4), ("pip/x.py", 100), ("setuptools-80.0.dist-info/R", 9),
        ("typing_extensions-4.1.dist-info/R", 1), ("typing_extensions.py", 6),
    ]  # fmt: skip
    expected = {"wasmtime": 11, "numpy": 7, "six": 3, "_cffi_backend": 4, "typing_extensions": 7}
    assert by_package(files) == expected


def test_what_running_needs_follows_markers_and_extras() -> None:
    states = {
        "a": ["b>=1", "c; extra == 'more'", "never; python_version < '3'"],
        "b": ["d[fast]"],
        "d": ["e; extra == 'fast'", "f; extra == 'slow'"],
    }
    asked: list[str] = []

    def requires(name: str) -> list[str]:
        asked.append(name)
        return states.get(name, [])

    assert needed(["A", "b"], requires) == {"a", "b", "d", "e"}
    assert len(asked) == len(set(asked))


def test_a_lock_is_cut_at_its_packages() -> None:
    lock = "# made by uv\na-b==1 \\\n    --hash=sha256:00\n    # via c\nc[x]==2 \\\n    --hash=sha256:11\n"
    assert blocks(lock) == {
        "a-b": "a-b==1 \\\n    --hash=sha256:00\n    # via c",
        "c": "c[x]==2 \\\n    --hash=sha256:11",
    }


# --- goals -------------------------------------------------------------------------------------------


def _found(**rates: float) -> Found:
    ours = Measured({"trivial": rates["ours"], "1 ms": 950.0, "1 ms, map": 1000.0, "trivial, map": rates["map"]})
    ours.mapped = 1_000_000
    measured = dict.fromkeys(OURS, ours)
    measured |= {title: Measured({"trivial": 100.0 * at}) for at, title in enumerate(RIVALS, 1)}
    measured[POOL] = Measured({"1 ms": 1000.0, "1 ms, map": 2000.0})
    footprints = {OURS[0]: Footprint(0.1, Counter({"wasmtime": 101_000_000}))}
    return Found(measured, footprints, 0.1, OURS, RIVALS, POOL, Flat(10, 1.0, 50_000_000, 80_000_000, 60_000_000, 0))


def test_goals_are_judged_against_the_best_of_the_others() -> None:
    judged = {f"{one.what}": one for one in judge(_found(ours=800.0, map=99_999.0))}
    first = judged[f"{OURS[0]}: trivial, one by one"]
    assert (first.goal.limit, first.verdict) == (800.0, "reached")
    assert RIVALS[-1] in first.row()[2]
    assert judged[f"{OURS[0]}: map of 1,000,000 trivial items"].verdict == "not reached"
    assert judged[f"{OURS[1]}: 1 ms tasks, one by one"].verdict == "reached"  # 95 % of the pool's
    assert judged[f"{OURS[1]}: 1 ms tasks, map"].verdict == "not reached"  # 50 %
    assert judged["`import crowdgrid`"].verdict == "reached"
    assert judged["installed, without extras"].verdict == "not reached"
    assert judged["client memory over 10 mapped items grows by"].row()[1] == "30 MB"


def test_a_goal_nobody_measured_is_not_reached_by_silence() -> None:
    """A peer of ours that failed must not look like a goal that was met."""
    found = Found({RIVALS[0]: Measured({"trivial": 100.0})}, {}, None, OURS, RIVALS, POOL)
    assert {one.verdict for one in judge(found)} == {"not measured"}


# --- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State(2000), "all 2,000 results"),
        (State(500, {"BrokenProcessPool": 1500}), "500 of 2,000 results, 1,500 raise BrokenProcessPool"),
        (State(500, {}, 1500), "500 of 2,000 results, 1,500 wait on"),
        (State(1, {}, 9, "ConnectionError"), "1 of 10 results, 9 wait on (asking raises ConnectionError)"),
        (State(1, {}, 9, "", "its client ended with 1: …"), "1 of 10 results, then its client ended with 1: …"),
    ],
)
def test_what_is_left_is_told_in_words(state: State, told: str) -> None:
    assert state.told() == told


def test_a_fault_is_told_with_and_without_a_new_start() -> None:
    helped = Fault("the hub", 10, State(2, {}, 8), 0.0, State(10))
    assert helped.row() == ["the hub", "2 of 10 results, 8 wait on", "all 10 results"]
    assert Fault("a worker", 10, State(10), 2.4).row() == ["a worker", "all 10 results, 2 s", ""]
    assert Fault(CLIENT, 10, found=4, way="name").row()[2] == "another client: 4 of 10 results, by name"
    assert Fault(CLIENT, 10).row()[2] == "another client: nothing can be found again"


# --- the page ----------------------------------------------------------------------------------------


def test_the_page_names_what_failed_and_shows_no_figure_for_it() -> None:
    """A peer that failed has its row, and says so."""
    found = _found(ours=900.0, map=200_000.0)
    measured = {**found.measured, "joblib's loky": Measured(failures=["start: no answer"])}
    faults = {"Ray tasks": [Fault("the raylet", failure="said nothing")]}
    text = document(
        MACHINE,
        KINDS,
        measured,
        found.footprints,
        faults,
        judge(found),
        flat=found.flat,
        profiles={"trivial": "ncalls"},
        quick=True,
        took=60.0,
    )
    assert "| joblib's loky | failed | failed |" in text
    assert "- joblib's loky, start: no answer" in text
    assert "- Ray tasks, kill of the raylet: said nothing" in text
    assert "smoke run" in text
    assert "trivial:\n\n```text\nncalls" in text
    assert "wasmtime 101" in text
    assert "1,000 (50 %)" in text
    assert len(failed(measured, faults)) == 2


def test_the_page_says_when_nothing_failed() -> None:
    found = _found(ours=900.0, map=200_000.0)
    titles = [kind for kind in KINDS if kind.title in found.measured]
    text = document(
        MACHINE, titles, found.measured, {}, {}, judge(found), flat=None, profiles={}, quick=False, took=60.0
    )
    assert text.rstrip().endswith("Nothing.")
    assert "smoke" not in text
