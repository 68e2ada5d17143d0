"""What a task and a node cost the engine, from 10³ to 10⁶ nodes, and how both grow."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import log10
from typing import Final

from benchmarks.report import markdown_table, number
from benchmarks.simulation import NODES, Cost, measured
from experiments import page

GOAL_RATE: Final = 5_000.0  # assignments a second of CPU at 10³ nodes
GOAL_GB: Final = 16.0  # with 10⁶


def measure(*, quick: bool) -> list[str]:
    found = [measured(nodes) for nodes in (NODES[:3] if quick else NODES)]
    head = [
        "nodes", "to join, CPU µs each", "an idle hour, CPU s", "a task, CPU µs", "assignments/s of CPU", "memory MB", "bytes a node",
    ]  # fmt: skip
    rows = [
        [
            f"{each.nodes:,}",
            *map(
                number,
                (
                    each.join_us,
                    each.idle_s,
                    1e6 / each.assignments,
                    each.assignments,
                    each.memory_mb,
                    each.bytes_a_node,
                ),
            ),
        ]
        for each in found
    ]
    first, last = found[0], found[-1]
    task, join, memory = (
        _growth(found, of)
        for of in (lambda each: 1e6 / each.assignments, lambda each: each.join_us, lambda each: each.memory_mb)
    )
    fast = "reached" if first.assignments >= GOAL_RATE else "missed"
    small = "reached" if last.memory_mb / 1000 <= GOAL_GB else "missed"
    reached = (
        f"{first.nodes:,} nodes: {first.assignments:,.0f} assignments a second of CPU (goal {GOAL_RATE:,.0f}: {fast}).",
        f"{last.nodes:,} nodes: {last.memory_mb / 1000:.1f} GB (goal {GOAL_GB:g} GB: {small}).",
        f"With each tenfold crowd a task costs {task} times as much, a node's joining {join} times; memory is {memory} times as large.",
    )
    return ["\n".join(f"- {each}" for each in reached), markdown_table(head, rows), _picture(found)]


def _growth(found: list[Cost], of: Callable[[Cost], float]) -> str:
    """From each size to the next."""
    return ", ".join(f"{of(after) / of(before):.2g}" for before, after in pairwise(found))


def _picture(found: list[Cost]) -> str:
    figure, (left, right) = page.canvas(1, 2, size=(8.0, 3.4))
    nodes = [each.nodes for each in found]
    left.loglog(nodes, [1e6 / each.assignments for each in found], "o-", color=page.COLOURS[0], label="a task")
    left.loglog(nodes, [each.join_us for each in found], "s--", color=page.COLOURS[1], label="a node's joining")
    left.set_ylabel("CPU, µs")
    left.legend()
    right.loglog(nodes, [each.memory_mb for each in found], "o-", color=page.COLOURS[0])
    right.set_ylabel("memory, MB")
    for axis in (left, right):
        axis.set_xlabel("nodes")
        axis.set_xlim(10 ** (log10(nodes[0]) - 0.2), 10 ** (log10(nodes[-1]) + 0.2))
    return page.picture("scale", figure, "CPU a task and a node, and memory, by the size of the crowd")
