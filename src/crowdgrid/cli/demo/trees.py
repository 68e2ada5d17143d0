"""The third act: a Python function counts the syntax trees of the standard library, while one of its workers is killed.

The function notes in a ledger when it begins and when it ends a file. So what is said of the kill is known, not
guessed: the worker is stopped, the ledger tells whether it is in the midst of a file and of which, and only then is it
killed. It has recovered once that file was begun anew and ended by another worker. The same function without the ledger
counts everything in this process first; each kind of node must come to the same number.
"""

from __future__ import annotations

import ast
import os
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crowdgrid.cli.demo.kill import Kill
from crowdgrid.cli.demo.watch import Watch
from crowdgrid.client.functions import function
from crowdgrid.client.job import Job
from crowdgrid.errors import JobFailed, TimedOut

if TYPE_CHECKING:
    from crowdgrid.cli.demo.processes import Crowd
    from crowdgrid.cli.demo.stage import Stage

LEFT_OUT: Final = frozenset({"test", "tests", "site-packages", "dist-packages"})
KILL_AT: Final = 0.4
TASK_SECONDS: Final = 0.25
GIVE_UP_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.02


@dataclass(slots=True)
class Trees:
    """What came of it.

    Attributes:
        nodes: of all files together; `expected`: as counted here. None: there is no answer.
        differing: kinds of node whose counts differ.
        here_seconds: how long this process took alone.
        begun: how often the file was begun in which the worker was killed.
    """

    files: int
    nodes: int | None
    expected: int
    differing: list[str]
    tasks: int
    seconds: float
    here_seconds: float
    by_node: dict[str, int]
    kills: list[Kill] = field(default_factory=list)
    begun: int = 0

    @property
    def right(self) -> bool:
        """Whether every count is the same, and the killed worker's file was counted by another one in time."""
        same = self.nodes == self.expected and not self.differing
        return same and self.begun >= 2 and len(self.kills) == 1 and self.kills[0].right

    @property
    def speed_up(self) -> float:
        """How many times faster the grid was than this process alone."""
        return self.here_seconds / self.seconds


def node_kinds(source: bytes) -> Counter[str]:
    """How often each kind of node occurs in a file's syntax tree."""
    return Counter(type(node).__name__ for node in ast.walk(ast.parse(source)))


def noted(number: int, source: bytes, ledger: str) -> Counter[str]:
    """As `node_kinds`, with a line in the ledger at its begin and its end. This is what runs on the grid."""
    with open(ledger, "a", encoding="ascii") as book:  # noqa: PTH123 — each line is appended whole
        print(os.getpid(), "begins", number, file=book, flush=True)
        found = node_kinds(source)
        print(os.getpid(), "ends", number, file=book, flush=True)
    return found


def sources(files_max: int) -> list[bytes]:
    """The files of this Python's standard library without its tests, by name; 0: all of them."""
    library = Path(sysconfig.get_path("stdlib"))
    paths = (path for path in library.rglob("*.py") if LEFT_OUT.isdisjoint(path.relative_to(library).parts))
    return [path.read_bytes() for path in sorted(paths)[: files_max or None]]


def count_trees(crowd: Crowd, shown: Stage, files_max: int) -> Trees:
    """Count here, then on the grid, and kill what the module says."""
    texts = sources(files_max)
    began = time.monotonic()
    here = _count_here(shown, texts)
    here_seconds = time.monotonic() - began
    shown.act(f"syntax trees of {len(texts):,} files")
    began = time.monotonic()
    act = _Act(crowd, shown, texts)
    try:
        act.kill_worker()
        found = act.finish()
    except JobFailed as error:
        shown.say(str(error))
        found = None
    took = time.monotonic() - began
    act.watch.stop()
    return Trees(
        files=len(texts),
        nodes=None if found is None else found.total(),
        expected=here.total(),
        differing=[] if found is None else sorted((here - found) | (found - here)),
        tasks=act.watch.tasks,
        seconds=took,
        here_seconds=here_seconds,
        by_node=act.watch.by_name(crowd.names()),
        kills=act.kills,
        begun=act.ledger.begun[act.file],
    )


