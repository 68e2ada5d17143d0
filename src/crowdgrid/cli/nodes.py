"""`crowdgrid nodes`: list, show, trust, drain."""

from __future__ import annotations

import click

from crowdgrid.cli.reach import Hub, hub_options, json_option, part
from crowdgrid.cli.showing import ago, bytes_text, facts, print_json, table

EPILOG = """
\b
Examples:
  crowdgrid nodes ls
  crowdgrid nodes show attic
  crowdgrid nodes trust attic    how its trust index came to be what it is
  crowdgrid nodes drain attic    it finishes what it holds and gets nothing new
  crowdgrid why attic            why it gets no work
"""


@click.group(epilog=EPILOG)
def command() -> None:
    """Nodes: list, show, their trust, drain, remove. A node is named by its name, id, or the id's first letters."""


@command.command("ls")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", help="The page after: what the last one said.")
@json_option
@hub_options
def list_nodes(limit: int, after: str | None, as_json: bool, hub: str | None, token: str | None) -> None:
    """The nodes you may see: your own, an admin's: everybody's."""
    page = Hub(hub, token).get("/v1/nodes", limit=limit, after=after)
    if as_json:
        print_json(page)
        return
    rows = [
        (
            node["name"],
            node["id"].removeprefix("did:key:z6Mk")[:8],
            _state(node),
            f"{node['milli_cpus'] / 1000:g}",
            bytes_text(node["memory_bytes"]),
            f"{node['trust']:.1f}",
            node["validated"],
            node["lost"],
            ago(node["seen_at"]),
        )
        for node in page["nodes"]
    ]
    if not rows:
        click.echo("No nodes. `crowdgrid token invite` makes an invitation for one.")
        return
    titles = ("name", "id", "state", "cores", "memory", "trust", "tasks done", "lost", "linked or seen")
    table(titles, rows, right=("cores", "memory", "trust", "tasks done", "lost"))
    if "next" in page:
        click.echo(f"There are more: --after {page['next']}", err=True)


def _state(node: dict[str, object]) -> str:
    state = str(node["state"])
    here = "online" if node["online"] else "away"
    return here if state == "active" else f"{state}, {here}" if state == "draining" else state


@command.command()
@click.argument("node")
@json_option
@hub_options
def show(node: str, as_json: bool, hub: str | None, token: str | None) -> None:
    """One node: what it is, what it lends, what it holds now."""
    reached = Hub(hub, token)
    found = reached.get(f"/v1/nodes/{part(reached.node(node))}")
    if as_json:
        print_json(found)
        return
    facts(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("owner", found["owner"]),
            ("state", _state(found)),
            ("linked" if found["online"] else "seen", ago(found["seen_at"])),
            ("lends", f"{found['milli_cpus'] / 1000:g} cores, {bytes_text(found['memory_bytes'])}"),
            ("runtimes", ", ".join(found["runtimes"])),
            ("labels", ", ".join(found["labels"])),
            ("region", found["region"]),
            ("trust", f"{found['trust']:.1f}"),
            ("holds", found["held"]),
            ("asks for", found["slots"]),
            ("tasks done", found["validated"]),
            ("leases lost", found["lost"]),
            *sorted((found["inventory"] or {}).items()),
            *[(name, _rate(value)) for name, value in sorted((found["benchmarks"] or {}).items())],
        ]
    )


@command.command()
@click.argument("node")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--before", type=int, help="The page after: what the last one said.")
@json_option
@hub_options
def trust(node: str, limit: int, before: int | None, as_json: bool, hub: str | None, token: str | None) -> None:
    """How a node's trust index moved, newest first, and by which tasks."""
    reached = Hub(hub, token)
    page = reached.get(f"/v1/nodes/{part(reached.node(node))}/trust", limit=limit, before=before)
    if as_json:
        print_json(page)
        return
    click.echo(f"Its trust index is {page['trust']:.1f}.")
    if not page["moves"]:
        click.echo("No vote has moved it.")
        return
    rows = [
        (ago(move["at"]), f"{move['before']:.1f}", f"{move['after']:.1f}", _why_moved(move), move["task"])
        for move in page["moves"]
    ]
    table(("when", "from", "to", "because", "task"), rows, right=("from", "to"))
    if "next" in page:
        click.echo(f"There are more: --before {page['next']}", err=True)


def _why_moved(move: dict[str, float]) -> str:
    if not move["task"]:
        return "it was away"
    return "its answer stands" if move["after"] > move["before"] else "another answer stands, or it gave two"


def _rate(value: object) -> str:
    """What a node measured, or whatever else it says there."""
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _steer(name: str, verb: str, told: str, help_text: str) -> None:
    @command.command(name, help=help_text)
    @click.argument("names", metavar="NODE...", nargs=-1, required=True)
    @hub_options
    def steer(names: tuple[str, ...], hub: str | None, token: str | None) -> None:
        reached = Hub(hub, token)
        for node in names:
            reached.post(f"/v1/nodes/{part(reached.node(node))}/{verb}")
            click.echo(told.format(node))


_steer("drain", "drain", "Node {} finishes what it holds and gets nothing new.", "Give nodes no more work.")
_steer("activate", "activate", "Node {} may be given work again.", "Undo drain.")
_steer("remove", "remove", "Node {} has left the grid.", "Close nodes' links and refuse their keys from now on.")
