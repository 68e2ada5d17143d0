"""The terminal: one module a command, loaded when it is called."""

from __future__ import annotations


def main() -> None:
    """The `crowdgrid` command."""
    from crowdgrid.cli.root import run

    run()
