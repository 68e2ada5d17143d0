"""The program behind single calls among machines of one's own: the function travels with each call.

So an executor has one open job however many functions it is given, and a worker keeps the functions it has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from crowdgrid.protocol import pickles

FUNCTIONS_KEPT: Final = 256


def apply(function: bytes, /, *args: Any, **kwargs: Any) -> Any:
    """Call a pickled function. Raises what it raises, and what reading it raises."""
    return _function(function)(*args, **kwargs)


@lru_cache(maxsize=FUNCTIONS_KEPT)
def _function(pickled: bytes) -> Callable[..., Any]:
    from crowdgrid.runtimes.rebuild import beginnings  # the client imports this module too, and never calls it

    found: Callable[..., Any] = pickles.loads(pickled)
    beginnings.share(found)
    return found
