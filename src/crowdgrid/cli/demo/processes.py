"""The processes of the demonstration: one hub that can be killed and started again, three agents, their workers."""

from __future__ import annotations

import secrets
import shutil
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import psutil

from crowdgrid.cli.demo import dishonest
from crowdgrid.client import background
from crowdgrid.client.address import Address
from crowdgrid.client.children import Child, stop_all
from crowdgrid.client.grid import Connection, Grid
from crowdgrid.errors import TimedOut

AGENTS: Final = 3
START_SECONDS: Final = 60.0


class Crowd:
    """A hub and its agents, as `crowdgrid hub` and `crowdgrid agent run` start them.

    The hub binds its own socket: while it is dead its address refuses connections, as in real life.

    Args:
        folder: where stores and logs are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "hub", ignore_errors=True)
        self._token = "cg_" + secrets.token_urlsafe(32)
        self._invitation = "cgi_" + secrets.token_urlsafe(32)
        self._listen = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{self._listen}"
        self.restarting = False
        self.hub = self._start_hub()
        self.agents: dict[str, Child] = {}
        self.connection: Connection
        self.grid: Grid

    def __enter__(self) -> Self:
        names = [f"agent-{n + 1}" for n in range(AGENTS)]
        self.agents = {name: self._start_agent(name, self._invitation) for name in names}
        self.connection = Connection(Address(self.url, self._token), alive=self.check)
        self.grid = Grid(self.connection)
        try:
            background.run(self.connection.link.start(patience=START_SECONDS))
            self.wait_for_agents()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        try:
            self.grid.close()
        finally:
            stop_all([*self.agents.values(), self.hub])

    def _start_hub(self) -> Child:
        return Child(
            "hub",
            ["hub", "--listen", self._listen, "--data", str(self.folder / "hub"), "--with-parent"],
            log=self.folder / "hub.log",
            secrets={"CROWDGRID_ADMIN_TOKEN": self._token, "CROWDGRID_INVITATION": self._invitation},
        )

    def _start_agent(self, name: str, invitation: str, plan: dishonest.Plan | None = None) -> Child:
        data = self.folder / name
        shutil.rmtree(data, ignore_errors=True)
        return Child(
            name,
            [*([msgspec.json.encode(plan).decode()] if plan else []),
             "agent", "run", "--hub", self.url, "--data", str(data), "--name", name, "--cpus", "1", "--no-limits",
             "--python", "own", "--with-parent"],
            log=self.folder / f"{name}.log",
            secrets={"CROWDGRID_INVITATION": invitation},
            module=dishonest.__name__ if plan else "crowdgrid.cli",
        )  # fmt: skip

    def join(self, name: str, owner: str, plan: dishonest.Plan | None = None) -> None:
        """Start an agent of somebody else's; with a plan it is not honest."""
        invited = background.run(self.connection.rest.post("/v1/invitations", {"owner": owner}))
        self.agents[name] = self._start_agent(name, invited["code"], plan)

    def deeds(self, name: str) -> dishonest.Deeds:
        """What an agent that is not honest has tried and got."""
        return dishonest.read(self.folder / name)

    def check(self) -> None:
        """Raises ChildDied when the hub ended by itself."""
        if not self.restarting:
            self.hub.check()

    def wait_for_agents(self) -> None:
        """Until all that live are there: a job that starts with one of three would tell nothing about shares."""
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at:
            for child in [self.hub, *self.agents.values()]:
                child.check()
            online = {node["name"] for node in self.grid.nodes() if node["online"]}
            if self.agents.keys() <= online:
                return
            time.sleep(0.05)
        raise TimedOut(f"Not all agents came within {START_SECONDS:.0f} s.", hint=f"See the logs in {self.folder}.")

    def names(self) -> dict[str, str]:
        """The agents' names by their did:key."""
        return {node["id"]: node["name"] for node in self.grid.nodes()}

    def id(self, name: str) -> str:
        """The did:key of an agent."""
        return next(did for did, called in self.names().items() if called == name)

    def kill_agent(self, name: str) -> None:
        """SIGKILL."""
        self.agents.pop(name).kill()

    def stop_worker(self, pid: int) -> str:
        """Stop (not end) a worker process; returns the agent whose it is, "" when it is none of ours or gone."""
        try:
            worker = psutil.Process(pid)
            parent = worker.ppid()
            agent = next((name for name, child in self.agents.items() if child.pid == parent), "")
            if agent:
                worker.suspend()
                while worker.status() != psutil.STATUS_STOPPED:
                    time.sleep(0.001)
        except psutil.NoSuchProcess:
            return ""
        return agent

    def let_worker_go_on(self, pid: int) -> None:
        """Undo `stop_worker`."""
        psutil.Process(pid).resume()

    def kill_worker(self, pid: int) -> None:
        """SIGKILL a worker that is stopped."""
        psutil.Process(pid).kill()

    def kill_hub(self) -> None:
        """SIGKILL, and start it again."""
        self.restarting = True  # `check` must not take the kill for an accident
        self.hub.kill()
        self.hub = self._start_hub()
        self.restarting = False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
