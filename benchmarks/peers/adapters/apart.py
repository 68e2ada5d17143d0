"""Parts of a peer as processes of their own, which go on when their client is killed and can be started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PATIENCE_SECONDS = 60.0
STOP_SECONDS = 60.0  # a hub that is profiled writes its profile as it ends


class Parts:
    """Processes that are started, found again by another client, and started again. What they are is in a file.

    Args:
        folder: for that file and the logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "parts.json"
        self._words: dict[str, list[str]] = {}
        self._pids: dict[str, int] = {}
        self._ours: list[subprocess.Popen[bytes]] = []
        if self._file.exists():
            self._words, self._pids = json.loads(self._file.read_text())

    def start(self, name: str, words: Sequence[str], **environ: str) -> int:
        """Start one; its process id."""
        self._words[name] = list(words)
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environ,
                start_new_session=True,
            )
        self._ours.append(process)
        self._pids[name] = process.pid
        self._file.write_text(json.dumps([self._words, self._pids]))
        return process.pid

    def start_again(self, name: str, **environ: str) -> int:
        """Start one again, with the same words."""
        return self.start(name, self._words[name], **environ)

    def pid(self, name: str) -> int:
        return self._pids[name]

    def stop(self) -> None:
        """Ask them to end, last first, and wait for those that were started here."""
        for pid in reversed(self._pids.values()):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        for process in self._ours:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def tool(name: str) -> str:
    """A command of this Python's environment."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_until(true: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until it is so. Raises TimeoutError."""
    give_up_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Process ids of a process's children, in the order they were started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(found)


def command(pid: int) -> str:
    """A process's command line; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def running(*texts: str) -> list[int]:
    """Process ids of Python programs whose command line has all of these texts in it."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return sorted(pid for pid in pids if "python" in (words := command(pid)) and all(text in words for text in texts))
