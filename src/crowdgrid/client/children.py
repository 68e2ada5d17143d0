"""Processes this one starts and takes with it: hubs and agents of a local grid.

Each has a pipe on standard input that nobody writes to. It closes when this process ends, however it ends, and the
child ends itself then (`--with-parent`). Each is a session of its own, so Ctrl-C in a terminal reaches only us.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from crowdgrid.errors import Unavailable

TAIL_LINES: Final = 8
STOP_SECONDS: Final = 3.0


class ChildDied(Unavailable):
    """A hub or agent this program had started is gone."""

    code = "child_died"
    retryable = False
    default_hint = "`crowdgrid doctor` tells what this machine lacks."


class Child:
    """One process.

    Args:
        title: for people: "hub", "agent 1".
        words: the command after the program's name.
        log: where its output goes.
        secrets: environment variables it gets; every other CROWDGRID_… is taken away.
        fds: file descriptors it inherits. module: the program, run as `python -m`.
    """

    def __init__(
        self,
        title: str,
        words: Sequence[str],
        *,
        log: Path,
        secrets: Mapping[str, str],
        fds: Sequence[int] = (),
        module: str = "crowdgrid.cli",
    ) -> None:
        self.title = title
        self.log = log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environ | dict(secrets),
                pass_fds=tuple(fds),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def check(self) -> None:
        """Raises ChildDied, with its last words, when it has ended."""
        status = self.process.poll()
        if status is None:
            return
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
        raise ChildDied("\n  ".join([f"The {self.title} of this local grid {how}.", *self.last_words()]))

    def last_words(self) -> list[str]:
        """The last lines it wrote."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [line[:300] for line in lines if line.strip()][-TAIL_LINES:]

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()
        self.ask_to_stop()

    def ask_to_stop(self) -> None:
        """Close its standard input, which is also all that is to be closed of it."""
        with suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def stop(self) -> None:
        """End it: politely, then not."""
        self.ask_to_stop()
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


def stop_all(children: Sequence[Child]) -> None:
    """End them in this order, all being asked first."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.stop()
