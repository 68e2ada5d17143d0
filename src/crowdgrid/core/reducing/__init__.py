"""Port: how the answers of a job's tasks become one. One file a way; all of it pure.

A reducer is a fold over single outputs (what one run wrote to stdout). `fold`, `combine` and `answer` work on a
state in bytes, which the hub keeps as a cache for each closed block of tasks and may drop at any time: the
settled results are the truth.

Invariants, each a property test:

- `combine` is associative, with `empty()` as its neutral element, and
  `fold(s, a + b) == fold(fold(s, a), b) == combine(fold(s, a), fold(empty(), b))`, byte for byte.
- Where `keeps_state`, `combine` is commutative too, so the answer depends neither on the order of arrival nor on
  where blocks begin. Sums are exact until the one rounding of the answer; nothing is ever subtracted.
- Where not (`collect`, `concatenate`, `first`) the state would be as large as the outputs. Their answer is an
  ordered read and no partial is kept.
- `fold` is only given outputs that `accepts` let pass. What it did not is a failed run, left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from crowdgrid.core.reducing.answers import Answer, pack_answers, unpack_answers
from crowdgrid.core.reducing.collect import Collect
from crowdgrid.core.reducing.concatenate import Concatenate
from crowdgrid.core.reducing.count import Count
from crowdgrid.core.reducing.extremes import Maximum, Minimum
from crowdgrid.core.reducing.first import First
from crowdgrid.core.reducing.looking import Look, look
from crowdgrid.core.reducing.merge_counters import MergeCounters
from crowdgrid.core.reducing.sum import Sum
from crowdgrid.errors import BadInput

__all__ = [
    "REDUCERS",
    "Answer",
    "Look",
    "Reducer",
    "check",
    "look",
    "pack_answers",
    "unpack_answers",
]


class Reducer(Protocol):
    """One way to combine. See the module's invariants."""

    name: str
    keeps_state: bool
    takes_any: bool  # it can read every output: no use in asking it a thousand times a task

    def accepts(self, payload: bytes) -> str:
        """Empty when this output can be read, else one sentence for people on why not. Cheap: once a result."""
        ...

    def empty(self) -> bytes:
        """The state of no outputs."""
        ...

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        """The state with these outputs after it."""
        ...

    def combine(self, left: bytes, right: bytes) -> bytes:
        """The state of the left outputs followed by the right ones."""
        ...

    def answer(self, state: bytes) -> object:
        """What the submitter gets: bytes, or something JSON can say (integers may be of any size)."""
        ...


REDUCERS: Final[Mapping[str, Reducer]] = MappingProxyType(
    {
        reducer.name: reducer
        for reducer in (
            Collect(),
            Concatenate(),
            Count(),
            First(),
            Maximum(),
            MergeCounters(),
            Minimum(),
            Sum(),
        )
    }
)


def check(name: str) -> None:
    """Raises BadInput when there is no reducer of this name."""
    if name not in REDUCERS:
        raise BadInput(f"There is no way to combine called {name!r}.", hint=f"Use one of {', '.join(REDUCERS)}.")
