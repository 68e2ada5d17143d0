"""`crowdgrid jobs`: list, follow and steer jobs, fetch their results."""

from __future__ import annotations

import time
from typing import Any

import click

from crowdgrid.cli import endings
from crowdgrid.cli.logs import logs
from crowdgrid.cli.reach import Hub, grid, hub_options, json_option, part
from crowdgrid.cli.results import results
from crowdgrid.cli.showing import ago, facts, print_json, share, span, table
from crowdgrid.client import saying
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import Counts

EPILOG = """
\b
Examples:
  crowdgrid jobs ls --state open --state sealed
  crowdgrid jobs show primes --follow
  crowdgrid jobs results primes --wait 10m
  crowdgrid jobs logs primes                  what its runs printed, and what went wrong
  crowdgrid jobs retry squares                what failed, again
  crowdgrid jobs cancel primes
"""
STATES = ("validating", "invalid", "open", "sealed", "completed", "final", "failed", "cancelled")


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
            connected.job(job).wait()
    reached = Hub(hub, token)
    found = reached.get(f"/v1/jobs/{part(job)}")
    if as_json:
        print_json(found)
    else:
        _print_job(found, reached.function_name(found["spec"]))
    return endings.FAILED if follow and found["state"] in {"invalid", "failed", "cancelled"} else endings.OK


def _left(job: dict[str, Any]) -> str:
    """How long the rest takes at the mean speed so far."""
    done, units = job["counts"]["units_done"], job["counts"]["units"]
    if job["state"] != "sealed" or job["paused"] or not 0 < done < units:
        return ""
    took = max(0.0, time.time() - job["created_at"] / 1000)
    return f"about {span(took * (units - done) / done)}, at its speed so far"


def _print_job(job: dict[str, Any], function: str) -> None:
    counts, spec = job["counts"], job["spec"]
    facts(
        [
            ("id", job["id"]),
            ("name", job["name"]),
            ("owner", job["owner"]),
            ("state", _state(job)),
            ("because", job["reason"]),
            ("answers taken back", job["revision"] or ""),
            ("created", ago(job["created_at"])),
            ("ended", ago(job["ended_at"]) if job["ended_at"] else ""),
            ("units", f"{counts['units_done']:,} of {counts['units']:,} done ({_done(job)})"),
            ("left", _left(job)),
            ("tasks", _tasks(counts)),
            ("errors", counts["errors"] or ""),
            ("leases lost", counts["lost"] or ""),
            ("function", function),
            ("program", spec["program"]),
            ("runtime", spec["runtime"]),
            ("arguments", " ".join(spec["args"])),
            ("split", spec["split"]["kind"]),
            ("reduce", spec["reduce"]),
            ("agreement", _agreement(spec)),
            ("limits", f"{spec['timeout_ms'] / 1000:g} s, {spec['memory_bytes'] / (1 << 20):,.0f} MiB a run"),
            ("priority", spec["priority"] or ""),
        ]
    )


def _agreement(spec: dict[str, Any]) -> str:
    """When an answer stands; "" where the first one does."""
    overlap = spec["overlap"]
    match spec["consensus"]:
        case "majority":
            return f"more than half of {overlap} nodes"
        case "trust_weighted":
            return f"{overlap} nodes, {spec['threshold']:.0%} of their trust"
        case "bounded_error":
            return f"wrong with a chance of {spec['error_bound']:g} at most"
    return ""


def _tasks(counts: dict[str, int]) -> str:
    names = ("validated", "in_progress", "in_queue", "split", "abandoned")
    return ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in names if counts[name]) or "none yet"


def _state(job: dict[str, Any]) -> str:
    return f"{job['state']}, paused" if job["paused"] and job["state"] in JOB_RUNS else str(job["state"])


def _done(job: dict[str, Any]) -> str:
    return share(job["counts"]["units_done"], job["counts"]["units"])


def _errors(job: dict[str, Any]) -> object:
    return job["counts"]["errors"] or ""


command.add_command(logs)
command.add_command(results)


def _steer(verb: str, told: str, help_text: str) -> None:
    @command.command(verb, help=help_text)
    @click.argument("names", metavar="JOB...", nargs=-1, required=True)
    @hub_options
    def steer(names: tuple[str, ...], hub: str | None, token: str | None) -> None:
        reached = Hub(hub, token)
        for name in names:
            job = reached.post(f"/v1/jobs/{part(name)}/{verb}", {} if verb == "cancel" else None)
            too_late = verb == "cancel" and job["state"] != "cancelled"
            click.echo(f"{name} had ended before: it is {job['state']}." if too_late else told.format(name))


_steer("cancel", "Cancelled {}.", "End jobs for good; what runs is withdrawn.")
_steer("pause", "Paused {}: what runs goes on.", "Start nothing more of jobs; what runs goes on.")
_steer("resume", "Resumed {}.", "Undo pause.")


@command.command()
@click.argument("names", metavar="JOB...", nargs=-1, required=True)
@hub_options
def retry(names: tuple[str, ...], hub: str | None, token: str | None) -> None:
    """Run what failed again, also of jobs that have ended."""
    reached = Hub(hub, token)
    for name in names:
        counts = reached.get(f"/v1/jobs/{part(name)}")["counts"]
        failed = saying.failed(Counts(errors=counts["errors"], abandoned=counts["abandoned"]))
        reached.post(f"/v1/jobs/{part(name)}/retry")
        click.echo(f"Retrying {name}: {failed}." if failed else f"Nothing of {name} failed.")
