"""`kill -9` of the hub is a non-event: whatever was acknowledged is there, nothing is counted twice.

The kills fall at random points under load. By default 10; `CROWDGRID_KILLS=50` is for a long look.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

import crowdgrid
from crowdgrid import kernels
from tests.e2e.faults.feeding import Feeder
from tests.e2e.faults.recount import recount, sound
from tests.e2e.grid import TOKEN, Grid

KILLS = int(os.environ.get("CROWDGRID_KILLS", "10"))
SEED = int(os.environ.get("CROWDGRID_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
RECOVERY_SECONDS = 15.0
PRIMES_TO, PRIMES = (100_000_000, 5_761_455) if KILLS <= 20 else (400_000_000, 21_336_326)


@pytest.mark.timeout(90 + 10 * KILLS)
def test_nothing_acknowledged_is_lost_and_nothing_counted_twice(tmp_path: Path) -> None:
    """A client that appends and reads, a WASM job, two agents, and a hub that dies again and again under them."""
    print(f"CROWDGRID_SEED={SEED} CROWDGRID_KILLS={KILLS}")
    chance = random.Random(SEED)
    with Grid(tmp_path) as grid:
        grid.start_hub()
        agents = grid.start_agents(2, runtimes=("echo", "wasm"))
        feeder = Feeder(grid.url, TOKEN)
        with grid.connect() as connected:
            split = crowdgrid.Range(0, PRIMES_TO, piece=PRIMES_TO // (40 * KILLS))
            primes = connected.run(kernels.path("primes"), split=split, reduce="sum", name="primes")
            feeder.moves_on(100)
            recoveries = [kill_and_recover(grid, feeder, chance) for _ in range(KILLS)]
            units = feeder.finish()
            answer = primes.result(timeout=90)
        feeder.check()
        assert answer == PRIMES
        assert all(agent.running for agent in agents), "an agent gave up"
        assert grid.hub.stop() == 0
        with grid.database() as database:
            sound(database)
            counts = recount(database, 1), recount(database, 2)
            assert database.execute("SELECT count(*) FROM job").fetchone() == (2,)
        assert counts[0]["units"] == units
        print(
            f"{KILLS} kills, {units:,} items and {counts[1]['tasks']:,} WASM tasks; {feeder.link.connections} connections"
        )
        print(f"recovery: median {sorted(recoveries)[KILLS // 2]:.2f} s, longest {max(recoveries):.2f} s")


def kill_and_recover(grid: Grid, feeder: Feeder, chance: random.Random) -> float:
    """Kill the hub at a random moment, start it again; seconds from its start to the next answer a client sees."""
    time.sleep(chance.uniform(0.0, 0.6))  # the moment is what is random here
    grid.hub.kill()
    if chance.random() < 0.2:  # and once more while it is starting
        grid.hub.again()
        time.sleep(chance.uniform(0.0, 0.4))
        grid.hub.kill()
    began = time.monotonic()
    grid.restart_hub()
    feeder.moves_on()
    took = time.monotonic() - began
    assert took <= RECOVERY_SECONDS
    return took
