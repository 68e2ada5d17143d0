"""The `crowdgrid` command itself: which commands there are, and how each run ends.

Commands are named here with their one-line help, and their modules are imported when they are called: `--help` and a
hub's start cost nothing of the others.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from crowdgrid.cli import endings

# command -> (module, one line)
COMMANDS: Final = {
    "up": ("up", "A hub and one agent on this machine; the quickest start."),
    "hub": ("hub", "Run a hub."),
    "join": ("join", "Lend this machine to a grid, by its address and an invitation."),
    "agent": ("agent", "Run this machine's agent; pause, limit or end what it lends."),
    "run": ("run", "Run a program over an input and print the answer."),
    "map": ("map", "Call a Python function for each line of a file or pipe."),
    "jobs": ("jobs", "List, follow, steer jobs; fetch their results."),
    "nodes": ("nodes", "List and drain nodes."),
    "credit": ("credit", "What nodes earned by work that was validated."),
    "why": ("why", "Why a job, task or node is as it is."),
    "login": ("login", "Sign in to a hub."),
    "token": ("token", "Make and revoke tokens and invitations."),
    "doctor": ("doctor", "What this machine can run, what is missing, the way to the hub."),
    "simulate": ("simulate", "The hub's engine against a simulated crowd, in virtual time."),
    "demo": ("demo", "A hub and agents, real jobs, three kill -9, one agent that cheats."),
    "version": ("version", "Which version this is."),
}

EPILOG: Final = f"""
\b
Examples:
  crowdgrid demo                                    see it work
  crowdgrid up                                      a grid on this machine
  crowdgrid run primes --range 0:10**9 --reduce sum
  crowdgrid map square.py:square --range 0:1000     your own Python function
  crowdgrid join http://192.168.1.5:7070 CODE       lend this machine

\b
{endings.TABLE}
"""


class Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"crowdgrid.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # before click ends with 1 for it
            raise endings.Ending(endings.unread()) from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def root() -> None:
    """One secure grid from the machines people already own.

    Every command has --help with examples; every command that reads has --json.
    """


def run(words: list[str] | None = None) -> NoReturn:
    """Run a command line (default: this process's) and exit with its status."""
    sys.exit(endings.status_of(lambda: root.main(words, prog_name="crowdgrid", standalone_mode=False)))
