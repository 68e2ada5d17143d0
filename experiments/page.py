"""The pages under `docs/experiments/`: what is written by hand stays, what was measured is put between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = ROOT / "docs" / "experiments"
BEGIN, END = "<!-- measured: written by `{command}` -->", "<!-- end of what was measured -->"
# Told apart in print and by those who do not see all colours: M. Okabe and K. Ito, "Color universal design", 2008.
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#000000")


def command(name: str) -> str:
    return f"python -m experiments {name}"


def put(name: str, parts: Sequence[str]) -> None:
    """Replace what was measured on the page of this experiment.

    Raises:
        ValueError: the page has no place for it.
    """
    path = PAGES / f"{name}.md"
    begin = BEGIN.format(command=command(name))
    before, mark, rest = path.read_text().partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{path.name} lacks the lines {begin!r} and {END!r}.")
    path.write_text(before + begin + "\n\n" + "\n\n".join(parts) + "\n\n" + END + after)


def picture(name: str, figure: Figure, about: str) -> str:
    """Keep a picture beside the page; gives the line that shows it. The same figures give the same file."""
    figure.savefig(PAGES / f"{name}.svg", format="svg", metadata={"Date": None})
    return f"![{about}]({name}.svg)"


def canvas(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (8.0, 4.0)) -> tuple[Figure, list[Axes]]:
    """An empty picture with its axes, row by row."""
    mpl.rcParams.update({"svg.hashsalt": "crowdgrid", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=size, layout="constrained")
    axes = [figure.add_subplot(rows, columns, at + 1) for at in range(rows * columns)]
    for each in axes:
        each.grid(alpha=0.3)
        each.set_axisbelow(True)
    return figure, axes
