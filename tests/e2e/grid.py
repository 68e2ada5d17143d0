"""A grid of real processes for end-to-end tests: a hub and agents, started by the commands people type.

    with Grid(tmp_path) as grid:
        grid.start_hub()
        grid.start_agents(2, runtimes=("echo", "wasm"))
        with grid.connect() as connected: ...

Everything is on 127.0.0.1 and below one folder. The hub's port is chosen outside the range the kernel gives to
outgoing connections, so that nobody takes it while the hub is down. Processes are ended by their id, and when a
test fails the last lines of every log are printed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec
import psutil

import crowdgrid
from crowdgrid.agent.control import ask
from crowdgrid.cli.demo import dishonest
from crowdgrid.client.grid import Grid as Connected
from crowdgrid.errors import Unavailable

COMMAND: Final = Path(sys.executable).with_name("crowdgrid")
TOKEN: Final = "cg_the-admin-of-these-tests"
INVITATION: Final = "cgi_the-invitation-of-these-tests"
SECONDS: Final = 60.0  # the longest anything is waited for; never what a test asserts
TAIL_LINES: Final = 25

# What `crowdgrid` does, after some constants got other values; `limits` first, as others are made from it.
_WITH_TIMERS: Final = """
import importlib, json, sys
for place, value in sorted(json.loads(sys.argv.pop(1)).items(), key=lambda each: not each[0].startswith("limits:")):
    module, _, name = place.partition(":")
    module = importlib.import_module(f"crowdgrid.{module}")
    getattr(module, name)
    setattr(module, name, value)
module, _, name = sys.argv.pop(1).partition(":")
sys.exit(getattr(importlib.import_module(module), name)())
"""
_PROGRAM: Final = "crowdgrid.cli:main"
_DISHONEST: Final = "crowdgrid.cli.demo.dishonest:command"


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """What `condition` gives once it is true. Fails with `what` was waited for in vain."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.01)
    return found


def free_port() -> int:
    """A port nobody listens on, and that no outgoing connection is given."""
    while True:
        port = random.randint(20_000, 31_999)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Process:
    """One `crowdgrid …` process and its log.

    Args:
        title: for people. words: the command, after `crowdgrid`.
        timers: constants it has other values of, see `Grid`. python: of the environment whose `crowdgrid` it is.
        plan: what an agent that is not honest is up to.
    """

    def __init__(
        self,
        title: str,
        words: Sequence[str],
        log: Path,
        environ: dict[str, str],
        timers: Mapping[str, float],
        python: Path = Path(sys.executable),
        plan: dishonest.Plan | None = None,
    ) -> None:
        self.title, self.log, self._environ = title, log, environ
        self.words = [str(python.with_name(COMMAND.name))]
        if timers or plan:
            self.words = [str(python), "-c", _WITH_TIMERS, json.dumps(dict(timers)), _DISHONEST if plan else _PROGRAM]
        self.words += [msgspec.json.encode(plan).decode()] if plan else []
        self.words += words
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environ,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def said(self) -> str:
        """Everything it wrote, in all its lives."""
        return self.log.read_text(errors="replace")

    def again(self) -> None:
        """Start it once more, with the same words and folder."""
        assert not self.running, f"the {self.title} still runs"
        self._start()

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.popen.kill()
        self.popen.wait(SECONDS)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.popen.terminate()
        return self.ended()

    def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        return self.popen.wait(SECONDS)

    def workers(self) -> list[int]:
        """Process ids of everything it started that is alive."""
        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child.pid for child in children if _alive(child)]

    @contextmanager
    def halted(self) -> Iterator[None]:
        """As if the machine slept: it is there and does nothing."""
        self.popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.popen.send_signal(signal.SIGCONT)


