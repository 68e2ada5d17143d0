"""How a job's input is given: a range, items, lines, or every combination of some parameters.

Each knows the split the grid is told (`spec`) and, for items and lines, where the bytes come from (`feed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from crowdgrid.core import model
from crowdgrid.errors import BadInput


@dataclass(frozen=True, slots=True)
class Range:
    """The integers start … stop − 1; the program gets `START STOP` as its last arguments.

    Args:
        piece: integers in one task; 0 lets the grid choose by the speed of the node that asks.
    """

    start: int
    stop: int
    piece: int = 0

    @property
    def spec(self) -> model.Split:
        """What the grid is told."""
        return model.Range(self.start, self.stop, self.piece)

    def feed(self) -> Iterator[bytes] | None:
        """There is nothing to append."""
        return None


@dataclass(frozen=True, slots=True)
class Items:
    """One run of the program for each item, which it gets on stdin. Text is sent as UTF-8.

    Args:
        source: read lazily, on a thread of its own, while the job already runs.
        piece: items in one task; 0 lets the grid choose.
    """

    source: Iterable[bytes | str]
    piece: int = 0

    @property
    def spec(self) -> model.Split:
        """What the grid is told."""
        return model.Items(self.piece)

    def feed(self) -> Iterator[bytes]:
        """The items as bytes."""
        return _as_bytes(self.source, "item")


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of text, many of them on stdin of one run.

    Args:
        source: a file's path, or the lines themselves. Read lazily while the job already runs.
        piece: lines in one task; 0 lets the grid choose.
    """

    source: str | PathLike[str] | Iterable[bytes | str]
    piece: int = 0

    @property
    def spec(self) -> model.Split:
        """What the grid is told."""
        return model.Lines(self.piece)

    def feed(self) -> Iterator[bytes]:
        """The lines without their ends. Raises BadInput when there is no such file."""
        if isinstance(self.source, str | PathLike):
            return _lines_of(Path(self.source))
        return (line.removesuffix(b"\n") for line in _as_bytes(self.source, "line"))


class ParameterGrid:
    """One run for every combination of the values; the program gets `--name value` for each axis.

    `ParameterGrid(rate=[0.1, 0.2], depth=range(3))` has six combinations, the last axis fastest.
    """

    __slots__ = ("axes", "piece")

    def __init__(self, *, piece: int = 0, **axes: Iterable[object]) -> None:
        self.axes = tuple((name, tuple(str(value) for value in values)) for name, values in axes.items())
        self.piece = piece

    @property
    def spec(self) -> model.Split:
        """What the grid is told."""
        return model.Grid(self.axes, self.piece)

    def feed(self) -> Iterator[bytes] | None:
        """There is nothing to append."""
        return None


Split: TypeAlias = Range | Items | Lines | ParameterGrid


def one_of(
    split: Split | None, items: Iterable[bytes | str] | None, lines: str | PathLike[str] | Iterable[bytes | str] | None
) -> Split:
    """The one way that was given. Raises BadInput when there is none, or more than one."""
    given: list[Split] = [split] if split is not None else []
    given += [Items(items)] if items is not None else []
    given += [Lines(lines)] if lines is not None else []
    if len(given) != 1:
        raise BadInput(
            "A job needs exactly one input: split=, items= or lines=.",
            hint="For example split=crowdgrid.Range(0, 10**6).",
        )
    if not isinstance(given[0], Split):
        raise BadInput(f"split= is a {type(given[0]).__name__}.", hint="Give a Range, Items, Lines or ParameterGrid.")
    return given[0]


def _as_bytes(source: Iterable[bytes | str], what: str) -> Iterator[bytes]:
    if isinstance(source, bytes | str):
        raise BadInput(f"The {what}s are one {type(source).__name__}.", hint=f"Put it into a list: [{what}].")
    return (_encoded(value, what, at) for at, value in enumerate(source))


def _encoded(value: object, what: str, at: int) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise BadInput(
        f"{what.capitalize()} {at} is of type {type(value).__name__}; a program reads bytes or text on stdin.",
        hint="Encode it, for example with json.dumps.",
    )


def _lines_of(path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"The file {str(path)!r} cannot be read: {(error.strerror or str(error)).lower()}.") from None

    def read() -> Iterator[bytes]:
        with file:
            for line in file:
                yield line.removesuffix(b"\n")

    return read()


def axes_of(words: Sequence[str]) -> ParameterGrid:
    """The grid in `name=v1,v2 other=v3`. Raises BadInput."""
    axes: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not name or name in axes:
            raise BadInput(f"{word!r} is no axis.", hint="Write each axis once, like --grid rate=0.1,0.2.")
        axes[name] = values.split(",")
    found = ParameterGrid()
    found.axes = tuple((name, tuple(values)) for name, values in axes.items())
    return found
