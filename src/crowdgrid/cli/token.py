"""`crowdgrid token`: make and revoke tokens and invitations; sign in and out as `crowdgrid login` does."""

from __future__ import annotations

import click

from crowdgrid.cli.login import sign_in, sign_out, token_from
from crowdgrid.cli.reach import Hub, hub_options, json_option
from crowdgrid.cli.showing import ago, facts, print_json, printable, table
from crowdgrid.client import quantities

EPILOG = """
\b
Examples:
  crowdgrid token create --role submitter --owner ada --name laptop
  crowdgrid token invite --uses 10 --expires 7d     a code for ten nodes
  crowdgrid token ls
  crowdgrid token revoke 4
"""


@click.group(epilog=EPILOG)
def command() -> None:
    """Tokens for people and tools, invitations for nodes. A secret is shown once, when it is made."""


@command.command()
@click.argument("url")
@click.option("--token", help="Better left out: it is asked for, or read from standard input.")
def login(url: str, token: str | None) -> None:
    """The same as `crowdgrid login URL`."""
    sign_in(url, token or token_from(None))


@command.command()
def logout() -> None:
    """The same as `crowdgrid login --forget`."""
    sign_out()


@command.command("whoami")
@json_option
@hub_options
def whoami(as_json: bool, hub: str | None, token: str | None) -> None:
    """Who you are to the hub."""
    reached = Hub(hub, token)
    me = reached.get("/v1/me")
    if as_json:
        print_json(me)
    else:
        facts([("hub", reached.address.url), ("owner", me["owner"]), ("role", me["role"]), ("token", me["token"])])


@command.command()
@click.option("--role", type=click.Choice(["reader", "submitter", "admin"]), default="submitter", show_default=True)
@click.option("--owner", default="", help="Whose it is; default: yours. Only an admin makes them for others.")
@click.option("--name", default="", help="What it is for.")
@click.option("--expires", metavar="TIME", default="0", help="Until when: 30d; default: never.")
@json_option
@hub_options
def create(role: str, owner: str, name: str, expires: str, as_json: bool, hub: str | None, token: str | None) -> None:
    """Make a token; its secret is shown once."""
    asked = {"role": role, "owner": owner, "name": name, "expires_in": quantities.seconds(expires)}
    made = Hub(hub, token).post("/v1/tokens", asked)
    if as_json:
        print_json(made)
        return
    click.echo(made["secret"])
    click.echo(f"Token {made['token']['number']} of {made['token']['owner']} ({role}); shown this once.", err=True)


@command.command()
@click.option("--uses", type=click.IntRange(1), default=1, show_default=True, help="Nodes that may join with it.")
@click.option("--owner", default="", help="Whose nodes they become; default: yours, for your pickles too.")
@click.option("--expires", metavar="TIME", default="1d", show_default=True, help="0 for never.")
@json_option
@hub_options
def invite(uses: int, owner: str, expires: str, as_json: bool, hub: str | None, token: str | None) -> None:
    """Make an invitation for nodes; its code is shown once."""
    reached = Hub(hub, token)
    made = reached.post("/v1/invitations", {"uses": uses, "owner": owner, "expires_in": quantities.seconds(expires)})
    if as_json:
        print_json(made)
        return
    click.echo(f"crowdgrid join {reached.address.url} {made['code']}")
    whose = printable(made["invitation"]["owner"])
    click.echo(
        f"For {uses} node{'s' if uses > 1 else ''} of {whose}; type that on the machine that is to help.", err=True
    )


@command.command("ls")
@json_option
@hub_options
def list_tokens(as_json: bool, hub: str | None, token: str | None) -> None:
    """Tokens and invitations, without their secrets."""
    reached = Hub(hub, token)
    tokens = reached.get("/v1/tokens", limit=1000)["tokens"]
    invitations = reached.get("/v1/invitations", limit=1000)["invitations"]
    if as_json:
        print_json({"tokens": tokens, "invitations": invitations})
        return
    table(
        ("token", "owner", "role", "name", "made", "state"),
        [(t["number"], t["owner"], t["role"], t["name"], ago(t["created_at"]), _state(t)) for t in tokens],
        right=("token",),
    )
    if invitations:
        table(
            ("invitation", "owner", "uses left", "made", "state"),
            [(i["number"], i["owner"], i["uses_left"], ago(i["created_at"]), _state(i)) for i in invitations],
            right=("invitation", "uses left"),
        )


def _state(record: dict[str, int]) -> str:
    if record["revoked_at"]:
        return "revoked"
    return f"until {_date(record['expires_at'])}" if record["expires_at"] else "valid"


def _date(ms: int) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


@command.command()
@click.argument("number", type=int)
@click.option("--invitation", is_flag=True, help="The number is an invitation's.")
@hub_options
def revoke(number: int, invitation: bool, hub: str | None, token: str | None) -> None:
    """From now on the token (or invitation) opens nothing."""
    kind = "invitation" if invitation else "token"
    Hub(hub, token).post(f"/v1/{kind}s/{number}/revoke")
    click.echo(f"Revoked {kind} {number}.")