def _count_here(shown: Stage, texts: list[bytes]) -> Counter[str]:
    shown.act("the same, here alone")
    total: Counter[str] = Counter()
    for done, text in enumerate(texts, 1):
        total.update(node_kinds(text))
        shown.at(done / len(texts), f"{done:,} files")
    return total


class Ledger:
    """What workers noted, as far as it was read.

    Attributes:
        begun: how often each file was begun. ended: the files somebody came to the end of.
        under_way: by process id, the file that worker is in the midst of.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")
        self.begun: Counter[int] = Counter()
        self.ended: set[int] = set()
        self.under_way: dict[int, int] = {}
        self._read = 0  # bytes

    def read(self) -> None:
        """Read what was added; a line that is being written is left for the next time."""
        with self.path.open("rb") as book:
            book.seek(self._read)
            whole, end, _ = book.read().rpartition(b"\n")
        self._read += len(whole + end)
        for line in whole.decode("ascii").splitlines():
            pid, what, file = line.split()
            if what == "begins":
                self.begun[int(file)] += 1
                self.under_way[int(pid)] = int(file)
            else:
                self.ended.add(int(file))
                self.under_way.pop(int(pid), None)


class _Act:
    def __init__(self, crowd: Crowd, shown: Stage, texts: list[bytes]) -> None:
        self._crowd = crowd
        self._shown = shown
        self._files = len(texts)
        self.ledger = Ledger(crowd.folder / "ledger")
        on_grid = function(grid=crowd.grid, target=TASK_SECONDS)(noted)
        self._job: Job = on_grid.spawn_map(range(len(texts)), texts, repeat(str(self.ledger.path)))
        self.watch = Watch(self._job)
        self.kills: list[Kill] = []
        self.file = -1  # the one whose worker was killed

    def _until(self, done: Callable[[], bool], what: str) -> None:
        """Look on until something is so. Raises TimedOut when it never is, JobFailed when the job ended badly."""
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while not done():
            self.ledger.read()
            self._shown.at(self.watch.units / self._files, f"{self.watch.units:,} files, {self.watch.tasks} tasks")
            if time.monotonic() > give_up_at:
                raise TimedOut(f"{what} within {GIVE_UP_SECONDS:.0f} s.", hint="Keep the logs with --keep and look.")
            time.sleep(LOOK_SECONDS)

    @property
    def _ended(self) -> bool:
        return self._job.state in {"completed", "final", "failed", "cancelled", "invalid"}

    def kill_worker(self) -> None:
        """Kill a worker in the midst of a file, and wait until another one has counted it."""
        self._until(lambda: self._ended or self._kill_one(), "No worker was in the midst of a file")
        if not self.kills:
            return
        (kill,) = self.kills
        killed = time.monotonic()
        self._shown.say(f"Killed {kill.what} at {kill.at:.0%}, in the midst of file {self.file:,}.")
        self._until(lambda: self._ended or self._counted_again(), "The file was not counted again")
        if self._counted_again():
            kill.seconds = time.monotonic() - killed
            self._shown.say(f"Another worker had counted that file {kill.seconds:.1f} s after the kill.")

    def _kill_one(self) -> bool:
        """Kill a worker if it is time and one is in the midst of a file; whether it was done."""
        begun = len(self.ledger.begun)
        if begun < KILL_AT * self._files:
            return False
        for pid in list(self.ledger.under_way):
            if not (agent := self._crowd.stop_worker(pid)):
                continue
            self.ledger.read()
            if (file := self.ledger.under_way.get(pid)) is not None:
                self.file = file
                self.kills.append(Kill(f"a worker of {agent}", begun / self._files, 1))
                self._crowd.kill_worker(pid)
                return True
            self._crowd.let_worker_go_on(pid)
        return False

    def _counted_again(self) -> bool:
        self.ledger.read()
        return self.file in self.ledger.ended

    def finish(self) -> Counter[str]:
        """Wait for all counts and add them up. Raises JobFailed."""
        self._until(lambda: self._ended, "The job did not end")
        self.watch.stop()
        total: Counter[str] = Counter()
        for found in self._job.result(timeout=60):
            total.update(found)
        self._shown.at(1.0, f"{self.watch.units:,} files, {self.watch.tasks} tasks")
        return total
