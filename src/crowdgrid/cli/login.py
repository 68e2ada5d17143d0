"""`crowdgrid login`: sign this user in to a hub."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from crowdgrid.cli.reach import Hub
from crowdgrid.cli.showing import printable
from crowdgrid.client.address import Address
from crowdgrid.client.login import Login, file, save, saved
from crowdgrid.client.login import address as address_of
from crowdgrid.errors import BadInput

EPILOG = """
\b
Examples:
  crowdgrid login http://192.168.1.5:7070       asks for the token, checks it with the hub, saves it
  crowdgrid login --token-file token.txt        to the hub signed in to before
  pass grid | crowdgrid login https://grid.example.org
  crowdgrid login --forget                      sign out

\b
A token never stands on the command line, where every user of the machine could read it. It is saved in a file only
you can read, and only ever sent to the hub it was saved for.
"""


@click.command(epilog=EPILOG)
@click.argument("url", required=False)
@click.option("--token-file", metavar="FILE", help="Read the token from there; - is standard input.")
@click.option("--forget", is_flag=True, help="Remove the saved login.")
def command(url: str | None, token_file: str | None, forget: bool) -> None:
    """Sign in to the hub at URL (default: the one you mean without --hub), or sign out with --forget."""
    if forget:
        if url or token_file:
            raise BadInput("--forget takes nothing else.", hint="There is one saved login; `crowdgrid login --forget`.")
        sign_out()
        return
    sign_in(url, token_from(token_file))


def sign_in(url: str | None, token: str) -> None:
    """Check the token with the hub and save it for this user. Raises CrowdgridError."""
    address = Address.parse(url) if url else address_of()
    me = Hub(address.url, token).get("/v1/me")
    known = saved()
    own = known is not None and known.own and (known.url, known.token) == (address.url, token)
    path = save(Login(address.url, token, own=own))
    click.echo(printable(f"Signed in to {address.url} as {me['owner']} ({me['role']}); saved in {path}."))


def sign_out() -> None:
    """Forget the saved login."""
    there = file().exists()
    file().unlink(missing_ok=True)
    click.echo("Signed out: no login is saved any more." if there else "No login is saved.")


def token_from(source: str | None) -> str:
    """The token, from a file, from a person who types it unseen, or from standard input. Raises BadInput."""
    if source and source != "-":
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise BadInput(f"The token cannot be read from {source}: {why}.") from None
    elif source is None and sys.stdin.isatty():
        text = click.prompt("Token", hide_input=True)
    else:
        text = sys.stdin.readline()
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput(
            "That is no token.", hint="It is one word; `crowdgrid token create` makes one, `crowdgrid up` signs you in."
        )
    return token
