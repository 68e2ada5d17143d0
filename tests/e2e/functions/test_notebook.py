"""A grid and what is on it, as IPython shows them: in a notebook and in a console, while the hub is there or away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.formatters import DisplayFormatter

import crowdgrid as cg
from crowdgrid.client import background
from tests.e2e.grid import Grid

SECONDS = 60


@cg.function
def picky(x: int) -> int:
    if x % 10 == 7:
        raise ValueError(f"<b>{x}</b>")
    return x


def shown(thing: object) -> tuple[str, str]:
    """(text, HTML) that IPython would show."""
    data, _ = DisplayFormatter().format(thing)  # type: ignore[no-untyped-call]
    assert set(data) == {"text/plain", "text/html"}
    return data["text/plain"], data["text/html"]


def test_a_grid_shows_its_nodes_and_newest_jobs(grid: cg.Grid) -> None:
    job = picky.spawn_map(range(5), name="<i>five")
    job.wait(SECONDS)
    text, html = shown(grid)
    assert text.startswith(f"Grid at {grid.url}\n  nodes  1 of 1 online, 2 cores\n")
    assert re.search(r"^  <i>five +final +5 of 5$", text, re.MULTILINE)
    assert "&lt;i&gt;five" in html
    assert "grid.map(f, items)" in html


def test_a_job_shows_what_it_calls_and_what_failed(grid: cg.Grid) -> None:
    job = picky.spawn_map(range(40), name="forty")
    job.wait(SECONDS)
    text, html = shown(job)
    assert text.startswith(
        "Job forty\n  function  picky\n  state     final\n  done      40 of 40\n  failed    4 errors\n"
    )
    assert "7     ValueError: <b>7</b>" in text
    assert "job.errors()" in text
    assert 'value="40" max="40"' in html
    assert "ValueError: &lt;b&gt;7&lt;/b&gt;" in html


def test_a_map_shows_how_far_it_is(grid: cg.Grid) -> None:
    with picky.map(range(3)) as mapped:
        assert next(mapped) == 0
        text, html = shown(mapped)
    assert text.startswith(f"Map {mapped.id}\n  state  ")
    assert "of 3" in html


@pytest.fixture
def away(tmp_path: Path) -> Iterator[tuple[cg.Grid, cg.Job]]:
    """A grid whose hub is gone, and a job of it."""
    with Grid(tmp_path) as processes:
        processes.start_hub()
        with processes.connect() as connected:
            job = connected.run(cg.kernels.path("echo"), items=[b"x"], name="waiting")
            job.fed()
            processes.hub.kill()
            yield connected, job


def test_a_hub_that_is_away_is_said_to_be(away: tuple[cg.Grid, cg.Job]) -> None:
    """In a moment: nobody waits a minute for a name to be shown."""
    grid, job = away
    text, html = shown(grid)
    assert f"Grid at {grid.url}\n  hub  " in text
    assert "grid.map(f, items)" in html
    assert shown(job)[0].startswith("Job waiting\n  state  sealed\n  done   0 of 1\n")


def test_a_grid_that_was_closed_can_still_be_shown(away: tuple[cg.Grid, cg.Job]) -> None:
    grid, job = away
    grid.close()
    assert "hub" in shown(grid)[0]
    assert "Job waiting" in shown(job)[0]


def test_it_can_be_shown_where_it_cannot_be_asked(grid: cg.Grid) -> None:
    """On crowdgrid's own thread nothing can be waited for."""

    async def there() -> str:
        return shown(grid)[0]

    assert background.run(there()).startswith(f"Grid at {grid.url}\n")
