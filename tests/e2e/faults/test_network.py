"""Hubs that cannot be reached, networks that swallow, machines that sleep: costly for nobody but in time.

Timers are shortened for all processes of a grid (`TIMERS`), in the proportions they have for people, so that a
lease that runs out after a minute does so after seconds.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import pytest

import crowdgrid
from crowdgrid.errors import Unavailable
from tests.e2e.faults.feeding import Feeder
from tests.e2e.faults.forwarder import Forwarder
from tests.e2e.faults.programs import sleeping
from tests.e2e.faults.recount import assignments, recount
from tests.e2e.grid import TOKEN, Grid, Process, free_port, until

TIMERS: Final = {
    "limits:HEARTBEAT_SECONDS": 1,
    "limits:LEASE_SECONDS": 3,
    "limits:TICK_GAP_SECONDS": 1,
    "limits:RECONNECT_SECONDS": 1,
    "agent.pulse:BEAT_SECONDS": 2.0,
    "agent.pulse:GAP_SECONDS": 1.0,
    "agent.reporter:SILENCE_SECONDS": 2.0,
}
RECOVERY_SECONDS: Final = 15.0


def holding(grid: Grid, agent: Process) -> int:
    """How many tasks an agent has in hand."""
    told: dict[str, Any] = grid.status(agent)
    return int(told.get("running", 0)) + int(told.get("waiting", 0))


def test_a_hub_that_cannot_be_reached_is_found_again_by_everybody(tmp_path: Path) -> None:
    """Cut off for longer than every lease lasts: agents and the client come back by themselves, nothing is lost."""
    with Grid(tmp_path, timers=TIMERS) as grid, Forwarder(grid.port) as network:
        grid.start_hub()
        grid.start_agents(2, url=network.url, runtimes=("echo",))
        feeder = Feeder(network.url, TOKEN)
        feeder.moves_on(100)
        network.cut()
        until(lambda: grid.online() == 0, "nobody is linked")
        time.sleep(TIMERS["limits:LEASE_SECONDS"] + 1)  # being away for long is what is tested
        began = time.monotonic()
        network.mend()
        feeder.moves_on(100)
        took = time.monotonic() - began
        print(f"mended after {took:.1f} s")
        assert took <= RECOVERY_SECONDS
        grid.wait_online(2)
        feeder.finish()
        feeder.check()
        assert feeder.link.connections == 2
        assert grid.hub.stop() == 0
        with grid.database() as database:
            recount(database, 1)


def test_a_hub_that_hangs_up_before_it_answers_is_tried_again(tmp_path: Path) -> None:
    """As one does that is killed at that moment, or a proxy before one that is down: nobody takes it for something else."""
    with Grid(tmp_path) as grid, Forwarder(grid.port) as network:
        grid.start_hub()
        (agent,) = grid.start_agents(1, url=network.url, runtimes=("echo",))
        feeder = Feeder(network.url, TOKEN)
        feeder.moves_on(100)
        network.target = free_port()
        tried = network.accepted
        network.reset()
        until(lambda: network.accepted >= tried + 5, "client and agent have tried again")
        with pytest.raises(Unavailable, match="hung up before it answered"):
            grid.connect(network.url)
        network.target = grid.port
        feeder.moves_on(100)
        feeder.finish()
        feeder.check()
        assert agent.running


def test_a_partition_is_noticed_by_both_sides_and_what_comes_late_is_not_counted_again(tmp_path: Path) -> None:
    """One agent's network swallows everything: its work goes to the other; its own answers come late and harm nothing."""
    with Grid(tmp_path, timers=TIMERS) as grid, Forwarder(grid.port) as network:
        grid.start_hub()
        (lost,) = grid.start_agents(1, url=network.url)
        with grid.connect() as connected:
            job = connected.run(sleeping(300), split=crowdgrid.Range(0, 24, piece=1), reduce="sum")
            until(lambda: job.counts.validated > 1 and holding(grid, lost) > 1, "it works")
            network.stall()
            (other,) = grid.start_agents(1)
            assert job.result(timeout=60) == 24
            until(lambda: not grid.status(lost)["linked"], "the lost agent noticed")
            network.mend()
            until(lambda: grid.status(lost)["linked"] and not grid.status(lost)["unjudged"], "it has delivered")
            again = connected.run(sleeping(1), split=crowdgrid.Range(0, 8, piece=1), reduce="sum")
            assert again.result(timeout=60) == 8
        verdicts = grid.status(lost)["verdicts"]
        assert lost.running
        assert other.running
        assert grid.hub.stop() == 0
        with grid.database() as database:
            counts = recount(database, 1)
            found = assignments(database, 1)
        print(verdicts, found)
        assert counts["lost"] > 0, "no lease ran out"
        assert sum(verdicts.get(late, 0) for late in ("late_paid", "late_unneeded")) > 0
        assert counts["validated"] == 24


def test_a_hub_that_slept_blames_nobody(tmp_path: Path) -> None:
    """Halted for longer than a lease: when it wakes every lease goes on, and no task is given out twice."""
    with Grid(tmp_path, timers=TIMERS) as grid:
        grid.start_hub()
        (agent,) = grid.start_agents(1)
        with grid.connect() as connected:
            job = connected.run(sleeping(5_000), split=crowdgrid.Range(0, 1, piece=1), reduce="sum")
            until(lambda: holding(grid, agent) == 1, "the task is running")
            with grid.hub.halted():
                time.sleep(TIMERS["limits:LEASE_SECONDS"] + 1)
            assert job.result(timeout=60) == 1
        grid.hub.stop()
        with grid.database() as database:
            assert recount(database, 1)["lost"] == 0
            assert assignments(database, 1) == {"reported": 1}


def test_an_agent_that_slept_finds_its_work_done_and_goes_on(tmp_path: Path) -> None:
    """Halted for longer than its leases last, with all its workers: others do its work, and it is welcome again."""
    with Grid(tmp_path, timers=TIMERS) as grid:
        grid.start_hub()
        (sleeper,) = grid.start_agents(1)
        with grid.connect() as connected:
            job = connected.run(sleeping(200), split=crowdgrid.Range(0, 12, piece=1), reduce="sum")
            until(lambda: job.counts.validated > 1 and holding(grid, sleeper) > 1, "it works")
            with sleeper.halted():
                grid.start_agents(1)
                assert job.result(timeout=60) == 12
            until(
                lambda: holding(grid, sleeper) == 0 and not grid.status(sleeper)["unjudged"], "it put everything away"
            )
            grid.wait_online(2)
            again = connected.run(sleeping(20), split=crowdgrid.Range(0, 40, piece=1), reduce="sum")
            assert again.result(timeout=60) == 40
        assert grid.hub.stop() == 0
        with grid.database() as database:
            assert recount(database, 1)["lost"] > 0
            workers = database.execute("SELECT DISTINCT node FROM assignment WHERE job = 2 AND state = 1").fetchall()
        assert len(workers) == 2, "the sleeper got nothing any more"
