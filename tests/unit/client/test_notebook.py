"""What a notebook shows is safe, can be read without colours, and moves in the cell that waits."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from crowdgrid.client import notebook, progress
from crowdgrid.client.functions import function
from crowdgrid.client.notebook import Card, NotebookBar
from crowdgrid.client.progress import Standing, showing
from tests.unit.client.test_progress import job

HOSTILE = '<script>alert("x")</script><img src=x onerror=y>\x1b[31m'


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(html: str) -> Tags:
    found = Tags(html)
    assert found.open == [], "every element is closed"
    return found


CARD = Card(
    HOSTILE, (("name", HOSTILE), ("count", 1_234_567), ("empty", "")), (5, 10), (HOSTILE, "b"), ((HOSTILE, 2),), ("x",)
)


def test_what_others_named_is_text() -> None:
    """A job, a node or an error may be called anything."""
    page = seen(CARD.bundle()["text/html"])
    assert {tag for tag, _ in page.tags} <= {
        "div", "strong", "progress", "table", "thead", "tbody", "tr", "th", "td", "p", "code",
    }  # fmt: skip
    assert not any(name.startswith("on") or name in {"src", "href"} for _, attrs in page.tags for name in attrs)
    assert 'alert("x")' in page.text
    assert "\x1b" not in "".join(CARD.bundle().values())


def test_it_is_read_without_colours_and_aloud() -> None:
    """Headings of rows and columns are marked, the bar has a name and says its numbers, and no colour is set."""
    html = CARD.html()
    page = seen(html)
    scopes = [attrs.get("scope") for tag, attrs in page.tags if tag == "th"]
    assert scopes == ["row", "row", "col", "col"]
    (bar,) = [attrs for tag, attrs in page.tags if tag == "progress"]
    assert (bar["value"], bar["max"], bool(bar["aria-label"])) == ("5", "10", True)
    assert "5 of 10" in page.text
    assert "color" not in html
    assert "background" not in html


def test_a_console_shows_the_same_as_lines() -> None:
    text = Card(
        "Job j", (("done", 1_000), ("why", "")), (1, 2), ("call", "error"), ((7, "bad"),), ("job.why()",)
    ).text()
    assert text == "Job j\n  done  1,000\n\n  call  error\n  7     bad\n  go on: job.why()"


def test_a_function_shows_how_to_call_it() -> None:
    @function(timeout=5)
    def square(x, bias=0):  # type: ignore[no-untyped-def]
        """The square of x.

        And more.
        """
        return x * x + bias

    told = square._repr_mimebundle_()
    assert told["text/plain"].startswith("Function square(x, bias=0)\n  about    The square of x.\n")
    assert "options  timeout=5\n" in told["text/plain"]
    assert "square.map(items)" in told["text/html"]
    assert "Function len(obj, /)" in function(len)._repr_mimebundle_()["text/plain"]


# --- progress in a cell --------------------------------------------------------------------------


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """IPython, as a notebook's kernel has it."""
    started = InteractiveShell.instance()
    started.kernel = object()  # type: ignore[attr-defined]
    yield started
    InteractiveShell.clear_instance()


def test_a_notebook_is_told_from_a_console(shell: Any) -> None:
    assert progress.in_notebook()
    del shell.kernel
    assert not progress.in_notebook()


def test_progress_moves_in_the_cell_that_waits(shell: InteractiveShell) -> None:
    """One picture that changes, not one below the other; nothing where nothing changed."""
    with capture_output() as cell:
        bar = NotebookBar("squares")
        for done in (1, 1, 2):
            counts = job(units=2, units_done=done).info.counts
            bar.draw(Standing(done, 2, None, counts))
    assert [shown.update for shown in cell.outputs] == [False, True]
    assert len({shown.transient["display_id"] for shown in cell.outputs}) == 1
    assert cell.outputs[0].data["text/plain"] == "squares: 1 of 2 · waiting for a node"
    assert 'value="2" max="2"' in cell.outputs[1].data["text/html"]
    assert cell.stderr == ""


def test_whoever_waits_in_a_notebook_sees_it(shell: InteractiveShell) -> None:
    with capture_output() as cell, showing("squares", True, job(units=2, units_done=2)):
        pass
    assert "2 of 2" in cell.outputs[-1].data["text/plain"]


def test_while_the_end_is_not_known_the_bar_does_not_say_one() -> None:
    page = seen(notebook.bar_html("x", 5, None))
    assert page.tags == [("progress", {"aria-label": "x"})]
    assert page.text == "5"
