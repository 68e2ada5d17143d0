"""What simulating a crowd costs: `python -m benchmarks.simulation [NODES …]`.

For each size of crowd, in a process of its own: nodes join (in virtual time, each with its link and its offer), nothing
happens for an hour, then a job is run by as many of them as it takes. All checks are on, with a full one every 10,000
commands up to 10,000 nodes and one at the end beyond. CPU is this process's; memory its peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import msgspec

from benchmarks.machine import this_machine
from benchmarks.processes import ROOT, folder_for
from benchmarks.report import markdown_table, number
from crowdgrid.simulation import reading
from crowdgrid.simulation.world import World

NODES = (1_000, 10_000, 100_000, 1_000_000)
JOINED_S, IDLE_S = 60.0, 3_600.0
CHECKED_NODES = 10_000


@dataclass(frozen=True)
class Cost:
    """Of one crowd. CPU in seconds, `…_us` in microseconds each."""

    nodes: int
    join_us: float
    idle_s: float  # an hour of it
    tasks: int
    work_s: float
    assignments: float  # a second of CPU
    memory_mb: float
    bytes_a_node: float


def cost(nodes: int) -> Cost:
    """In this process."""
    tasks = 100_000 if nodes <= 10_000 else 20_000
    begin = JOINED_S + IDLE_S
    check = 10_000 if nodes <= CHECKED_NODES else 10_000_000
    changes = (f"crowd.0.count={nodes}", f"jobs.0.tasks={tasks}", f"jobs.0.at_s={begin}", f"run.check_every={check}")
    before = _memory_mb()
    world = World(reading.read(reading.found("scale"), changes), 1)
    join = _took(world, JOINED_S)
    after = _memory_mb()
    idle = _took(world, begin - 1)
    began = time.process_time()
    outcome = world.run()
    work = time.process_time() - began
    assert not outcome.fault, outcome.fault
    assert outcome.leased == tasks
    return Cost(
        nodes, join / nodes * 1e6, idle, tasks, work, tasks / work, _memory_mb(), (after - before) * 1e6 / nodes
    )


def _took(world: World, until_s: float) -> float:
    began = time.process_time()
    world.advance(until_s)
    return time.process_time() - began


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measured(nodes: int) -> Cost:
    """`cost` in a fresh process."""
    words = [sys.executable, "-m", "benchmarks.simulation", "--measure", str(nodes)]
    told = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return msgspec.convert(json.loads(told), Cost)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("nodes", nargs="*", type=int, default=NODES, help="sizes of the crowd")
    parser.add_argument("--measure", type=int, default=0, help="one size in this process, printed as JSON")
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(asdict(cost(given.measure))))
        return 0
    with folder_for("machine") as folder:
        print(this_machine(folder).told(), flush=True)
    rows = []
    for nodes in given.nodes:
        found = measured(nodes)
        print(f"{nodes:,} nodes: {found.assignments:,.0f} assignments/s of CPU, {found.memory_mb:,.0f} MB", flush=True)
        numbers = [found.nodes, found.join_us, found.idle_s, found.tasks, found.work_s, found.assignments]
        rows.append([*map(number, numbers), number(found.memory_mb), number(found.bytes_a_node)])
    head = [
        "nodes",
        "join, CPU µs a node",
        "an idle hour, CPU s",
        "tasks",
        "their CPU s",
        "assignments/s of CPU",
        "memory MB",
        "bytes a node",
    ]
    print(f"\n{markdown_table(head, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
