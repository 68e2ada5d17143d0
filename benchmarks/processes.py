"""Hubs and agents as users start them: `crowdgrid hub`, `crowdgrid agent run`, each a process with its own folder.

What a process used is asked of the system (`psutil`): CPU seconds, resident memory, and for the hub its threads, so
that the thread which writes to the disk can be told from the event loop.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

ROOT: Final = Path(__file__).resolve().parent.parent
STOP_SECONDS: Final = 10.0
TICKS: Final = os.sysconf("SC_CLK_TCK")


class BenchmarkFailed(Exception):
    """A measurement could not be made, and why."""


def work_folder() -> Path:
    """A new folder on a real disk, under `build/` of this repository (a temporary folder is often memory)."""
    above = ROOT / "build" / "benchmarks"
    above.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=above))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60.0, pause: float = 0.005) -> None:
    """Poll until `true()`. Raises BenchmarkFailed when it takes longer than `seconds`."""
    give_up_at = time.perf_counter() + seconds
    while not true():
        if time.perf_counter() > give_up_at:
            raise BenchmarkFailed(f"{what}: not within {seconds:g} s.")
        time.sleep(pause)


class Process:
    """One process started here; ended by its id, at the latest with this one."""

    def __init__(self, title: str, words: Sequence[str], log: Path, **secret: str) -> None:
        self.title, self.log = title, log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.began = time.perf_counter()
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.PIPE,  # closed with this process: `--with-parent`
                stdout=output,
                stderr=output,
                env=environ | secret,
                cwd=ROOT,
                start_new_session=True,
            )
        self.ps = psutil.Process(self.popen.pid)

    def check(self) -> None:
        """Raises BenchmarkFailed with its last words when it has ended."""
        if self.popen.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise BenchmarkFailed(f"The {self.title} ended with {self.popen.returncode}:\n{tail}")

    def cpu(self) -> float:
        """CPU seconds used so far, without children."""
        times = self.ps.cpu_times()
        return float(times.user + times.system)

    def children_cpu(self) -> float:
        """CPU seconds its living children used so far."""
        return sum(child.cpu_times().user + child.cpu_times().system for child in self.ps.children())

    def rss(self) -> int:
        """Resident memory, bytes."""
        return int(self.ps.memory_info().rss)

    def kill(self) -> None:
        """SIGKILL, as a power cut would end it."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> None:
        """End it: politely, then not."""
        with suppress(OSError):
            if self.popen.stdin is not None:
                self.popen.stdin.close()
        with suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


