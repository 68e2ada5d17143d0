"""Progress is seen where somebody looks, and nowhere else; and whatever happens to the screen, the work goes on."""

from __future__ import annotations

import itertools
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import length_hint
from typing import Any

import pytest
from msgspec.structs import replace
from tqdm import tqdm

from crowdgrid.client import saying
from crowdgrid.client.functions import InStep
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.progress import Standing, Watch, showing
from crowdgrid.core.model import Counts, Items, JobSpec
from crowdgrid.protocol import messages as m

INFO = m.JobInfo("j", "", "o", "", "open", False, "", 0, 0, 0, Counts(), JobSpec("0" * 64, Items()))


def job(state: str = "sealed", **counts: int) -> JobLink:
    """A job as the hub told of it last."""
    return JobLink(None, replace(INFO, state=state, counts=Counts(**counts)))  # type: ignore[arg-type]


def tell(known: JobLink, state: str = "sealed", **counts: int) -> None:
    known.info = replace(known.info, state=state, counts=Counts(**counts))


class Seen:
    """A display that remembers."""

    def __init__(self) -> None:
        self.drawn: list[Standing] = []
        self.last: Standing | None = None
        self.once = threading.Event()

    def draw(self, now: Standing) -> None:
        self.drawn.append(now)
        self.once.set()

    def close(self, now: Standing) -> None:
        self.last = now

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield


# --- a watch -------------------------------------------------------------------------------------


def test_what_is_quick_shows_nothing() -> None:
    """Unasked, a bar is for those who wait."""
    made: list[Seen] = []

    def make() -> Seen:
        made.append(Seen())
        return made[0]

    with Watch(make, job(units=5, units_done=5), after=3600):
        pass
    assert made == []


def test_a_job_that_stands_still_is_seen_to_stand_still() -> None:
    """The bar is there before anything was done, and its last picture is the job's last."""
    seen, known = Seen(), job(units=10, in_queue=1)
    with Watch(lambda: seen, known):
        assert seen.once.wait(30)
        tell(known, "final", units=10, units_done=10)
    assert seen.drawn[0].said == "waiting for a node"
    assert seen.last == Standing(10, 10, None, known.info.counts)


def test_how_many_there_will_be_is_said_once_the_input_was_read_or_was_known() -> None:
    """While input comes in, what was read so far is not all of it."""
    known = job("open", units=10, units_done=10)
    assert Watch(Seen, known)._now().total is None
    assert Watch(Seen, known, total=500)._now().total == 500
    tell(known, "sealed", units=20, units_done=10)
    assert Watch(Seen, known, total=500)._now().total == 20


def test_results_nobody_took_yet_are_said() -> None:
    """With a slow taker the grid is done long before they are."""
    known = job("final", units=10, units_done=10)
    with Watch(Seen, known, taken=0, after=3600) as watch:
        watch.moved(4)
        assert watch._now().said == "6 results waiting"


@pytest.mark.parametrize("where", ["draw", "close", "make"])
def test_a_screen_that_breaks_breaks_nothing(where: str) -> None:
    """A terminal can be closed under a job that takes a night."""
    tried = threading.Event()

    class Broken(Seen):
        def __init__(self) -> None:
            super().__init__()
            self._fail("make")

        def draw(self, now: Standing) -> None:
            tried.set()
            self._fail("draw")

        def close(self, now: Standing) -> None:
            self._fail("close")

        def _fail(self, at: str) -> None:
            if at == where:
                tried.set()
                raise OSError("the terminal is gone")

    with Watch(Broken, job(units=10)):
        assert tried.wait(30)


# --- what is wanted ------------------------------------------------------------------------------


def test_in_a_pipe_nothing_is_shown_unasked_and_a_line_if_asked(capfd: pytest.CaptureFixture[str]) -> None:
    known = job(units=2_000, units_done=1_000, in_progress=1, errors=2)
    for wanted, told in (
        (None, ""),
        (False, ""),
        (True, "squares: 1,000 of 2,000 done (1 task running, 2 errors, 1,000 results waiting)\n"),
    ):
        with showing("squares", wanted, known):
            pass
        assert capfd.readouterr() == ("", told)


