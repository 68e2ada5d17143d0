"""How a job's standing is said to people, in the terminal, in a notebook and in logs."""

from __future__ import annotations

from typing import Final

from crowdgrid.core.model import Counts
from crowdgrid.errors import printable

__all__ = ["doing", "failed", "of", "one_line", "printable", "span"]

_SPANS: Final = ((48 * 3600, 86_400, "d", 3600, "h"), (7200, 3600, "h", 60, "min"), (120, 60, "min", 1, "s"))


def one_line(text: str, length: int = 80) -> str:
    """Somebody else's words as one short line."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= length else line[: length - 1] + "…"


def span(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for least, large, large_unit, small, small_unit in _SPANS:
        if seconds >= least:
            whole = int(seconds)
            return f"{whole // large} {large_unit} {whole % large // small} {small_unit}"
    return f"{seconds:.0f} s"


def doing(counts: Counts) -> str:
    """What goes on: "4 tasks running, 2 errors"."""
    if counts.in_progress:
        said = f"{counts.in_progress:,} task{'s' * (counts.in_progress > 1)} running"
    else:
        said = "waiting for a node" if counts.units_done < counts.units else ""
    return ", ".join(part for part in (said, failed(counts)) if part)


def failed(counts: Counts) -> str:
    """What went wrong so far: "2 errors, 1 task given up"; empty for nothing."""
    errors = f"{counts.errors:,} error{'s' * (counts.errors > 1)}" if counts.errors else ""
    lost = f"{counts.abandoned:,} task{'s' * (counts.abandoned > 1)} given up" if counts.abandoned else ""
    return ", ".join(part for part in (errors, lost) if part)


def of(done: int, total: int | None) -> str:
    """So much of so much: "1,000 of 10,000"."""
    return f"{done:,} of {total:,}" if total is not None else f"{done:,}"
