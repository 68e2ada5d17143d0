"""The way from a command to the hub: the options every such command has, and the connection they lead to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from crowdgrid.client import background
from crowdgrid.client.login import address
from crowdgrid.client.programs import function_name
from crowdgrid.client.rest import Rest
from crowdgrid.errors import Conflict, NotFound

if TYPE_CHECKING:
    from crowdgrid.client.grid import Grid

KEY_LETTERS_MIN = 4
F = TypeVar("F", bound=Callable[..., Any])


def hub_options(command: F) -> F:
    """Adds `--hub` and `--token`."""
    command = click.option("--token", help="Default: CROWDGRID_TOKEN, then the saved login.")(command)
    return click.option("--hub", metavar="URL", help="Default: CROWDGRID_URL, then the saved login.")(command)


def json_option(command: F) -> F:
    """Adds `--json`, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


class Hub:
    """A hub's REST interface as commands use it: one answer at a time, and no patience with a hub that is away."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.address = address(url, token)
        self._rest = Rest(self.address, patience=0)
        if context := click.get_current_context(silent=True):
            context.call_on_close(self.close)

    def close(self) -> None:
        """Close its connections; happens by itself at the end of the command."""
        background.run(self._rest.close())

    def get(self, path: str, **query: Any) -> Any:
        """What is there. Raises CrowdgridError."""
        return background.run(self._rest.get(path, **query))

    def post(self, path: str, body: Any = None) -> Any:
        """Do it. Raises CrowdgridError."""
        return background.run(self._rest.post(path, body))

    def function_name(self, spec: dict[str, Any]) -> str:
        """The Python function a job calls, "" for other programs."""
        return background.run(function_name(self._rest, spec["runtime"], spec["program"]))

    def header(self, path: str, name: str) -> str:
        """A header of the answer from there, "" when it has none. Raises CrowdgridError."""
        return str(background.run(self._rest.ask("GET", path)).headers.get(name, ""))

    def node(self, text: str) -> str:
        """The did:key of a node named by it, by its name, or by some first letters of its key.

        Raises:
            NotFound: there is none. Conflict: there are several.
        """
        if text.startswith("did:key:"):
            return text
        after: str | None = ""
        found: list[str] = []
        while after is not None:
            page = self.get("/v1/nodes", limit=1000, after=after or None)
            found += [node["id"] for node in page["nodes"] if text == node["name"] or _begins(node["id"], text)]
            after = page.get("next")
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFound(f"There is no node {text!r} of yours.", hint="`crowdgrid nodes ls` lists your nodes.")
        raise Conflict(f"{len(found)} nodes are called {text!r}.", hint=f"Use an id, for example {found[0]}.")


def _begins(did: str, letters: str) -> bool:
    return len(letters) >= KEY_LETTERS_MIN and did.removeprefix("did:key:z6Mk").startswith(letters)


def grid(url: str | None, token: str | None, trust: Sequence[str] = ()) -> Grid:
    """A connection with a link, for what runs longer than one answer; `trust` as of `connect`."""
    from crowdgrid.client.grid import connect

    return connect(url, token, trust=trust)


def part(text: str) -> str:
    """A name or id as one part of a path."""
    return quote(text, safe="")
