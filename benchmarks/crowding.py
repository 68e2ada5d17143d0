"""Starts the process of many nodes (`benchmarks.crowd`) beside a grid."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from benchmarks.crowd import Arrived, Crowd
from benchmarks.processes import ROOT, BenchGrid, BenchmarkFailed


@contextmanager
def crowd_of(
    grid: BenchGrid, nodes: int, *, ca: str = "", runtime: str = "wasm", slots: int = 0, leases: int = 0
) -> Iterator[Arrived]:
    """So many nodes on the grid's hub, as long as the block lasts. Raises BenchmarkFailed when they do not get in."""
    order = Crowd(grid.hub.url, grid.invitation, nodes, ca, runtime, slots, leases)
    words = [sys.executable, "-m", "benchmarks.crowd", msgspec.json.encode(order).decode()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as crowd:
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        told = crowd.stdout.readline()
        try:
            if not told:
                raise BenchmarkFailed(f"{nodes:,} nodes could not be connected.")
            yield msgspec.json.decode(told, type=Arrived)
        finally:
            crowd.stdin.close()
            crowd.stdin = None
            try:
                crowd.wait(30)
            except subprocess.TimeoutExpired:
                crowd.kill()
