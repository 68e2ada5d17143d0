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
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.peers.catalogue import Kind
from benchmarks.peers.watch import MARK, Watch
from benchmarks.processes import ROOT, work_folder

LOG_TAIL: Final = 400
CLOSE_SECONDS: Final = 90.0
LOOK_SECONDS: Final = 0.5


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
        environ: what else is in its environment.
    """

    def __init__(self, kind: Kind, place: Place, **environ: str) -> None:
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
                env=_environ(kind, place.mark) | environ,
                start_new_session=True,
            )
        self.watch = Watch(self._popen.pid, place.mark)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def ask(self, do: str, within: float, on: Callable[[str], None] = lambda event: None, **order: Any) -> Any:
        """Its answer.

        Args:
            within: seconds it may be silent. on: called with each event while it works.

        Raises:
            PeerFailed: it failed, ended, or said nothing for so long.
        """
        self._say(json.dumps({"do": do, **order}))
        while True:
            told = json.loads(self._line(within, do))
            if "event" in told:
                on(told["event"])
                if told["waits"]:
                    self._say("")
            elif "failed" in told:
                raise PeerFailed(told["failed"])
            else:
                return told["answer"]

    def _say(self, line: str) -> None:
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(line + "\n")
            self._popen.stdin.flush()
        except OSError:
            raise PeerFailed(self._ended()) from None

    def _line(self, within: float, do: str) -> str:
        """The next one. Its end is looked for too: workers that were forked keep the pipe of a dead client open."""
        give_up_at = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if time.monotonic() > give_up_at:
                    raise PeerFailed(f"said nothing for {within:g} s when asked to {do}") from None
                if self._popen.poll() is None:
                    continue
                line = None
            if line is None:
                raise PeerFailed(self._ended())
            return line

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
        assert self._popen.stdin is not None
        with suppress(OSError):  # an order it did not take any more
            self._popen.stdin.close()
        self._reader.join(CLOSE_SECONDS)


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
