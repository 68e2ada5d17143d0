"""What is asked of a crowd, what the right answers are, and what the hub tells afterwards."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from crowdgrid import Range as Split
from crowdgrid import kernels
from crowdgrid.client.grid import Grid as Connected
from crowdgrid.client.job import Job
from tests.e2e.grid import Grid

PROGRAM: Final = kernels.path("primes").read_bytes()
ENDED: Final = frozenset({"completed", "final", "failed", "cancelled", "invalid"})


def primes_below(bound: int) -> list[int]:
    """How many primes there are below each number up to `bound`, itself included."""
    prime = bytearray([1]) * bound
    prime[:2] = bytes(min(bound, 2))
    for at in range(2, int(bound**0.5) + 1):
        if prime[at]:
            prime[at * at :: at] = bytes(len(range(at * at, bound, at)))
    found = [0]
    for is_prime in prime:
        found.append(found[-1] + is_prime)
    return found


def ask(connected: Connected, below: int, tasks: int, *, reduce: str = "sum", **agreement: Any) -> Job:
    """Have the primes below a bound counted in so many tasks."""
    return connected.run(PROGRAM, split=Split(0, below, piece=below // tasks), reduce=reduce, **agreement)


def wrong(grid: Grid, job: Job, counted: list[int]) -> list[int]:
    """The tasks whose answer, as it is delivered, is not what counting the primes gives."""
    page = grid.get(f"/v1/jobs/{job.id}/results", limit=1000)
    assert page.get("next") is None, "all of it is looked at"
    assert sum(row["stop"] - row["start"] for row in page["results"]) == len(counted) - 1
    return [
        row["ordinal"]
        for row in page["results"]
        if row["answers"][0].get("text", "").strip() != str(counted[row["stop"]] - counted[row["start"]])
    ]


def tasks_of(grid: Grid, job: Job) -> list[dict[str, Any]]:
    """Its tasks, fewer than a page holds."""
    found: list[dict[str, Any]] = grid.get(f"/v1/jobs/{job.id}/tasks", limit=1000)["tasks"]
    return found


def votes(grid: Grid, job: Job) -> list[list[str]]:
    """The nodes that voted on each task, by their did:key."""
    shown = [grid.get(f"/v1/jobs/{job.id}/tasks/{task['ordinal']}") for task in tasks_of(grid, job)]
    return [[each["node"] for each in task["assignments"] if each["state"] == "reported"] for task in shown]


def nodes(grid: Grid) -> dict[str, dict[str, Any]]:
    """The nodes by their names."""
    return {node["name"]: node for node in grid.get("/v1/nodes")["nodes"]}


def falls(grid: Grid, name: str) -> int:
    """How often a node's trust index has fallen."""
    return sum(after < before for before, after in pairwise(trust_history(grid, name)))


def prices(grid: Grid, name: str) -> dict[str, float]:
    """What a node was paid for a unit of work, in credits, by job."""
    entries = grid.get(f"/v1/nodes/{nodes(grid)[name]['id']}/credit", limit=1000)["entries"]
    return {entry["job"]: entry["price"] for entry in entries if entry["amount"] > 0}


def trust_history(grid: Grid, name: str) -> list[float]:
    """A node's trust index from the first move on."""
    moves = grid.get(f"/v1/nodes/{nodes(grid)[name]['id']}/trust", limit=1000)["moves"]
    return [moves[-1]["before"], *(move["after"] for move in reversed(moves))] if moves else []
