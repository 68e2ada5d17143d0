"""What the tests of the simulation run."""

from __future__ import annotations

from pathlib import Path

from crowdgrid.simulation.lines import lines_in

LINES = list(lines_in((Path(__file__).parent / "regressions.txt").read_text()))
