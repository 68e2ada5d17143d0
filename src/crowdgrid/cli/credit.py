"""`crowdgrid credit`: what nodes earned by work that was validated."""

from __future__ import annotations

import click

from crowdgrid.cli.reach import Hub, hub_options, json_option, part
from crowdgrid.cli.showing import ago, print_json, table

EPILOG = """
\b
A credit is a second of one core of a reference machine. A job pays when it has ended, for answers that stand and
were compared with those of others; what a node says of its own use is not believed alone.

\b
Examples:
  crowdgrid credit                 your nodes (an admin's: everybody's), who earned most first
  crowdgrid credit attic           one node's: altogether, recently, and by which jobs
"""


@click.command(epilog=EPILOG)
@click.argument("node", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--before", type=int, help="Of a node's entries, the page after: what the last one said.")
@json_option
@hub_options
def command(
    node: str | None, limit: int, before: int | None, as_json: bool, hub: str | None, token: str | None
) -> None:
    """What nodes earned by work that was validated: who earned most, or how a NODE came by its credit."""
    reached = Hub(hub, token)
    if node is None:
        page = reached.get("/v1/credit", limit=limit)
    else:
        page = reached.get(f"/v1/nodes/{part(reached.node(node))}/credit", limit=limit, before=before)
    if as_json:
        print_json(page)
    elif node is None:
        _show_earners(page["earners"])
    else:
        _show_node(page)


def _show_earners(earners: list[dict[str, object]]) -> None:
    if not earners:
        click.echo("Nothing has been earned yet: jobs pay when they have ended, for answers several nodes gave.")
        return
    rows = [
        (str(at), each["name"], each["owner"], f"{each['total']:,.1f}", f"{each['recent']:,.1f}")
        for at, each in enumerate(earners, 1)
    ]
    table(("", "node", "owner", "credit", "a day, lately"), rows, right=("", "credit", "a day, lately"))


def _show_node(page: dict[str, object]) -> None:
    click.echo(f"It has {page['total']:,.1f} credits, {page['recent']:,.1f} a day lately.")
    entries = page["entries"]
    assert isinstance(entries, list)
    if not entries:
        return
    rows = [
        (
            ago(each["at"]),
            f"{each['amount']:+,.3f}",
            f"{each['tasks']:,}",
            f"{each['units']:,}",
            f"{each['price']:.3g}",
            each["submitter"],
            each["job"],
        )
        for each in entries
    ]
    table(
        ("when", "credits", "tasks", "units", "a unit", "for", "job"),
        rows,
        right=("credits", "tasks", "units", "a unit"),
    )
    if "next" in page:
        click.echo(f"There are more: --before {page['next']}", err=True)
