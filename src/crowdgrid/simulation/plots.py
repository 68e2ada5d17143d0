"""Pictures of a run, PNG or SVG, with matplotlib where it is installed (extra `plots`).

The same run gives the same file: nothing in it is of the day it was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from crowdgrid.errors import BadInput
from crowdgrid.simulation.outcome import Outcome, Sample

FORMATS: Final = (".png", ".svg")
_HOUR_MS: Final = 3_600_000
_INCHES: Final = (8.0, 7.0)
# Told apart in print and by those who do not see all colours: M. Okabe and K. Ito, "Color universal design", 2008.
_BLUE, _ORANGE, _RED = "#0072b2", "#e69f00", "#d55e00"


def check(path: Path) -> None:
    """Raises BadInput when nothing can be drawn into such a file."""
    if path.suffix not in FORMATS:
        raise BadInput(f"{path} is neither {' nor '.join(FORMATS)}.", hint="Name the picture wait.png or wait.svg.")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise BadInput("Pictures need matplotlib.", hint="Install it: pip install 'crowdgrid[plots]'") from None


def draw(outcome: Outcome, title: str, path: Path) -> None:
    """Draw how a run went: tasks, nodes, wrong answers that stand, over virtual hours.

    Raises:
        BadInput: another kind of file, or no matplotlib, or the file cannot be written.
    """
    check(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "crowdgrid", "svg.fonttype": "none"}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
        samples = outcome.samples
        hours = [sample.at_ms / _HOUR_MS for sample in samples]
        figure.suptitle(f"{title}, seed {outcome.seed}")
        axes[0].step(hours, _row(samples, "leased"), where="post", color=_ORANGE, label="assignments leased")
        axes[0].step(hours, _row(samples, "settled"), where="post", color=_BLUE, label="tasks with an answer")
        axes[0].legend()
        axes[1].step(hours, _row(samples, "online"), where="post", color=_BLUE)
        axes[1].set_ylabel("nodes on")
        axes[2].step(hours, _row(samples, "wrong"), where="post", color=_RED)
        axes[2].set_ylabel("wrong answers\nthat stand")
        axes[2].set_xlabel("virtual time, h")
        for each in axes:
            each.set_ylim(bottom=0)
            each.grid(alpha=0.3)
        kind = path.suffix[1:]
        try:
            figure.savefig(path, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else {"Software": None})
        except OSError as error:
            raise BadInput(f"{path} cannot be written: {error.strerror}.") from None


def _row(samples: Sequence[Sample], name: str) -> list[int]:
    return [getattr(sample, name) for sample in samples]
