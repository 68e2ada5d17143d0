"""A job's progress shown to a person who waits: a bar on a terminal or in a notebook, nothing where nobody looks.

While somebody waits, a thread looks at the job's counters a few times a second and draws them, so a job that stands
still is seen to stand still. Unasked, a bar appears after a second: what is quick prints nothing.

Invariants: nothing but plain lines, and those only where they were asked for, goes to what is not a terminal; showing
never breaks or holds up what is shown; bars of one terminal are lines of one picture, however many are open.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, TextIO, TypeAlias

from crowdgrid.client import saying
from crowdgrid.core.model import Counts, JobState

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from crowdgrid.client.job import Job
    from crowdgrid.client.joblink import JobLink

# None: a bar where a person looks, if it takes longer than a moment; True: at once, and lines of text elsewhere;
# False: nothing; a function is called with the counters; a tqdm bar is moved, a tqdm class makes one.
Wanted: TypeAlias = bool | Callable[[Counts], None] | Any | None

APPEAR_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.2
LINE_SECONDS: Final = 10.0
JOIN_SECONDS: Final = 1.0
TITLE_CHARS: Final = 40


class Standing(NamedTuple):
    """How far a job is.

    Attributes:
        done: units that are done. total: of how many; None while its input is not read to the end.
        taken: results somebody has taken; None when they are not taken one by one.
    """

    done: int
    total: int | None
    taken: int | None
    counts: Counts

    @property
    def said(self) -> str:
        """What goes on, for people."""
        waiting = self.done - self.taken if self.taken is not None else 0
        parts = [saying.doing(self.counts), f"{waiting:,} results waiting" if waiting > 0 else ""]
        return ", ".join(part for part in parts if part)


class Display(Protocol):
    """Where progress is shown. Made when there is something to show, on the thread that draws."""

    def draw(self, now: Standing) -> None:
        """Show this."""
        ...

    def close(self, now: Standing) -> None:
        """Show this last."""
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Out of the way, so that something else can be printed."""
        ...


# --- for those who wait ------------------------------------------------------------------------------


@contextmanager
def shown(job: Job, wanted: Wanted) -> Iterator[Callable[[Counts], None] | None]:
    """Shows a job's progress while the block runs.

    Gives what is to be called with the counters as they move, None for nobody.
    """
    make, after = display_for(job.name or job.id, wanted)
    if make is None:
        yield wanted if callable(wanted) else None
        return
    with Watch(make, job.link, after=after):
        yield None


