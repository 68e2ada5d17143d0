"""`crowdgrid jobs`: list, follow and steer jobs, fetch their results."""

from __future__ import annotations

from typing import Any

import click

from crowdgrid.cli import endings
from crowdgrid.cli.reach import Hub, grid, hub_options, json_option, part
from crowdgrid.cli.showing import ago, facts, print_json, printable, share, table
from crowdgrid.client import quantities
from crowdgrid.errors import TimedOut

EPILOG = """
\b
Examples:
  crowdgrid jobs ls --state open --state sealed
  crowdgrid jobs show primes --follow
  crowdgrid jobs results primes --wait 10m
  crowdgrid jobs logs primes                  what went wrong, run by run
  crowdgrid jobs cancel primes
"""
STATES = ("validating", "invalid", "open", "sealed", "completed", "final", "failed", "cancelled")
WAIT_SECONDS_AT_ONCE = 30


@click.group(epilog=EPILOG)
def command() -> None:
    """Jobs: list, show, follow, steer; their results and what went wrong. A job is named by its id or name."""


@command.command("ls")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only these; repeatable.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--before", help="The page after: what the last one said.")
@json_option
@hub_options
def list_jobs(
    states: tuple[str, ...], limit: int, before: str | None, as_json: bool, hub: str | None, token: str | None
) -> None:
    """Your jobs, newest first (an admin's: everybody's)."""
    page = Hub(hub, token).get("/v1/jobs", state=list(states), limit=limit, before=before)
    if as_json:
        print_json(page)
        return
    rows = [
        (job["id"], job["name"], _state(job), _done(job), _errors(job), ago(job["created_at"])) for job in page["jobs"]
    ]
    if not rows:
        click.echo("No jobs. `crowdgrid run --help` shows how to start one.")
        return
    table(("id", "name", "state", "done", "errors", "created"), rows, right=("done", "errors"))
    if "next" in page:
        click.echo(f"There are more: --before {page['next']}", err=True)


@command.command()
@click.argument("job")
@click.option("--follow", is_flag=True, help="Show its progress until it has ended.")
@json_option
@hub_options
def show(job: str, follow: bool, as_json: bool, hub: str | None, token: str | None) -> int:
    """One job: where it stands, what it was asked to do."""
    if follow:
        with grid(hub, token) as connected:
            connected.job(job).wait(progress=True)
    found = Hub(hub, token).get(f"/v1/jobs/{part(job)}")
    if as_json:
        print_json(found)
    else:
        _print_job(found)
    return endings.FAILED if follow and found["state"] in {"invalid", "failed", "cancelled"} else endings.OK


def _print_job(job: dict[str, Any]) -> None:
    counts, spec = job["counts"], job["spec"]
    facts(
        [
            ("id", job["id"]),
            ("name", job["name"]),
            ("owner", job["owner"]),
            ("state", _state(job)),
            ("because", job["reason"]),
            ("created", ago(job["created_at"])),
            ("ended", ago(job["ended_at"]) if job["ended_at"] else ""),
            ("units", f"{counts['units_done']:,} of {counts['units']:,} done ({_done(job)})"),
            ("tasks", _tasks(counts)),
            ("errors", counts["errors"] or ""),
            ("leases lost", counts["lost"] or ""),
            ("program", spec["program"]),
            ("arguments", " ".join(spec["args"])),
            ("split", spec["split"]["kind"]),
            ("reduce", spec["reduce"]),
            ("limits", f"{spec['timeout_ms'] / 1000:g} s, {spec['memory_bytes'] / (1 << 20):,.0f} MiB a run"),
            ("priority", spec["priority"] or ""),
        ]
    )


def _tasks(counts: dict[str, int]) -> str:
    names = ("validated", "in_progress", "in_queue", "split", "abandoned")
    return ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in names if counts[name]) or "none yet"


def _state(job: dict[str, Any]) -> str:
    return f"{job['state']}, paused" if job["paused"] else str(job["state"])


def _done(job: dict[str, Any]) -> str:
    return share(job["counts"]["units_done"], job["counts"]["units"])


def _errors(job: dict[str, Any]) -> object:
    return job["counts"]["errors"] or ""


@command.command()
@click.argument("job")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--after", type=int, help="The page after: what the last one said.")
@json_option
@hub_options
def logs(job: str, limit: int, after: int | None, as_json: bool, hub: str | None, token: str | None) -> None:
    """What went wrong, run by run: exit code, and the end of what the program wrote to standard error."""
    page = Hub(hub, token).get(f"/v1/jobs/{part(job)}/errors", limit=limit, after=after)
    if as_json:
        print_json(page)
        return
    for error in page["errors"]:
        where = f"unit {error['unit']:,}" if error["unit"] >= 0 else f"task {error['ordinal']:,}"
        node = f" on node {error['node']}" if error["node"] else ""
        click.echo(f"{where}{node}: {error['error']}")
        for line in printable(error["stderr"]).splitlines():
            click.echo(f"    {line}")
    if not page["errors"]:
        click.echo("Nothing went wrong.")
    if "next" in page:
        click.echo(f"There are more: --after {page['next']}", err=True)


@command.command()
@click.argument("job")
@click.option("--wait", metavar="TIME", is_flag=False, flag_value="7d", default="", help="Wait for the job to end.")
@click.option("--partial", is_flag=True, help="Leave out the runs that failed.")
@json_option
@hub_options
def results(job: str, wait: str, partial: bool, as_json: bool, hub: str | None, token: str | None) -> None:
    """The job's answer: what the reducer made of all outputs."""
    from crowdgrid.cli.run import print_answer

    seconds = quantities.seconds(wait) if wait else 0.0
    with grid(hub, token) as connected:
        found = connected.job(job)
        if not wait and found.state not in {"completed", "final", "failed", "cancelled", "invalid"}:
            raise TimedOut(
                f"The job is {found.state}: {found.counts.units_done:,} of {found.counts.units:,} units are done.",
                hint="Add --wait, or follow it with `crowdgrid jobs show --follow`.",
            )
        print_answer(found.result(seconds or None, partial=partial, progress=True), as_json)


def _steer(verb: str, told: str, help_text: str) -> None:
    @command.command(verb, help=help_text)
    @click.argument("names", metavar="JOB...", nargs=-1, required=True)
    @hub_options
    def steer(names: tuple[str, ...], hub: str | None, token: str | None) -> None:
        reached = Hub(hub, token)
        for name in names:
            reached.post(f"/v1/jobs/{part(name)}/{verb}", {} if verb == "cancel" else None)
            click.echo(told.format(name))


_steer("cancel", "Cancelled {}.", "End jobs for good; what runs is withdrawn.")
_steer("pause", "Paused {}: what runs goes on.", "Start nothing more of jobs; what runs goes on.")
_steer("resume", "Resumed {}.", "Undo pause.")
_steer("retry", "Retrying {}.", "Run failed and abandoned tasks again.")
