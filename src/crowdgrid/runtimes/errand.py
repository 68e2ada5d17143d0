"""One batch of calls on its way through workers that what they run may end: who is to blame, and what runs again.

A function runs in a process of this machine's own Python and can end it in many ways. Its worker says at each
moment which run is under way (`progress`), so that

- a time-out is that run's own, measured from when it began, however results travel;
- when a worker has ended, the run under way is the one to blame. Runs already answered stand; runs before it
  whose results were lost with the worker run again; it is tried once more, alone in a fresh worker, for it may have
  been somebody else's doing. If its worker ends again, that is its answer. The rest goes on in another worker.

So a worker that is ended from outside once costs a second run and no error, a function that ends its worker is an
answer like any other, and no batch is tried for ever: each end of a worker is held against a run, or against
loading, and neither survives two.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final

from crowdgrid import limits
from crowdgrid.runtimes import Finished, Results, Runs, frames, progress, sentences
from crowdgrid.runtimes.child import Child
from crowdgrid.runtimes.progress import Doing, Progress

LOAD_SECONDS: Final = 300.0  # the longest a program may take to load: importing its modules, its initializer
BETWEEN_SECONDS: Final = 30.0  # the longest a worker may take between two runs, when it only sends and reads
WHERE_SECONDS: Final = 0.05  # the longest to wait for the traceback of a run that is about to be stopped
NOTHING: Final = Doing(-1, 0)
FILE: Final = re.compile(rb'File "([^"\n]+)"')
OURS: Final = b"/crowdgrid/runtimes/"  # in a traceback: from here on it is the worker's own


class Errand:
    """Answers one batch.

    Attributes:
        done: the results so far, in order.
        fresh: whether the next part wants a worker that has run nothing yet.
    """

    def __init__(self, program: str, path: str, runs: Runs) -> None:
        self.done = Results()
        self.fresh = False
        self._program, self._path, self._runs = program, path, runs
        self._suspects: set[int] = set()  # ended a worker once
        self._verdicts: dict[int, Finished] = {}  # answers of runs that were stopped while earlier ones are missing
        self._loads = 0  # workers that ended while loading, one after another
        self._seen = (NOTHING, 0.0)  # what a worker that was not running anything was found at, and when

    def next_part(self) -> Runs:
        """The runs one worker should be given now; none when all are answered."""
        while (verdict := self._verdicts.pop(len(self.done), None)) is not None:
            self.done.items.append(verdict)
        at = len(self.done)
        if at in self._suspects:
            self.fresh = True
            return self._runs[at : at + 1]
        special = [index for index in (*self._suspects, *self._verdicts) if index > at]
        stop = min([at + progress.RUNS_MAX, *special])
        return self._runs[at:stop]

    def give_up(self, reason: Finished) -> None:
        """Answer all that is left with `reason`."""
        for index in range(len(self.done), len(self._runs)):
            self.done.items.append(self._verdicts.pop(index, reason))

    async def drive(self, child: Child, part: Runs) -> bool:
        """Have `child` run `part`. Returns whether it can be used again."""
        page, first, last = _page(child), len(self.done), len(self.done) + len(part)
        shortest = wait = min(group.limits.timeout_ms for group in part.groups) / 1000
        self.fresh, self._seen = False, (NOTHING, time.monotonic())
        page.clear()
        child.send(frames.Batch(self._program, self._path, part.groups))
        while len(self.done) < last:
            try:
                message = await child.receive(wait)
            except TimeoutError:
                wait = await self._patience(child, first, shortest)
                if wait <= 0:
                    return False
                continue
            if not isinstance(message, frames.Done) or len(message.results) > last - len(self.done):
                await self._ended(child, first, last)
                return False
            self.done.items += message.results
            self._loads = 0
            wait = shortest
            if message.leaving:
                self.fresh = True
                if len(self.done) == first:
                    self._hold_against(first, sentences.ended("it did not want to go on"))
                return False
        return True

    async def _patience(self, child: Child, first: int, shortest: float) -> float:
        """Nothing has come for a while. Returns after how many seconds to look again, 0 when it has been decided
        what becomes of the run."""
        doing = _page(child).read()
        index = first + doing.run
        if doing.since_ms and len(self.done) <= index < len(self._runs):
            left_ms = doing.since_ms + self._runs[index].limits.timeout_ms - progress.now_ms()
            if left_ms < 0:
                await self._too_late(child, index)
            return max(0.0, (left_ms + 1) / 1000)
        now = time.monotonic()
        if doing != self._seen[0]:
            self._seen = (doing, now)
        left = self._seen[1] + (LOAD_SECONDS if doing == NOTHING else BETWEEN_SECONDS) - now
        if left > 0:
            return min(left, shortest)
        if doing == NOTHING:
            self.give_up(sentences.loaded_too_long(LOAD_SECONDS))
        else:
            self._hold_against(len(self.done), sentences.ended("it stopped answering"))
        return 0.0

    async def _too_late(self, child: Child, index: int) -> None:
        """Stop the run; it is asked first where it is, which helps whoever wrote the function."""
        page = _page(child)
        child.ask_where()
        waited = 0.0
        while not page.notes() and waited < WHERE_SECONDS:
            await asyncio.sleep(0.002)
            waited += 0.002
        await child.kill()
        self._verdicts[index] = sentences.call_timed_out(self._runs[index].limits.timeout_ms, _said(page))

    async def _ended(self, child: Child, first: int, last: int) -> None:
        """The worker is gone, or says what none of ours would."""
        by_itself = await child.last_words()
        await child.kill()
        page = _page(child)
        how = sentences.how_ended(child.status if by_itself else None, child.memory_ran_out)
        doing = page.read()
        if doing == NOTHING:
            self._loads += 1
            if self._loads > 1:
                self.give_up(sentences.ended_loading(how, _said(page)))
            return
        index = first + doing.run
        if not len(self.done) <= index < last:  # it ended between the answer of one run and the beginning of the next
            index = len(self.done)
        self._hold_against(index, sentences.ended(how, _said(page)))

    def _hold_against(self, index: int, verdict: Finished) -> None:
        """A worker ended with this run: once it may be tried again, twice this is its answer."""
        if index in self._suspects:
            self._suspects.discard(index)
            self._verdicts[index] = verdict
        else:
            self._suspects.add(index)


def _page(child: Child) -> Progress:
    assert child.progress is not None, "its worker was started as one that tracks its runs"
    return child.progress


def _said(page: Progress) -> bytes:
    """What the run printed before its end, and where a fatal signal met it."""
    where = page.notes()
    cut = where.find(OURS)
    if cut >= 0:
        where = where[: where.rfind(b"\n", 0, cut) + 1]
    return (page.tail() + FILE.sub(_short, where))[-limits.STDERR_TAIL_BYTES :]


def _short(file: re.Match[bytes]) -> bytes:
    """A file in a traceback without the folders of this machine, which are nobody's business."""
    from crowdgrid.runtimes.rebuild.raised import short_name  # only when something was stopped

    return b'File "' + short_name(file[1].decode(errors="replace")).encode() + b'"'
