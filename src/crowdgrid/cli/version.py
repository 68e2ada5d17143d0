"""`crowdgrid version`."""

from __future__ import annotations

import platform
import sqlite3

import click

from crowdgrid.cli.reach import json_option
from crowdgrid.cli.showing import print_json


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Which version this is, and of what it is made."""
    from importlib.metadata import version

    told = {name: version(name) for name in ("crowdgrid", "wasmtime", "uvicorn", "websockets")}
    told["sqlite"] = sqlite3.sqlite_version
    told["python"] = platform.python_version()
    if as_json:
        print_json(told)
        return
    click.echo(f"crowdgrid {told.pop('crowdgrid')}")
    click.echo("  " + ", ".join(f"{name} {number}" for name, number in told.items()))