@contextmanager
def showing(title: str, wanted: Wanted, job: JobLink, *, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Shows a job's progress while its results are taken.

    Gives what is to be called with the number of results taken.

    Args:
        total: how many there will be, if that is known before the input is read to the end.
    """
    make, after = display_for(title, wanted)
    if make is not None:
        with Watch(make, job, after=after, total=total, taken=0) as watch:
            yield watch.moved
    elif callable(wanted):
        told: Counts | None = None

        def moved(_: int) -> None:
            nonlocal told
            if told is not job.info.counts:
                told = job.info.counts
                wanted(told)

        yield moved
    else:
        yield lambda _: None


def display_for(title: str, wanted: Wanted) -> tuple[Callable[[], Display] | None, float]:
    """(what makes the display that is wanted, seconds until it appears); (None, 0) for no display of ours."""
    title = saying.one_line(title, TITLE_CHARS)
    if wanted is not None and not isinstance(wanted, bool):
        return ((lambda: Tqdm(wanted, title)), 0.0) if hasattr(wanted, "update") else (None, 0.0)
    if wanted is False:
        return None, 0.0
    after = APPEAR_SECONDS if wanted is None else 0.0
    if in_notebook():
        from crowdgrid.client.notebook import NotebookBar

        return (lambda: NotebookBar(title)), after
    if on_terminal():
        began = time.monotonic()
        return (lambda: Terminal(title, began)), after
    return ((lambda: Lines(title)), 0.0) if wanted else (None, 0.0)


def on_terminal() -> bool:
    """Whether standard error is a terminal that can move its cursor."""
    return is_terminal(sys.stderr) and os.environ.get("TERM") not in ("dumb", "unknown")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at what is written there; there may be no stream, or a closed one."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def in_notebook() -> bool:
    """Whether a notebook shows what is displayed here."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


class Watch:
    """Draws a job's counters until it is left.

    Args:
        make: makes the display, once there is something to show.
        after: seconds until then.
        total: of `showing`. taken: 0 where results are taken one by one.
    """

    def __init__(
        self,
        make: Callable[[], Display],
        job: JobLink,
        *,
        after: float = 0.0,
        total: int | None = None,
        taken: int | None = None,
    ) -> None:
        self._make = make
        self._job = job
        self._after = after
        self._total = total
        self._taken = taken
        self._display: Display | None = None
        self._over = threading.Event()
        context = contextvars.copy_context()  # a notebook's cell is part of it
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="crowdgrid-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if threading.current_thread() is self._thread:  # it was the garbage collector that left
            return
        self._thread.join(JOIN_SECONDS)
        if self._display is not None and not self._thread.is_alive():
            with quiet():
                self._display.close(self._now())

    def moved(self, taken: int) -> None:
        """So many results were taken."""
        self._taken = taken

    def aside(self) -> AbstractContextManager[None]:
        """Something else is printed where this is shown."""
        return self._display.aside() if self._display is not None else nullcontext()

    def _run(self) -> None:
        if self._after and self._over.wait(self._after):
            return
        with quiet():
            self._display = self._make()
            self._display.draw(self._now())
            while not self._over.wait(LOOK_SECONDS):
                self._display.draw(self._now())

    def _now(self) -> Standing:
        info = self._job.info
        counts = info.counts
        known = counts.units if self._job.ended or info.state != JobState.OPEN else None
        total = known if known is not None else self._total
        return Standing(counts.units_done, total, self._taken, counts)


@contextmanager
def quiet() -> Iterator[None]:
    """A terminal that went away, or a bar of somebody else's that fails, is nobody's loss."""
    with suppress(Exception):
        yield


# --- on a terminal -----------------------------------------------------------------------------------


class Screen:
    """The lines at the bottom of this process's terminal: one picture for all bars, as it has one cursor."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._progress: RichProgress | None = None
        self._open = 0

    def add(self, title: str, began: float) -> TaskID:
        """A new bar, of something that `began` then (monotonic seconds)."""
        with self.lock:
            if self._progress is None:
                self._progress = _new_picture()
                self._progress.start()
            self._open += 1
            bar = self._progress.add_task(title, total=None, done="", said="")
            self._progress.tasks[-1].start_time = began
            return bar

    def draw(self, bar: TaskID, now: Standing) -> None:
        """Move a bar."""
        with self.lock:
            if self._progress is not None:
                self._progress.update(
                    bar, total=now.total, completed=now.done, done=saying.of(now.done, now.total), said=now.said
                )
                self._progress.refresh()

    def close(self) -> None:
        """A bar is finished; the picture stays as it is once the last one is."""
        with self.lock:
            self._open -= 1
            if not self._open and self._progress is not None:
                progress, self._progress = self._progress, None
                progress.stop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nothing is on the screen meanwhile."""
        with self.lock:
            if self._progress is None:
                yield
                return
            self._progress.live.transient = True
            self._progress.stop()
            try:
                yield
            finally:
                self._progress.live.transient = False
                self._progress.start()


SCREEN: Final = Screen()


def _new_picture() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[said]}"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    # What is printed meanwhile appears above the bars; but only if it goes to this terminal, not if it is piped.
    same = is_terminal(sys.stdout)
    return Progress(*columns, console=Console(file=sys.stderr), auto_refresh=False, redirect_stdout=same)


class Terminal:
    """A bar on the terminal."""

    def __init__(self, title: str, began: float) -> None:
        self._bar = SCREEN.add(title, began)

    def draw(self, now: Standing) -> None:
        SCREEN.draw(self._bar, now)

    def close(self, now: Standing) -> None:
        try:
            SCREEN.draw(self._bar, now)
        finally:
            SCREEN.close()

    def aside(self) -> AbstractContextManager[None]:
        return SCREEN.aside()


class Lines:
    """Where it was asked for and there is no terminal: a line now and then, and one at the end."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._next = time.monotonic() + LINE_SECONDS

    def draw(self, now: Standing) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            self._say(now)

    def close(self, now: Standing) -> None:
        self._say(now)

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _say(self, now: Standing) -> None:
        if sys.stderr is not None:
            said = f" ({now.said})" if now.said else ""
            sys.stderr.write(f"{self._title}: {saying.of(now.done, now.total)} done{said}\n")
            sys.stderr.flush()


# --- tqdm --------------------------------------------------------------------------------------------


class Tqdm:
    """A tqdm bar. One that was passed is its owner's to close; one made of a passed class is closed here."""

    def __init__(self, given: Any, title: str) -> None:
        self._ours = isinstance(given, type)
        self._bar = given(desc=title, unit=" calls") if self._ours else given
        self._shown = 0

    def draw(self, now: Standing) -> None:
        if self._bar.total != now.total and now.total is not None:
            self._bar.total = now.total
            self._bar.refresh()
        done = now.done if now.taken is None else now.taken
        if done != self._shown:
            self._bar.update(done - self._shown)
            self._shown = done

    def close(self, now: Standing) -> None:
        self.draw(now)
        self._bar.refresh()
        if self._ours:
            self._bar.close()

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()
