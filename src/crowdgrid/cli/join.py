"""`crowdgrid join`: lend this machine to a grid."""

from __future__ import annotations

from typing import Any

import click

from crowdgrid.cli.agent import run_agent, run_options
from crowdgrid.errors import BadInput

EPILOG = """
\b
Examples:
  crowdgrid join http://192.168.1.5:7070 cgi_…      lend this machine
  crowdgrid join 'https://grid.example.org/join#cgi_…' --cpus 2 --memory 2GB

\b
The code comes from whoever runs the grid (`crowdgrid token invite`). It is needed once: afterwards
`crowdgrid agent run` is enough. Programs run in sandboxes without network or files; `crowdgrid agent status`
says what runs, `crowdgrid agent limits` when and how much. Python is no sandbox: it runs here for those only whom
you name with --python, and for nobody else.
"""


@click.command(epilog=EPILOG)
@click.argument("url")
@click.argument("code", required=False)
@run_options
def command(url: str, code: str | None, **options: Any) -> int:
    """Join the grid at URL with the invitation CODE, and lend this machine until stopped."""
    if code is None:
        url, _, code = url.partition("/join#")
    if not code:
        raise BadInput(
            "Joining takes an address and an invitation.",
            hint="Write `crowdgrid join URL CODE`, or give the link you were sent in quotes.",
        )
    return run_agent(url, code, options)