class HubProcess(Process):
    """`crowdgrid hub` on a folder.

    Args:
        profile: write a cProfile of its main thread there when it ends.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        token: str,
        invitation: str,
        *,
        tls: tuple[Path, Path] | None,
        profile: Path | None,
    ) -> None:
        words = ["-m", "crowdgrid.cli"] if profile is None else ["-m", "benchmarks.profiling", str(profile)]
        words += ["hub", "--data", str(folder / "hub"), "--listen", f"127.0.0.1:{port}", "--with-parent"]
        words += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])] if tls else []
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self._context = ssl.create_default_context(cafile=str(tls[0])) if tls else None
        super().__init__("hub", words, folder / "hub.log", CROWDGRID_ADMIN_TOKEN=token, CROWDGRID_INVITATION=invitation)

    def get(self, path: str) -> bytes | None:
        """What is there; None when nobody answers, or not with 200."""
        handlers = [urllib.request.ProxyHandler({})]
        if self._context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self._context))  # type: ignore[arg-type]
        try:
            with urllib.request.build_opener(*handlers).open(self.url + path, timeout=10) as answer:
                body: bytes = answer.read()
                return body
        except (OSError, urllib.error.URLError):
            return None

    @property
    def is_ready(self) -> bool:
        self.check()
        return self.get("/readyz") is not None

    def wait_ready(self, seconds: float = 60.0) -> float:
        """Seconds from its exec until `/readyz` says ok."""
        wait_until(lambda: self.is_ready, "The hub is not ready", seconds)
        return time.perf_counter() - self.began

    def thread_cpu(self) -> tuple[float, float, float]:
        """CPU seconds of (the event loop's thread, the thread that writes the store, all others).

        The writer is the one beside the main thread that wrote most bytes.
        """
        used: dict[int, float] = {}
        wrote: dict[int, int] = {}
        for task in Path(f"/proc/{self.popen.pid}/task").iterdir():
            with suppress(OSError):
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                used[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICKS
                wrote[int(task.name)] = int((task / "io").read_text().split("wchar:")[1].split()[0])
        loop = used.pop(self.popen.pid, 0.0)
        if not used:
            return loop, 0.0, 0.0
        writer = max(used, key=lambda number: wrote.get(number, 0))
        return loop, used[writer], sum(used.values()) - used[writer]


class AgentProcess(Process):
    """`crowdgrid agent run` with its own key, spool and workers."""

    def __init__(self, folder: Path, url: str, invitation: str, name: str, runtime: str, cpus: int) -> None:
        words = ["-m", "crowdgrid.cli", "agent", "run", "--hub", url, "--data", str(folder / name)]
        words += ["--name", name, "--cpus", str(cpus), "--runtime", runtime, "--with-parent", "--no-limits"]
        super().__init__(name, words, folder / f"{name}.log", CROWDGRID_INVITATION=invitation)

    @property
    def workers(self) -> int:
        """Worker processes it has now."""
        return len(self.ps.children())


class BenchGrid:
    """A hub and its agents in a folder that is removed at the end.

    Args:
        tls: certificate and key for the hub. profile: where to write a profile of it. folder: one prepared before.

    Attributes:
        hub, agents: the processes. folder: where they keep everything.
        ready_seconds: from the hub's exec to its first `/readyz`.
    """

    def __init__(
        self, *, tls: tuple[Path, Path] | None = None, profile: Path | None = None, folder: Path | None = None
    ) -> None:
        self.folder = folder or work_folder()
        self.port = free_port()
        self.token = "cg_" + secrets.token_urlsafe(32)
        self.invitation = "cgi_" + secrets.token_urlsafe(24)
        self._tls, self._profile = tls, profile
        self.agents: list[AgentProcess] = []
        self.ready_seconds = 0.0
        self.hub = self.start_hub()

    def start_hub(self) -> HubProcess:
        """Start the hub, again if it was killed, on the same folder and port."""
        self.hub = HubProcess(self.folder, self.port, self.token, self.invitation, tls=self._tls, profile=self._profile)
        return self.hub

    def invite(self, owner: str) -> str:
        """An invitation that makes nodes this owner's."""
        asked = urllib.request.Request(  # noqa: S310 - our own hub
            f"{self.hub.url}/v1/invitations",
            json.dumps({"owner": owner}).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
            return str(json.load(answer)["code"])

    def start_agents(self, count: int, *, runtime: str = "wasm", cpus: int = 1, owners: bool = False) -> None:
        """Start agents and wait until their workers are up and their first benchmarks are over. `owners`: each of an
        owner of its own."""
        first = len(self.agents) + 1
        for number in range(first, first + count):
            name = f"agent-{number}"
            invitation = self.invite(f"owner of {name}") if owners else self.invitation
            self.agents.append(AgentProcess(self.folder, self.hub.url, invitation, name, runtime, cpus))
        for agent in self.agents:
            wait_until(lambda agent=agent: _has_workers(agent, cpus), "An agent has no workers", 60.0, 0.05)  # type: ignore[misc]
        self.settle()

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until nothing here computes any more."""
        give_up_at = time.perf_counter() + seconds
        while time.perf_counter() < give_up_at:
            before = self.busy_seconds()
            time.sleep(0.5)
            if self.busy_seconds() - before < 0.04:
                return
        raise BenchmarkFailed("The agents do not come to rest.")

    def busy_seconds(self) -> float:
        return self.hub.cpu() + sum(agent.cpu() + agent.children_cpu() for agent in self.agents)

    def __enter__(self) -> Self:
        try:
            self.ready_seconds = self.hub.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all of it and remove the folder."""
        for process in (*self.agents, self.hub):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _has_workers(agent: AgentProcess, count: int) -> bool:
    agent.check()
    return agent.workers >= count


@contextmanager
def folder_for(what: str) -> Iterator[Path]:
    """A work folder that is removed afterwards."""
    folder = work_folder() / what
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
