"""What a peer's processes use: all of them, its client, its servers and its workers, however they left the client's tree.

A process belongs to a peer when it descends from its client, or did when it was seen, or carries the mark its client was
started with in its environment. Nothing else is ever counted, or ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import psutil

MARK: Final = "CROWDGRID_PEERS_MARK"
ENDING_SECONDS: Final = 5.0

T = TypeVar("T")

# What a command line has in it, and what such a process is. The first that fits.
ROLES: Final = (
    ("redis-server", "broker"),
    ("gcs_server", "scheduler"),
    ("raylet/raylet", "scheduler"),
    ("DashboardAgent", "others"),
    ("RuntimeEnvAgent", "others"),
    ("ray::", "workers"),
    ("interchange", "scheduler"),
    ("process_worker_pool", "workers"),
    ("celery", "workers"),
    ("dask scheduler", "scheduler"),
    ("crowdgrid.runtimes", "workers"),
    ("crowdgrid.agent.probe", "agents"),
    (" hub ", "hub"),
    (" agent run ", "agents"),
    ("multiprocessing", "workers"),
    ("loky", "workers"),
)


def role(command: str) -> str:
    """What a process is to its peer, by its command line."""
    return next((role for text, role in ROLES if text in command), "others")


def family(root: int, known: Iterable[int], parents: Mapping[int, int], marked: Iterable[int]) -> set[int]:
    """Process ids of a peer.

    Args:
        root: its client. known: those seen before that are still there. parents: process id to its parent's, of all
            there are. marked: those with the mark.
    """
    found = {pid for pid in (root, *known, *marked) if pid in parents}
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    todo = list(found)
    while todo:
        more = [child for child in children.get(todo.pop(), ()) if child not in found]
        found.update(more)
        todo += more
    return found


class Watch:
    """The processes of one peer.

    Args:
        client: its client's process id. mark: the value of MARK in its environment.
    """

    def __init__(self, client: int, mark: str) -> None:
        self._client, self._mark = client, mark
        self._seen: dict[int, psutil.Process] = {}

    def look(self) -> list[psutil.Process]:
        """Those that are there now."""
        everybody = {process.pid: process for process in psutil.process_iter(["ppid"])}
        parents = {pid: process.info["ppid"] or 0 for pid, process in everybody.items()}
        known = [pid for pid, process in self._seen.items() if process.is_running()]
        marked = [pid for pid, process in everybody.items() if self._is_marked(process)]
        pids = family(self._client, known, parents, marked)
        self._seen = {pid: self._seen.get(pid, everybody[pid]) for pid in sorted(pids)}
        return [process for process in self._seen.values() if _ask(process.status, "") != psutil.STATUS_ZOMBIE]

    def _is_marked(self, process: psutil.Process) -> bool:
        environ: dict[str, str] = _ask(process.environ, {})
        return environ.get(MARK) == self._mark

    def cpu(self) -> dict[tuple[int, str], float]:
        """CPU seconds each has used so far, by process id and role."""
        used = {}
        for process in self.look():
            times = _ask(process.cpu_times, None)
            if times is not None:
                used[process.pid, self._role(process)] = float(times.user + times.system)
        return used

    def _role(self, process: psutil.Process) -> str:
        if process.pid == self._client:
            return "client"
        found = role(" ".join(_ask(process.cmdline, [])) + " ")
        if found == "others" and _ask(process.ppid, 0) == self._client:
            return "workers"  # forked from the client, with its command line
        return found

    def memory(self) -> int:
        """Bytes in use by all of them, pages they share counted once (PSS)."""
        return sum(found.pss for process in self.look() if (found := _ask(process.memory_full_info, None)))

    def client_memory(self) -> int:
        """Resident bytes of the client alone."""
        return int(psutil.Process(self._client).memory_info().rss)

    def end(self) -> None:
        """End whatever is still there."""
        left = self.look()
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=ENDING_SECONDS)


def used_between(before: Mapping[tuple[int, str], float], after: Mapping[tuple[int, str], float]) -> Counter[str]:
    """CPU seconds by role, of processes that were there at the end; one that is new has used all it has."""
    used: Counter[str] = Counter()
    for key, seconds in after.items():
        used[key[1]] += seconds - before.get(key, 0.0)  # type: ignore[assignment]
    return used


def _ask(question: Callable[[], T], otherwise: T) -> T:
    """What a process says; another answer when it is gone or may not be asked."""
    try:
        return question()
    except (psutil.Error, OSError):
        return otherwise
