"""The driver's side of the conversation with an adapter; see `adapters/session.py` for what is said."""

from __future__ import annotations

import json
import os
import queue
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.peers.catalogue import Kind
from benchmarks.peers.watch import MARK, Watch
from benchmarks.processes import ROOT, work_folder

LOG_TAIL: Final = 400
CLOSE_SECONDS: Final = 30.0


class PeerFailed(Exception):
    """A peer could not do what was asked, and what it said."""


class Place:
    """A peer's folders, removed in the end: a work folder on a disk, and one with a short path."""

    def __init__(self) -> None:
        self.folder, self.short = work_folder(), Path(tempfile.mkdtemp(prefix="peer-"))
        self.mark = secrets.token_hex(8)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder in (self.folder, self.short):
            shutil.rmtree(folder, ignore_errors=True)


class Adapter:
    """An adapter's process, and everything that came of it. Leaving the block ends all of that.

    Args:
        kind: which peer. place: its folders; another adapter may have used them before.
    """

    def __init__(self, kind: Kind, place: Place) -> None:
        if not kind.python.exists():
            raise PeerFailed("its environment is not there (scripts/setup-peers makes it)")
        self._log = place.folder / "client.log"
        words = [str(kind.python), "-m", f"benchmarks.peers.adapters.{kind.name}", str(place.folder), str(place.short)]
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=_environ(kind, place.mark),
                start_new_session=True,
            )
        self.watch = Watch(self._popen.pid, place.mark)
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def ask(self, do: str, within: float, on: Callable[[str], None] = lambda event: None, **order: Any) -> Any:
        """Its answer.

        Args:
            within: seconds it may be silent. on: called with each event while it works.

        Raises:
            PeerFailed: it failed, ended, or said nothing for so long.
        """
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self._popen.stdin.flush()
        except OSError:
            raise PeerFailed(self._ended()) from None
        while True:
            try:
                line = self._lines.get(timeout=within)
            except queue.Empty:
                raise PeerFailed(f"said nothing for {within:g} s when asked to {do}") from None
            if line is None:
                raise PeerFailed(self._ended())
            told = json.loads(line)
            if "event" in told:
                on(told["event"])
            elif "failed" in told:
                raise PeerFailed(told["failed"])
            else:
                return told["answer"]

    def _ended(self) -> str:
        status = self._popen.wait(CLOSE_SECONDS)
        tail = " ".join(self._log.read_text(errors="replace")[-LOG_TAIL:].split())
        return f"its client ended with {status}: … {tail}"

    def kill(self) -> None:
        """`kill -9` of the client; what it started goes on if it can."""
        self.watch.look()
        self._popen.kill()
        self._popen.wait()

    def close(self) -> None:
        """Ask it to end, and wait for that. Raises PeerFailed."""
        self.ask("close", CLOSE_SECONDS)
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        try:
            self._popen.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"its client did not end within {CLOSE_SECONDS:g} s") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.end()
        self._popen.wait()


def _environ(kind: Kind, mark: str) -> dict[str, str]:
    """A plain environment: the peer's commands first on the path, loopback only, nothing told to anybody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CROWDGRID_", "RAY_", "DASK_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {
        MARK: mark,
        "PATH": f"{kind.python.parent}{os.pathsep}{kept.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else it listens on every address of the machine
    }
