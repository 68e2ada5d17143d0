"""A real agent in a process of its own, as a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from crowdgrid.agent import probe
from crowdgrid.agent.control import ask
from crowdgrid.agent.greeting import SOFTWARE
from crowdgrid.errors import Unavailable

SECONDS = 20.0
KERNELS = Path(__file__).parents[3] / "src" / "crowdgrid" / "kernels"


class AgentProcess:
    """One agent. `text` is what it said so far, once it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.text = ""

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.process.kill()

    async def ended(self) -> int:
        async with asyncio.timeout(SECONDS):
            _, err = await self.process.communicate()
            self.text = err.decode()
        assert self.process.returncode is not None
        return self.process.returncode

    def workers(self) -> list[Any]:
        found: list[Any] = psutil.Process(self.process.pid).children()
        return found

    async def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.folder, verb, **arguments)

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Its status, once these parts of it are so."""
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(Unavailable):  # it has not got as far as its socket
                    status = await self.ask("status")
                    if all(status[name] == value for name, value in wanted.items()):
                        return status
                await asyncio.sleep(0.01)


def measured_before(folder: Path) -> None:
    """Leave benchmarks in the folder, so that a test's agent does not measure nor greet anew in the middle of it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    machine = probe.machine_of(probe.inventory(folder), SOFTWARE)
    found = probe.Benchmarks(machine, time.time(), {"integer": 1000.0})
    (folder / probe.FILE_NAME).write_bytes(msgspec.json.encode(found))


async def start_agent(url: str, folder: Path, *options: str, measured: bool = True) -> AgentProcess:
    if measured:
        measured_before(folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crowdgrid.cli",
        "agent",
        "run",
        *(("--hub", url) if url else ()),
        "--data",
        str(folder),
        "--no-limits",
        *(options or ("--runtime", "echo", "--cpus", "2")),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    return AgentProcess(process, folder)


@asynccontextmanager
async def agent_on(url: str, folder: Path, *options: str, measured: bool = True) -> AsyncIterator[AgentProcess]:
    """An agent that is gone at the end, whatever happened."""
    agent = await start_agent(url, folder, *options, measured=measured)
    try:
        yield agent
    finally:
        if agent.process.returncode is None:
            agent.kill()
            await agent.ended()
