"""Makes a program of a function by cloudpickle, for machines that trust one another.

Here too the source of truth is what the function is now: it is pickled again to see whether it has changed, unless
all of it is a name in an importable module.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
    return Captured(pack(program), (), lambda: (body, initial) == pickled())


def _pickled(fn: Callable[..., Any], name: str) -> bytes:
    try:
        return dumps(fn)
    except Exception as error:
        raise CannotTravel(
            f"{name} cannot be pickled: {error}.", hint="Make what it captures inside the function."
        ) from error
