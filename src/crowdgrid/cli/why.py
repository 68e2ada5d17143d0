"""`crowdgrid why`: answers every "why not"."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from crowdgrid.cli.reach import Hub, hub_options, json_option, part
from crowdgrid.cli.showing import print_json, printable
from crowdgrid.errors import NotFound

EPILOG = """
\b
Examples:
  crowdgrid why primes          a job, by name or id
  crowdgrid why t4k2…           a task
  crowdgrid why attic           a node, by name or id
"""


@click.command(epilog=EPILOG)
@click.argument("thing")
@json_option
@hub_options
def command(thing: str, as_json: bool, hub: str | None, token: str | None) -> None:
    """Why a job, task or node is as it is: what it waits for, and what stands in the way."""
    reached = Hub(hub, token)
    told = _told(reached, thing)
    if as_json:
        print_json(told)
        return
    click.echo(printable(told["summary"]))
    for reason in told["reasons"]:
        click.echo(f"  {'✗' if reason['blocks'] else '·'} {printable(reason['text'])}")
    names = _names(reached) if told["matched"] or told["rejected"] else {}
    if told["matched"]:
        click.echo(f"Nodes that may: {', '.join(names.get(node, printable(node)) for node in told['matched'])}")
    for rejected in told["rejected"]:
        node = names.get(rejected["node"], rejected["node"])
        click.echo(f"Node {node} may not: {printable(' '.join(rejected['reasons']))}")


def _names(hub: Hub) -> dict[str, str]:
    """What people call the nodes they may see, by did:key; one that has no name, or not one of its own, is left out."""
    nodes = hub.get("/v1/nodes", limit=1000)["nodes"]
    count = Counter(node["name"] for node in nodes)
    return {node["id"]: printable(node["name"]) for node in nodes if node["name"] and count[node["name"]] == 1}


def _told(hub: Hub, thing: str) -> Any:
    try:
        return hub.get(f"/v1/why/{part(thing)}")
    except NotFound as no_job:
        try:
            return hub.get(f"/v1/why/{part(hub.node(thing))}")
        except NotFound:
            raise NotFound(
                f"There is no job, task or node {thing!r} of yours.",
                hint="`crowdgrid jobs ls` and `crowdgrid nodes ls` list them.",
            ) from no_job
