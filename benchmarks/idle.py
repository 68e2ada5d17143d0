"""Nodes that are connected and have nothing to do: what they cost a hub, with and without TLS in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import certificate
from benchmarks.context import Context
from benchmarks.crowd import raise_files_limit
from benchmarks.crowding import crowd_of
from benchmarks.processes import BenchGrid, folder_for
from benchmarks.report import Figure, Goal, Section, at_most
from crowdgrid import limits

MB = 1e6
TEXT = """
One process holds all nodes: real WebSockets, each with a key of its own, Hello, Challenge, Proof, Welcome, a record in the
store, and a heartbeat every {beat} s. *Plain* is what a hub behind a TLS proxy has to hold. Connecting includes joining the
grid for the first time; the other end, which makes the keys and signs, shares this machine.
"""


class Idle(NamedTuple):
    nodes: int
    seconds: float
    connect_ms: float
    rss: int
    each: float
    beat_us: float


def measure(context: Context) -> Section:
    few = context.of(1_000, 500)
    many = min(context.of(10_000, 2_000), raise_files_limit() - 500)
    with folder_for("tls") as folder:
        found = {
            f"{few:,} nodes": _idle(context, few),
            f"{few:,} nodes, TLS in the hub": _idle(context, few, certificate.make(folder)),
            f"{many:,} nodes": _idle(context, many),
        }
    goals = {f"{many:,} nodes": at_most(600)} if many >= 9_500 else {}
    figures = [figure for title, idle in found.items() for figure in _figures(title, idle, goals.get(title))]
    return Section("Idle nodes", TEXT.format(beat=limits.HEARTBEAT_SECONDS), figures)


def _idle(context: Context, nodes: int, tls: tuple[Path, Path] | None = None) -> Idle:
    with BenchGrid(tls=tls) as grid:
        start, cpu = grid.hub.rss(), grid.hub.cpu()
        with crowd_of(grid, nodes, ca=str(tls[0]) if tls else "") as arrived:
            connecting = grid.hub.cpu() - cpu
            time.sleep(2)
            rss, cpu, began = grid.hub.rss(), grid.hub.cpu(), time.perf_counter()
            time.sleep(context.of(10, 4))
            beats = nodes * (time.perf_counter() - began) / limits.HEARTBEAT_SECONDS
            beat_us = (grid.hub.cpu() - cpu) / beats * 1e6
        return Idle(nodes, arrived.seconds, connecting / nodes * 1e3, rss, (rss - start) / nodes, beat_us)


def _figures(title: str, idle: Idle, goal: Goal | None) -> list[Figure]:
    return [
        Figure(f"hub, {title}", idle.rss / MB, "MB", goal),
        Figure(f"{title}, each", idle.each / 1000, "kB", None, "a bare WebSocket: 24 kB plain, 51 kB with TLS"),
        Figure(f"{title}, connecting", idle.nodes / idle.seconds, "nodes/s", None, "about 600/s for bare WebSockets"),
        Figure(f"{title}, hub CPU to connect one", idle.connect_ms, "ms"),
        Figure(f"{title}, hub CPU a heartbeat", idle.beat_us, "µs"),
    ]
