"""`crowdgrid why`: answers every "why not"."""

from __future__ import annotations

import click

from crowdgrid.cli.reach import Hub, hub_options, json_option, part
from crowdgrid.cli.showing import print_json

EPILOG = """
\b
Examples:
  crowdgrid why primes          a job, by name or id
  crowdgrid why t4k2…           a task
  crowdgrid why 3               a node, by number or did:key
"""


@click.command(epilog=EPILOG)
@click.argument("thing")
@json_option
@hub_options
def command(thing: str, as_json: bool, hub: str | None, token: str | None) -> None:
    """Why a job, task or node is as it is: what it waits for, and what stands in the way."""
    told = Hub(hub, token).get(f"/v1/why/{part(thing)}")
    if as_json:
        print_json(told)
        return
    click.echo(told["summary"])
    for reason in told["reasons"]:
        click.echo(f"  {'✗' if reason['blocks'] else '·'} {reason['text']}")
    if told["matched"]:
        click.echo(f"Nodes that may: {', '.join(map(str, told['matched']))}")
    for rejected in told["rejected"]:
        click.echo(f"Node {rejected['node']} may not: {' '.join(rejected['reasons'])}")