@pytest.mark.parametrize("stream", ["none", "closed"])
def test_without_standard_error_nothing_is_shown(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console has none, and some close it."""
    with open(os.devnull, "w", encoding="utf-8") as closed:  # noqa: PTH123
        pass
    monkeypatch.setattr(sys, "stderr", None if stream == "none" else closed)
    for wanted in (None, True):
        with showing("squares", wanted, job(units=2)) as moved:
            moved(1)


def test_a_function_gets_the_counters_when_they_moved() -> None:
    seen: list[int] = []
    known = job(units=3)
    with showing("squares", lambda counts: seen.append(counts.units_done), known) as moved:
        moved(1)
        moved(2)
        tell(known, units=3, units_done=3)
        moved(3)
    assert seen == [0, 3]


def test_what_a_function_of_the_callers_raises_is_the_callers() -> None:
    def fails(_: Counts) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), showing("squares", fails, job(units=3)) as moved:
        moved(1)


def test_a_tqdm_class_makes_a_bar_and_closes_it(capfd: pytest.CaptureFixture[str]) -> None:
    with showing("squares", tqdm, job(units=7, units_done=7)) as moved:
        moved(7)
    told = capfd.readouterr().err
    assert "squares: 100%" in told
    assert "7/7" in told


def test_a_tqdm_bar_is_moved_and_left_to_its_owner() -> None:
    """It shows what was taken, of as many as there are known to be."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, tqdm(file=nowhere) as bar:  # noqa: PTH123
        known = job("open", units=5, units_done=5)
        with showing("squares", bar, known) as moved:
            moved(3)
        assert (bar.n, bar.total, bar.disable) == (3, None, False)
        tell(known, "final", units=5, units_done=5)
        bar.reset()
        with showing("squares", bar, known) as moved:
            moved(5)
        assert (bar.n, bar.total) == (5, 5)


# --- a real terminal -----------------------------------------------------------------------------

_PROGRAM = """
import sys, threading
from crowdgrid.client import progress
from crowdgrid.client.progress import showing
from tests.unit.client.test_progress import job, tell
progress.APPEAR_SECONDS = 0.0
drawn = threading.Event()
draw = progress.SCREEN.draw
progress.SCREEN.draw = lambda *of: (draw(*of), drawn.set())
"""


def on_terminal(program: str, **environ: str) -> tuple[str, str]:
    """(what appeared on the terminal, what was written to standard output) by a program whose stderr is a terminal."""
    there, here = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM + program],
        stdout=subprocess.PIPE,
        stderr=here,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160", **environ},
    ) as running:
        os.close(here)
        screen = b""
        try:
            while piece := os.read(there, 4096):
                screen += piece
        except OSError:  # the other end of a terminal is gone
            pass
        out = running.communicate(timeout=60)[0]
    os.close(there)
    assert running.returncode == 0, screen.decode()
    return screen.decode(), out.decode()


def test_on_a_terminal_there_is_a_bar() -> None:
    screen, _ = on_terminal("""
with showing("squares [bold]", None, job(units=2000, units_done=1000, in_progress=3)):
    drawn.wait(30)
""")
    assert "squares [bold]" in screen
    assert "1,000 of 2,000" in screen
    assert "3 tasks running" in screen
    assert screen.count("━") > 10


def test_what_is_printed_meanwhile_goes_where_it_was_to_go() -> None:
    """A bar on the terminal must not catch what is piped elsewhere."""
    screen, out = on_terminal("""
with showing("squares", None, job(units=2)):
    drawn.wait(30)
    print("a result")
""")
    assert out == "a result\n"
    assert "a result" not in screen


def test_two_bars_are_one_picture() -> None:
    """Two pictures would draw over one another."""
    screen, _ = on_terminal("""
with showing("outer", None, job(units=2)), showing("inner", None, job(units=3)):
    while len(progress.SCREEN._progress.tasks if progress.SCREEN._progress else ()) < 2:
        drawn.clear()
        drawn.wait(30)
""")
    assert screen.rindex("outer") < screen.rindex("inner")
    assert screen.count("\x1b[?25h") == 1, "the cursor came back once, when the last bar was finished"


def test_a_bar_steps_aside_for_other_words() -> None:
    screen, _ = on_terminal("""
with progress.Watch(lambda: progress.Terminal("squares", 0.0), job(units=2)) as watch:
    drawn.wait(30)
    with watch.aside():
        print("words", file=sys.stderr)
""")
    assert "words\r\n" in screen
    assert "\x1b[2K" in screen[: screen.index("words")], "the bar was wiped away first"


def test_a_terminal_that_cannot_move_its_cursor_gets_no_bar() -> None:
    screen, _ = on_terminal("""
with showing("squares", None, job(units=2)):
    pass
""", TERM="dumb")  # fmt: skip
    assert screen == ""


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (Counts(units=5, units_done=5), ""),
        (Counts(units=5), "waiting for a node"),
        (Counts(units=5, in_progress=1), "1 task running"),
        (Counts(units=5, in_progress=1_000, errors=1), "1,000 tasks running, 1 error"),
        (Counts(units=5, units_done=5, errors=2, abandoned=1), "2 errors, 1 task given up"),
    ],
)
def test_what_goes_on_is_said_in_words(counts: Counts, said: str) -> None:
    assert saying.doing(counts) == said


def test_what_others_named_is_one_harmless_line() -> None:
    assert saying.one_line("a\n\tb\x1b[31m") == "a b\ufffd[31m"
    assert saying.one_line("x" * 100, 10) == "x" * 9 + "…"


# --- how much there will be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iterables", "known"),
    [
        ((range(10**6),), 10**6),
        (([1, 2], range(5)), 2),
        ((itertools.count(), [1, 2]), -1),
        ((range(2**70),), -1),
    ],
)
def test_how_many_there_will_be_is_known_before_they_are_read(iterables: tuple[Any, ...], known: int) -> None:
    """A bar over a million elements can tell how much is left from the start."""
    assert length_hint(InStep(iterables), -1) == known


def test_elements_in_step_are_those_of_zip() -> None:
    assert list(InStep(([1, 2, 3], "ab"))) == [(1, "a"), (2, "b")]
