"""The input of `crowdgrid map`: lines of a file or a pipe, or a range of integers, each made into a call.

Lines are read as the grid takes them, never far ahead, so a pipe may go on for ever. What cannot be used is said with
the number of its line, and then nothing after it is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

from crowdgrid import limits
from crowdgrid.client.splits import Range
from crowdgrid.errors import BadInput, TooLarge

Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
SHOWN_CHARS: Final = 60


class Calls(NamedTuple):
    """The calls to make. `total`: how many, if that is known beforehand."""

    each: Iterator[Call]
    total: int | None = None


class Form(NamedTuple):
    """How a line of JSON becomes arguments.

    Attributes:
        star: a list is the positional arguments. kwargs: an object is the keyword arguments.
        fields: those of an object, in this order, are the positional arguments.
        constants: keyword arguments of every call.
    """

    star: bool = False
    kwargs: bool = False
    fields: Sequence[str] = ()
    constants: dict[str, Any] = {}

    def call(self, value: Any) -> Call:
        """The call. Raises BadInput with the end of a sentence about the line."""
        if self.star:
            if not isinstance(value, list):
                raise BadInput("is no list", hint="With --star each line is a list of arguments, like [1, 2].")
            return tuple(value), self.constants
        if (self.kwargs or self.fields) and not isinstance(value, dict):
            raise BadInput("is no object", hint='With --kwargs and --field each line is like {"x": 1, "bias": 2}.')
        if self.kwargs:
            return (), {**self.constants, **value}
        if self.fields:
            try:
                return tuple(value[name] for name in self.fields), self.constants
            except KeyError as error:
                raise BadInput(f"has no field {error.args[0]!r}", hint=f"It has {', '.join(value)[:200]}.") from None
        return (value,), self.constants


def of_range(numbers: Range, form: Form) -> Calls:
    """A call for each integer."""
    if numbers.stop < numbers.start:
        raise BadInput(f"The range {numbers.start}:{numbers.stop} ends before it starts.")
    count = numbers.stop - numbers.start
    return Calls((((number,), form.constants) for number in range(numbers.start, numbers.stop)), count)


def of_json(source: str, form: Form) -> Calls:
    """A call for each line of JSON in a file; blank lines are passed over."""
    return Calls(_each(_lines(source), source, lambda line: form.call(_json(line)), blank=False))


def of_text(source: str, form: Form) -> Calls:
    """A call for each line of text in a file."""
    return Calls(_each(_lines(source), source, lambda line: ((_text(line),), form.constants), blank=True))


def _each(
    lines: Generator[bytes, None, None], source: str, make: Callable[[bytes], Call], *, blank: bool
) -> Iterator[Call]:
    with closing(lines):
        for number, line in enumerate(lines, 1):
            if not blank and not line.strip():
                continue
            try:
                call = make(line)
            except BadInput as error:
                called = "standard input" if source == "-" else Path(source).name
                raise BadInput(f"Line {number:,} of {called} {error.message}.", hint=error.hint) from None
            yield call


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise BadInput("is too deep", hint="Lists in lists without end are no arguments.") from None
    except ValueError as error:
        shown = line.decode(errors="replace").strip()
        shown = shown if len(shown) <= SHOWN_CHARS else shown[: SHOWN_CHARS - 1] + "…"
        raise BadInput(
            f"is no JSON ({error}): {shown}", hint="Each line is one JSON value; for lines of text there is --lines."
        ) from None


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"is no UTF-8 text ({error.reason} at byte {error.start})") from None


def _lines(source: str) -> Generator[bytes, None, None]:
    """The lines of a file, without their ends. Raises BadInput at once when it cannot be read."""
    try:
        file = standard_input() if source == "-" else Path(source).open("rb")  # noqa: SIM115 — `_read` closes it
    except OSError as error:
        raise BadInput(f"The file {source!r} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    return _read(file, source)


def standard_input() -> IO[bytes]:
    """Standard input for a thread that reads it.

    Not `sys.stdin`: whoever waits for its next line holds a lock that Python wants at its end, which is then fatal.
    """
    return open(0, "rb", closefd=False)


def _read(file: IO[bytes], source: str) -> Generator[bytes, None, None]:
    with file:
        try:
            while line := file.readline(limits.ITEM_BYTES):
                if len(line) == limits.ITEM_BYTES:
                    raise TooLarge(f"A line of {source!r} has more than {limits.ITEM_BYTES:,} bytes.")
                yield line.removesuffix(b"\n").removesuffix(b"\r")
        except OSError as error:
            raise BadInput(f"{source!r} cannot be read on: {(error.strerror or str(error)).lower()}.") from None
