"""One run as one line: what a failing run prints, what the regression file keeps, what the terminal takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from crowdgrid.errors import BadInput


class Line(NamedTuple):
    """A scenario (a name or a file), a seed, and the keys of it that are changed."""

    scenario: str
    seed: int
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [self.scenario, "--seed", str(self.seed)]
        for change in self.changes:
            words += ["--set", change]
        return f"crowdgrid simulate {shlex.join(words)}"


def parse(text: str) -> Line:
    """The line again. Raises BadInput."""
    words = shlex.split(text, comments=True)
    if words[:2] == ["crowdgrid", "simulate"]:
        words = words[2:]
    scenario, seed, changes = "", 0, []
    try:
        rest = iter(words)
        for word in rest:
            if word == "--seed":
                seed = int(next(rest))
            elif word == "--set":
                changes.append(next(rest))
            elif word.startswith("-") or scenario:
                raise ValueError(word)
            else:
                scenario = word
    except (ValueError, StopIteration):
        scenario = ""
    if not scenario:
        raise BadInput(f"{text!r} is not a run: write crowdgrid simulate SCENARIO --seed N [--set KEY=VALUE …].")
    return Line(scenario, seed, tuple(changes))


def lines_in(text: str) -> Iterator[Line]:
    """Those of a file: one a line, `#` begins a comment."""
    for line in text.splitlines():
        if line.partition("#")[0].strip():
            yield parse(line)
