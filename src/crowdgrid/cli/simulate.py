"""`crowdgrid simulate`: the hub's own engine under virtual time, with a crowd that churns, errs, lies and is cut off."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crowdgrid.cli import endings
from crowdgrid.cli.reach import json_option
from crowdgrid.cli.showing import facts, print_json, table
from crowdgrid.errors import BadInput

if TYPE_CHECKING:
    from crowdgrid.simulation.lines import Line
    from crowdgrid.simulation.outcome import Outcome

EPILOG = f"""
\b
Examples:
  crowdgrid simulate                         which scenarios there are
  crowdgrid simulate storm                   one that comes with crowdgrid
  crowdgrid simulate mine.toml --seed 7      your own file; one seed is one run, always the same
  crowdgrid simulate liars --set crowd.0.count=500 --set network.loss=0.001
  crowdgrid simulate sleepers --plot run.png how it went, drawn; .svg, too (extra "plots")
  crowdgrid simulate storm liars --runs 100  many seeds; a failing run prints the line that repeats it

\b
{endings.TABLE}
"""


@click.command(epilog=EPILOG)
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]…")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The first seed.")
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Seeds of each scenario.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the scenario.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Runs at a time.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw one run, as .png or .svg.")
@json_option
def command(
    scenarios: tuple[str, ...],
    seed: int,
    runs: int,
    changes: tuple[str, ...],
    processes: int,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Run the hub's engine against a simulated crowd, in virtual time.

    Exit code 1 when a promise was broken: a task lost, an answer counted twice, somebody starved.
    """
    from crowdgrid.simulation.lines import Line
    from crowdgrid.simulation.running import run_all

    if not scenarios:
        _list()
        return endings.OK
    if plot is not None:
        _check_plot(plot, len(scenarios) * runs)
    lines = [Line(scenario, seed + number, changes) for scenario in scenarios for number in range(runs)]
    began = time.monotonic()
    found: list[tuple[Line, Outcome]] = []
    for line, outcome in run_all(lines, processes):
        found.append((line, outcome))
        if outcome.fault:
            click.echo(f"✗ {outcome.fault}\n  {line}", err=True)
        elif len(lines) > 1 and sys.stderr.isatty():
            click.echo(f"\r{len(found)} of {len(lines)} runs", nl=False, err=True)
    if plot is not None:
        from crowdgrid.simulation.plots import draw

        draw(found[0][1], Path(found[0][0].scenario).stem, plot)
    if as_json:
        _print_json(found)
    elif len(found) == 1:
        _show(found[0][1])
    else:
        _sum_up(found, time.monotonic() - began)
    return endings.FAILED if any(outcome.fault for _, outcome in found) else endings.OK


def _check_plot(plot: Path, runs: int) -> None:
    """Before anything runs."""
    from crowdgrid.simulation import plots

    if runs > 1:
        raise BadInput("A picture is of one run.", hint="Leave --runs and further scenarios away, or --plot.")
    plots.check(plot)


def _list() -> None:
    from crowdgrid.simulation import reading

    table(
        ["scenario", "about"],
        [(name, reading.read(reading.found(name)).about) for name in reading.names()],
    )


def _print_json(found: list[tuple[Line, Outcome]]) -> None:
    import msgspec

    told = [{"line": str(line), **msgspec.to_builtins(outcome)} for line, outcome in found]
    print_json(told[0] if len(told) == 1 else told)


# --- tables --------------------------------------------------------------------------------------


def _show(outcome: Outcome) -> None:
    """One run."""
    table(
        ["jobs", "consensus", "ended well", "tasks", "executions", "reopened", "lost", "wrong", "wrong, final", "wait s", "longest", "makespan s"],
        [
            (
                each.name,
                each.consensus,
                f"{each.final} of {each.jobs}",
                each.tasks,
                f"{each.executions:.3f}",
                each.reopened,
                each.lost,
                each.wrong_first,
                each.wrong_final,
                f"{each.wait_s_mean:,.1f}",
                f"{each.wait_s_most:,.1f}",
                f"{each.makespan_s:,.1f}",
            )
            for each in outcome.jobs
        ],
        right=["tasks", "executions", "reopened", "lost", "wrong", "wrong, final", "wait s", "longest", "makespan s"],
    )  # fmt: skip
    table(
        ["crowd", "behaviour", "nodes", "answered", "wrong", "counted", "trust", "judged", "credit"],
        [
            (
                each.name,
                each.behaviour,
                each.nodes,
                each.answered,
                each.wrong,
                each.counted,
                f"{each.trust_mean:.1f}",
                each.judged,
                f"{each.credit:,.1f}",
            )
            for each in outcome.crowd
        ],
        right=["nodes", "answered", "wrong", "counted", "trust", "judged", "credit"],
    )
    facts(
        [
            ("seed", outcome.seed),
            ("virtual time", f"{outcome.hours:,.2f} h"),
            ("crashes, take-overs", f"{outcome.crashes}, {outcome.takeovers}"),
            ("commands, events", f"{outcome.commands:,}, {outcome.events:,}"),
            ("CPU", f"{outcome.cpu_s:.2f} s, {outcome.leased_a_cpu_second:,.0f} assignments/s"),
            ("kept its promises", "no" if outcome.fault else "yes"),
        ]
    )


def _sum_up(found: list[tuple[Line, Outcome]], took: float) -> None:
    """Many runs: a row a scenario."""
    groups: dict[str, list[Outcome]] = {}
    for line, outcome in found:
        groups.setdefault(line.scenario, []).append(outcome)
    numbers = ["runs", "failed", "tasks", "assignments", "wrong", "wrong, final", "crashes", "virtual h", "CPU s"]
    table(
        ["scenario", *numbers],
        [
            (
                name,
                len(runs),
                sum(bool(run.fault) for run in runs),
                sum(jobs.tasks for run in runs for jobs in run.jobs),
                sum(run.leased for run in runs),
                sum(jobs.wrong_first for run in runs for jobs in run.jobs),
                sum(jobs.wrong_final for run in runs for jobs in run.jobs),
                sum(run.crashes + run.takeovers for run in runs),
                f"{sum(run.hours for run in runs):,.0f}",
                f"{sum(run.cpu_s for run in runs):,.1f}",
            )
            for name, runs in groups.items()
        ],
        right=numbers,
    )
    click.echo(f"{len(found)} runs in {took:.0f} s.")
