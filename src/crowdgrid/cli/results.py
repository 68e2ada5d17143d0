"""`crowdgrid jobs results`: what a job came to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from crowdgrid.cli import endings
from crowdgrid.cli.outcomes import Taker, Writer, standard_output
from crowdgrid.cli.reach import grid, hub_options, json_option
from crowdgrid.cli.run import print_answer
from crowdgrid.client import quantities
from crowdgrid.client.harvest import outcomes_of
from crowdgrid.client.jobcore import ANSWERED
from crowdgrid.client.progress import showing
from crowdgrid.core.model import UNSANDBOXED
from crowdgrid.errors import JobFailed, TimedOut

if TYPE_CHECKING:
    from crowdgrid.client.grid import Grid
    from crowdgrid.client.job import Job

ENDED: Final = {*ANSWERED, "failed", "cancelled", "invalid"}
EPILOG = """
\b
Examples:
  crowdgrid jobs results primes                  the answer of a program
  crowdgrid jobs results squares --wait 10m      of a Python function: a line of JSON for each call
  crowdgrid jobs results squares --keep-errors   failed calls too, each in its place
  crowdgrid jobs results squares --partial       without them

\b
How values are written as JSON, and how failed calls are, is in `crowdgrid map --help`. Results that were sent as
pickles are opened only if they come from nodes of your own, or named with --trust.
"""


@click.command(epilog=EPILOG)
@click.argument("job")
@click.option("--wait", metavar="TIME", is_flag=False, flag_value="7d", default="", help="Wait for the job to end.")
@click.option("--partial", is_flag=True, help="Leave out the runs that failed.")
@click.option("--keep-errors", is_flag=True, help="Of Python calls: failed ones have a line among the results.")
@click.option("--unordered", is_flag=True, help='Of Python calls: {"index": …, "value": …}, as they were done.')
@click.option("--trust", metavar="NODE", multiple=True, help="With pickles: a node's did:key whose results are opened.")
@json_option
@hub_options
def results(
    job: str,
    wait: str,
    partial: bool,
    keep_errors: bool,
    unordered: bool,
    trust: tuple[str, ...],
    as_json: bool,
    hub: str | None,
    token: str | None,
) -> int:
    """A JOB's answer: what the reducer made of all outputs, or what each call of a Python function returned."""
    seconds = quantities.seconds(wait) if wait else 0.0
    with grid(hub, token, trust) as connected:
        found = connected.job(job)
        if not wait and found.state not in ENDED:
            raise TimedOut(
                f"The job is {found.state}: {found.counts.units_done:,} of {found.counts.units:,} units are done.",
                hint="Add --wait, or follow it with `crowdgrid jobs show --follow`.",
            )
        if found.link.info.spec.runtime not in UNSANDBOXED:
            print_answer(found.result(seconds or None, partial=partial), as_json)
            return endings.OK
        if wait:
            found.wait(seconds)
        writer = Writer(standard_output(), indexed=unordered, keep_errors=keep_errors, document=as_json)
        _write_values(connected, found, writer, ordered=not unordered)
    if not writer.failed or partial:
        return endings.OK
    raise JobFailed(
        f"{writer.failed:,} of {writer.failed + writer.written:,} calls failed.",
        hint=f"All of them: crowdgrid jobs logs {job} --errors. Again: crowdgrid jobs retry {job}",
    )


def _write_values(connected: Grid, job: Job, writer: Writer, *, ordered: bool) -> None:
    """Write what the calls of a job that has ended came to. Raises JobFailed when it ended without all of it."""
    outcomes = outcomes_of(connected.connection, job.link)
    assert outcomes is not None, "it runs functions"
    taker = Taker(connected.connection, job.link, outcomes, ordered=ordered)
    with showing(job.name or job.id, None, job.link) as moved, writer:
        while found := taker.take():
            writer.write(found)
            moved(writer.failed + writer.written)
    sys.stdout.flush()
    if job.state not in ANSWERED:
        raise JobFailed(f"The job ended early: {job.reason.rstrip('.') or f'it is {job.state}'}.")
