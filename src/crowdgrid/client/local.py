"""A grid of this machine only: one hub, some agents, nothing to configure, gone when you are.

The socket is bound here and handed to the hub, so its address is known, and connections wait in it, before the hub
has even started: `local()` returns at once and the first job pays for the start.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Final

from crowdgrid.client import background
from crowdgrid.client.address import Address
from crowdgrid.client.children import Child, stop_all
from crowdgrid.client.grid import Connection, Grid
from crowdgrid.errors import BadInput

START_SECONDS: Final = 60.0
BACKLOG: Final = 128
AGENTS_MAX: Final = 64


class LocalGrid:
    """The processes of a local grid.

    Args:
        folder: where everything of it is kept; `temporary`: removed at the end.
    """

    def __init__(self, folder: Path, *, temporary: bool, agents: int, cpus: int) -> None:
        self.folder = folder
        self._temporary = temporary
        self._token = _kept_token(folder)
        self._invitation = "cgi_" + secrets.token_urlsafe(24)
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self.hub = self._start_hub(listening)
        self.agents = [self._start_agent(number, cpus) for number in range(1, agents + 1)]
        atexit.register(self.stop)

    @property
    def address(self) -> Address:
        """Where its hub is, with the token."""
        return Address(self.url, self._token)

    def _start_hub(self, listening: socket.socket) -> Child:
        listen = self.url.removeprefix("http://")
        words = ["hub", "--data", str(self.folder / "hub"), "--listen", listen, "--with-parent"]
        given = {"CROWDGRID_ADMIN_TOKEN": self._token, "CROWDGRID_INVITATION": self._invitation}
        return Child(
            "hub",
            [*words, "--fd", str(listening.fileno())],
            log=self.folder / "hub.log",
            secrets=given,
            fds=[listening.fileno()],
        )

    def _start_agent(self, number: int, cpus: int) -> Child:
        words = ["agent", "run", "--hub", self.url, "--data", str(self.folder / f"agent-{number}")]
        words += ["--cpus", str(cpus), "--name", f"local-{number}", "--with-parent", "--no-limits", "--python", "own"]
        return Child(
            f"agent {number}",
            words,
            log=self.folder / f"agent-{number}.log",
            secrets={"CROWDGRID_INVITATION": self._invitation},
        )

    def check(self) -> None:
        """Raises ChildDied when the hub, or every agent, has ended."""
        self.hub.check()
        running = [agent for agent in self.agents if agent.process.poll() is None]
        if self.agents and not running:
            self.agents[0].check()

    def stop(self) -> None:
        """End the processes and remove what was temporary. Safe to call twice."""
        atexit.unregister(self.stop)
        stop_all([*self.agents, self.hub])
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def local(agents: int = 1, cpus: int | None = None, path: str | os.PathLike[str] | None = None) -> Grid:
    """A grid of this machine: the same API as `connect()`, nothing to configure.

    Returns before its hub is up; the first result takes about a second. It ends with `close()`, the `with` block, or
    this process.

    Args:
        agents: agent processes.
        cpus: cores each agent lends; None shares this machine's among them.
        path: a folder to keep jobs and results in, to be opened again later; None keeps nothing.

    Raises:
        BadInput: an argument that cannot be used.
    """
    if not 0 <= agents <= AGENTS_MAX:
        raise BadInput(f"A local grid has 0 to {AGENTS_MAX} agents, not {agents}.")
    cores = cpus or max(1, (os.cpu_count() or 1) // max(1, agents))
    folder = Path(path).absolute() if path is not None else Path(tempfile.mkdtemp(prefix="crowdgrid-"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    processes = LocalGrid(folder, temporary=path is None, agents=agents, cpus=cores)
    connection = Connection(
        processes.address, alive=processes.check, ended=processes.stop, own=True, lent=max(1, agents) * cores
    )
    background.start(connection.link.start(patience=START_SECONDS))
    return Grid(connection)


def _kept_token(folder: Path) -> str:
    """The admin token of this folder's hub: the same each time it is opened."""
    file = folder / "token"
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = "cg_" + secrets.token_urlsafe(32)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(token + "\n")
        return token
