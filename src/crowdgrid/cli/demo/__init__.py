"""`crowdgrid demo`: a hub and three agents, real jobs, three kill -9, one agent that cheats, and what came of it.

Everything is the real thing: `crowdgrid hub` and `crowdgrid agent run` as processes of their own, a durable store, SIGKILL.
Nothing is shown that was not measured, and the exit status says whether all of it is right.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from crowdgrid.cli import endings
from crowdgrid.cli.showing import print_json

EPILOG = f"""
\b
What happens:
  1. For three real Bitcoin blocks a stated window of 10^8 nonces is searched for the one that makes the
     block valid; the search ends everywhere once it is found, and the hash is checked here.
  2. The primes below 10^10 are counted. At 25 % one of three agents is killed with SIGKILL, at 50 % (or
     once the agent's tasks are done by others, if that is later) the hub is, and started again. Both must
     have recovered within 15 s, and the count must be 455,052,511.
  3. A Python function counts the nodes in the syntax trees of Python's standard library (without its tests),
     here alone and then on the agents that are left. At 40 % one of their worker processes is killed with
     SIGKILL in the midst of a file, which another one has to count. Every kind of node must come to the
     number counted here.
  4. Two neighbours join, and an agent that is patched to cheat: it lies, contradicts itself, boasts of what it used,
     and reports what it finds in the spool of another agent. The primes below 10^7 are counted among these
     strangers, wrong with a chance of 10^-4 at most. None of its lies may stand, and its trust must fall.

\b
{endings.TABLE}
"""


@click.command(epilog=EPILOG)
@click.option("--keep", metavar="DIR", help="Keep store and logs here instead of removing them.")
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as JSON at the end.")
@click.option("--search-window", type=click.IntRange(10**4, 1 << 32), default=10**8, hidden=True)
@click.option("--below", type=click.IntRange(10**6), default=10**10, hidden=True)
@click.option("--files", type=click.IntRange(0), default=0, hidden=True)
def command(keep: str | None, as_json: bool, search_window: int, below: int, files: int) -> int:
    """See it work: real jobs on a hub and agents of this machine, while some are killed and one cheats."""
    from crowdgrid.cli.demo.cheating import among_strangers
    from crowdgrid.cli.demo.primes import count_primes
    from crowdgrid.cli.demo.processes import Crowd
    from crowdgrid.cli.demo.report import Report
    from crowdgrid.cli.demo.search import search_all
    from crowdgrid.cli.demo.stage import stage
    from crowdgrid.cli.demo.trees import count_trees

    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="crowdgrid-demo-", ignore_cleanup_errors=True) as temporary,
        Crowd(Path(keep or temporary).absolute()) as crowd,
        stage(quiet=as_json) as shown,
    ):
        shown.say(f"A hub at {crowd.url} and {len(crowd.agents)} agents, each a process of its own.")
        searches = search_all(crowd, shown, search_window)
        count = count_primes(crowd, shown, below)
        trees = count_trees(crowd, shown, files)
        cheated = among_strangers(crowd, shown)
    report = Report(searches, count, trees, cheated, time.monotonic() - began)
    if as_json:
        print_json(report.as_json())
    else:
        report.show()
    return endings.OK if report.right else endings.FAILED
