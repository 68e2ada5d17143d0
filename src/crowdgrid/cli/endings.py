"""How a command ends: exit codes, and errors as one sentence and what to do next, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

import click

from crowdgrid.cli.showing import printable
from crowdgrid.errors import (
    BadInput,
    Busy,
    Conflict,
    CrowdgridError,
    Fenced,
    NotAllowed,
    NotFound,
    TimedOut,
    Unavailable,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_HUB: Final = 3
NOT_ALLOWED: Final = 4
TIMED_OUT: Final = 5
FENCED: Final = 6
INTERRUPTED: Final = 130

TABLE: Final = """Exit codes:
  0    done
  1    the job failed, or something is wrong
  2    what was given cannot be used (usage, no such thing, a clash)
  3    no way to the hub, or it cannot answer now
  4    not allowed (token, role)
  5    not ready within the time given
  6    a hub ended because another one took over its store
  130  interrupted with Ctrl-C"""

_CODES: Final[tuple[tuple[type[CrowdgridError], int], ...]] = (
    (NotAllowed, NOT_ALLOWED),
    (TimedOut, TIMED_OUT),
    (Fenced, FENCED),
    (Unavailable, NO_HUB),
    (Busy, NO_HUB),
    (BadInput, USAGE),
    (NotFound, USAGE),
    (Conflict, USAGE),
)


class Ending(Exception):
    """The command ends with this exit code; what was to be said has been said."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


def code_of(error: CrowdgridError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def status_of(command: Callable[[], object]) -> int:
    """Run a command to its end; says what went wrong and returns the exit code."""
    try:
        value = command()
        sys.stdout.flush()
        return value if isinstance(value, int) and not isinstance(value, bool) else OK
    except Ending as ending:
        return ending.code
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as error:
        error.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except CrowdgridError as error:
        say(error)
        return code_of(error)
    except BrokenPipeError:
        return unread()
    except Exception as error:  # noqa: BLE001 — the last door: nobody sees a traceback unless they ask for it
        return _unforeseen(error)


def unread() -> int:
    """Nobody reads standard output any more (`| head` has seen enough), and that is no error: the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def say(error: CrowdgridError) -> None:
    """Print an error to standard error: the sentence, then the hint."""
    click.secho(f"Error: {printable(error.message)}", fg="red", err=True)
    if error.hint:
        click.echo(f"Hint:  {printable(error.hint)}", err=True)


def _unforeseen(error: Exception) -> int:
    if os.environ.get("CROWDGRID_DEBUG"):
        import traceback

        traceback.print_exception(error)
    click.secho(f"Error: crowdgrid made a mistake: {type(error).__name__}: {error}", fg="red", err=True)
    click.echo("Hint:  Please report it; with CROWDGRID_DEBUG=1 the details are shown.", err=True)
    return FAILED
