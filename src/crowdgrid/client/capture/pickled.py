"""Makes a program of a function by cloudpickle, for machines that trust one another.

Here too the source of truth is what the function is now. Whether it has changed is told by what it refers to, where that
could be captured as source too; otherwise it is pickled again and compared.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crowdgrid.client.capture.watching import Watch
from crowdgrid.errors import CannotTravel
from crowdgrid.protocol.functions import FunctionProgram, pack
from crowdgrid.protocol.pickles import dumps

if TYPE_CHECKING:
    from crowdgrid.client.capture import Captured


def capture_pickled(
    fn: Callable[..., Any],
    name: str,
    environment: str,
    paths: tuple[str, ...],
    first: functools.partial[Any] | None,
) -> Captured:
    """See `capture`; `first` is the initializer with its arguments. Raises CannotTravel."""
    from crowdgrid.client.capture import Captured

    def pickled() -> tuple[bytes, bytes]:
        return _pickled(fn, name), b"" if first is None else _pickled(first, "The initializer")

    body, initial = pickled()
    program = FunctionProgram("pickle", name, sys.version_info[:2], body, environment, paths, initial)
    watches = _watches([fn] if first is None else [fn, first], name)
    if watches is None:
        return Captured(pack(program), body, (), lambda: (body, initial) == pickled())
    return Captured(pack(program), body, (), lambda: all(watch.unchanged() for watch in watches))


def _watches(functions: list[Callable[..., Any]], name: str) -> list[Watch] | None:
    """What tells whether they changed; None: nothing cheaper than pickling them again."""
    from crowdgrid.client.capture import collected

    try:
        return [collected(fn, name)[0].watch for fn in functions]
    except CannotTravel:
        return None


def _pickled(fn: Callable[..., Any], name: str) -> bytes:
    try:
        return dumps(fn)
    except Exception as error:
        raise CannotTravel(
            f"{name} cannot be pickled: {error}.", hint="Make what it captures inside the function."
        ) from error
