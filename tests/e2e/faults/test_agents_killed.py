"""`kill -9` of agents and of their workers: others do the work, or they do it themselves when they are back."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import crowdgrid
from crowdgrid import kernels
from tests.e2e.faults.feeding import Feeder
from tests.e2e.faults.programs import sleeping
from tests.e2e.faults.recount import assignments, recount, sound
from tests.e2e.grid import TOKEN, Grid, Process, until

SEED = int(os.environ.get("CROWDGRID_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
ROUNDS = 6
RECOVERY_SECONDS = 15.0


def test_agents_and_workers_killed_under_load_lose_nothing(tmp_path: Path) -> None:
    """Three agents and their workers are killed again and again; every answer comes once and is right."""
    print(f"CROWDGRID_SEED={SEED}")
    chance = random.Random(SEED)
    with Grid(tmp_path) as grid:
        grid.start_hub()
        agents = grid.start_agents(3, runtimes=("echo", "wasm"))
        feeder = Feeder(grid.url, TOKEN)
        with grid.connect() as connected:
            split = crowdgrid.Range(0, 100_000_000, piece=500_000)
            primes = connected.run(kernels.path("primes"), split=split, reduce="sum")
            feeder.moves_on(100)
            for _ in range(ROUNDS):
                time.sleep(chance.uniform(0, 0.3))  # the moment is what is random here
                for pid in chance.sample(workers := agents[0].workers(), min(2, len(workers))):
                    kill(pid)
                victim = chance.choice(agents)
                victim.kill()
                feeder.moves_on()
                victim.again()
                feeder.moves_on()
            feeder.finish()
            began = time.monotonic()
            assert primes.result(timeout=90) == 5_761_455
            print(f"the rest took {time.monotonic() - began:.1f} s")
        feeder.check()
        assert all(agent.running for agent in agents), "an agent gave up"
        assert grid.hub.stop() == 0
        with grid.database() as database:
            sound(database)
            assert recount(database, 1)["abandoned"] == recount(database, 2)["abandoned"] == 0


def kill(pid: int) -> None:
    """SIGKILL, unless it is gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_an_agent_whose_worker_is_killed_while_it_starts_goes_on(tmp_path: Path) -> None:
    """Whatever ended it, say the system for want of memory: another one is started, and the agent does its work."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        agent = grid.start_agent()
        for worker in until(agent.workers, "it starts its worker"):
            kill(worker)
        with grid.connect() as connected:
            split = crowdgrid.Range(0, 1_000, piece=500)
            assert connected.run(kernels.path("primes"), split=split, reduce="sum").result(timeout=60) == 168
        assert agent.running


def test_work_of_a_killed_agent_goes_on_at_once_when_it_is_back(tmp_path: Path) -> None:
    """What it held is leased to it again with its first heartbeat, not after the lease has run out."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        (agent,) = grid.start_agents(1)
        with grid.connect() as connected:
            job = connected.run(sleeping(50), split=crowdgrid.Range(0, 40, piece=1), reduce="sum")
            until(lambda: job.counts.validated > 1, "it is under way")
            agent.kill()
            agent.again()
            began = time.monotonic()
            assert job.result(timeout=90) == 40
            took = time.monotonic() - began
            print(f"went on after {took:.1f} s")
            assert took <= RECOVERY_SECONDS


def test_a_killed_agent_delivers_what_it_had_finished(tmp_path: Path) -> None:
    """Its spool outlives it: the hub counts the answers of its former life, and nothing is done twice."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        (agent,) = grid.start_agents(1)
        with grid.connect() as connected:
            job = connected.run(sleeping(100), split=crowdgrid.Range(0, 30, piece=1), reduce="sum")
            until(lambda: job.counts.validated > 1, "it is under way")
            grid.hub.kill()
            finished = until(lambda: waiting(grid, agent), "answers wait for the hub")
            agent.kill()
            agent.again()
            until(lambda: grid.status(agent), "it is back")
            grid.restart_hub()
            assert job.result(timeout=90) == 30
            told = grid.status(agent)
        assert told["verdicts"].get("counted", 0) >= finished, told
        grid.hub.stop()
        with grid.database() as database:
            recount(database, 1)
            rows = database.execute("SELECT count(*), max(attempts) FROM task WHERE job = 1").fetchone()
            print(f"{finished} answers delivered by its second life; {assignments(database, 1)}", rows)


def waiting(grid: Grid, agent: Process) -> int:
    """How many answers the agent keeps for the hub, once all it was given is done."""
    told = grid.status(agent)
    return told["unjudged"] if told and told["unjudged"] > 2 and not told["running"] + told["waiting"] else 0