class Grid:
    """See the module.

    Args:
        folder: where everything is kept.
        store: the hub's store, "" for SQLite in its folder. data: the hub's folder, if it is elsewhere.
        timers: other values for constants of every process, by `module:NAME`, so that what takes a minute for
            people takes seconds for a test: `{"limits:LEASE_SECONDS": 3}`.
    """

    def __init__(
        self, folder: Path, *, store: str = "", data: Path | None = None, timers: Mapping[str, float] | None = None
    ) -> None:
        self.folder = folder
        self.data = data or folder / "hub"
        self._timers = timers or {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: list[Process] = []
        self.agents: list[Process] = []
        self.hub: Process
        self._store = store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.popen.send_signal(signal.SIGCONT)
        for process in reversed(self.processes):
            process.popen.terminate()  # so that what it covered is written down
        for process in reversed(self.processes):
            try:
                process.popen.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        if error is not None:
            self.tell()

    def tell(self) -> None:
        """Print the last lines of every log."""
        for process in self.processes:
            lines = process.said.splitlines()[-TAIL_LINES:]
            print(f"\n--- {process.title}, exit status {process.popen.returncode} ---", *lines, sep="\n")

    # --- the hub ---------------------------------------------------------------------------------

    def start_hub(
        self, *options: str, title: str = "hub", port: int = 0, environ: dict[str, str] | None = None
    ) -> Process:
        """Start a hub and wait until it is ready; the first one is `hub`."""
        port = port or self.port
        words = ["hub", "--listen", f"127.0.0.1:{port}", "--data", str(self.data), *options]
        if self._store:
            words += ["--store", self._store]
        told = {"CROWDGRID_ADMIN_TOKEN": TOKEN, "CROWDGRID_INVITATION": INVITATION} | (environ or {})
        process = self.run(title, *words, python=Path(sys.executable), plan=None, **told)
        if not hasattr(self, "hub"):
            self.hub = process
        self.wait_ready(process, port)
        return process

    def restart_hub(self) -> None:
        """Start the hub again, once it is down, and wait until it is ready."""
        self.hub.again()
        self.wait_ready(self.hub)

    def wait_ready(self, process: Process | None = None, port: int = 0) -> None:
        """Until `/readyz` says so."""
        process = process or self.hub
        until(lambda: self.ready(process, port) or not process.running, f"the {process.title} is ready")
        assert process.running, f"the {process.title} ended:\n{process.said}"

    def ready(self, process: Process | None = None, port: int = 0) -> bool:
        """Whether it is ready now."""
        try:
            return httpx.get(f"http://127.0.0.1:{port or self.port}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **query: Any) -> Any:
        """What the hub has there, as JSON says it."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(f"{self.url}{path}", params=query, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # --- agents ----------------------------------------------------------------------------------

    def start_agents(self, count: int, *, url: str = "", **options: Any) -> list[Process]:
        """Start agents and wait until the hub counts them as online."""
        started = [self.start_agent(url=url, **options) for _ in range(count)]
        self.wait_online(len(self.agents))
        return started

    def start_agent(
        self,
        *,
        url: str = "",
        runtimes: Sequence[str] = ("wasm",),
        cpus: int = 1,
        options: Sequence[str] = (),
        python: Path = Path(sys.executable),
        name: str = "",
        invitation: str = INVITATION,
        plan: dishonest.Plan | None = None,
    ) -> Process:
        """Start one agent, run by `python`; it is online a moment later. With a `plan` it cheats, see `dishonest`."""
        name = name or f"agent-{len(self.agents) + 1}"
        words = ["agent", "run", "--hub", url or self.url, "--data", str(self.folder / name), "--name", name]
        words += ["--cpus", str(cpus), "--no-limits", "--drain-seconds", "2", *options]
        words += [word for runtime in runtimes for word in ("--runtime", runtime)]
        process = self.run(name, *words, python=python, plan=plan, CROWDGRID_INVITATION=invitation)
        self.agents.append(process)
        return process

    def invite(self, owner: str) -> str:
        """An invitation that makes nodes this owner's."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(f"{self.url}/v1/invitations", json={"owner": owner}, headers=headers, timeout=30)
        assert answer.is_success, answer.text
        return str(answer.json()["code"])

    def deeds(self, agent: str) -> dishonest.Deeds:
        """What a dishonest agent has tried and got."""
        return dishonest.read(self.folder / agent)

    def wait_online(self, count: int) -> None:
        """Until so many nodes are linked."""
        until(lambda: self.online() >= count, f"{count} agents are online")

    def online(self) -> int:
        """Nodes that are linked now."""
        return sum(bool(node["online"]) for node in self.get("/v1/nodes")["nodes"])

    def status(self, agent: Process) -> dict[str, Any]:
        """What an agent says of itself; {} while it cannot be asked."""
        try:
            return ask(self.folder / agent.title, "status")
        except Unavailable:
            return {}

    # --- anything else ---------------------------------------------------------------------------

    def run(
        self,
        title: str,
        *words: str,
        python: Path = Path(sys.executable),
        plan: dishonest.Plan | None = None,
        **environ: str,
    ) -> Process:
        """Start `crowdgrid …` with a log of its own."""
        told = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{title}.log"
        environ = told | {"CROWDGRID_DATA": str(self.folder)} | environ
        process = Process(title, words, log, environ, self._timers, python, plan)
        self.processes.append(process)
        return process

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command against this hub to its end, as a person signed in as admin."""
        told = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
        told |= {"CROWDGRID_DATA": str(self.folder), "CROWDGRID_URL": self.url, "CROWDGRID_TOKEN": TOKEN}
        return subprocess.run(
            [COMMAND, *words], env=told, capture_output=True, text=True, timeout=SECONDS, check=False, **options
        )

    def connect(self, url: str = "") -> Connected:
        """A connection as the admin."""
        return crowdgrid.connect(url or self.url, TOKEN)

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The hub's SQLite store, to be looked at."""
        connection = sqlite3.connect(f"file:{self.data / 'grid.db'}?mode=ro", uri=True)
        try:
            yield connection
        finally:
            connection.close()
