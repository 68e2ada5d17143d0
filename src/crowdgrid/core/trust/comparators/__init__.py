"""Port: when two results of one task are the same answer. One file a way; all of it pure.

    ../comparison.py    what a job may ask for; `check`
    exact, numeric, interval, unordered_lines      the ways
    text, npy, leaves, tolerance                   what `numeric` and `interval` read, and when numbers are close
    items.py       tasks of several runs: run by run
    closeness.py   from pairs that agree to the answer that wins

Results come from strangers who want to be believed. Invariants, each a test:

- Reflexive: results of the same outcome and digest agree, always, whatever is in them. A liar gains nothing by it: two
  liars with the same lie agree by any rule.
- Symmetric. Not transitive: `closeness` says what follows.
- Nothing but equal results agrees with a program's error, with what cannot be read, is over a limit, or was not fetched.
- No payload makes a comparison raise, recurse, or take more than linear time and a bounded amount of memory. It ends where
  the two first differ. An MiB of numbers in text takes about a second: where payloads are blobs this is done in a
  thread, and never by the engine itself.

`Program` is in the settings and not in the table: see there where it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from crowdgrid import limits
from crowdgrid.core.model import Outcome
from crowdgrid.core.trust.comparators import items
from crowdgrid.core.trust.comparators.closeness import Candidate, Choice, candidate, choose, classes, find_groups
from crowdgrid.core.trust.comparators.content import Content, content_of
from crowdgrid.core.trust.comparators.exact import Exact
from crowdgrid.core.trust.comparators.interval import Interval
from crowdgrid.core.trust.comparators.numeric import Numeric
from crowdgrid.core.trust.comparators.unordered_lines import UnorderedLines
from crowdgrid.core.trust.comparison import Comparison, check
from crowdgrid.errors import BadInput

__all__ = [
    "COMPARATORS",
    "Candidate",
    "Choice",
    "Comparator",
    "Comparison",
    "Content",
    "candidate",
    "check",
    "choose",
    "classes",
    "comparator",
    "content_of",
    "find_groups",
    "problem",
    "same",
]


class Comparator(Protocol):
    """One way to compare outputs of single runs. See the module's invariants."""

    def problem(self, payload: bytes, content: Content) -> str:
        """Empty when this output can agree with others, else one sentence for people on why only its equal does."""
        ...

    def agree(self, one: bytes, other: bytes, content: Content) -> bool:
        """Whether two outputs that are not the same bytes, each within `limits.COMPARED_BYTES`, agree."""
        ...


COMPARATORS: Final[Mapping[str, Callable[..., Comparator]]] = MappingProxyType(
    {"exact": Exact, "numeric": Numeric, "interval": Interval, "unordered_lines": UnorderedLines}
)
"""By the tag of the settings; called with their fields."""


def comparator(comparison: Comparison) -> Comparator:
    """The comparator a job asked for.

    Raises:
        BadInput: it is a submitter's own program, which is not for the engine to run.
    """
    name = str(comparison.__struct_config__.tag)
    if name not in COMPARATORS:
        raise BadInput("A submitter's own comparator is run by the hub, outside of the engine.")
    return COMPARATORS[name](**msgspec.structs.asdict(comparison))


def same(how: Comparator, one: Candidate, other: Candidate, *, content: Content, packed: bool) -> bool:
    """Whether two results of one task are the same answer.

    Args:
        how: the job's comparator. one, other: results that are answers; in either order.
        content: what the job's outputs are, by `content_of` its runtime.
        packed: the task's units are runs of their own (items, grids), so that answers come packed.
    """
    if one.outcome is not other.outcome or one.digest == other.digest:
        return one.outcome is other.outcome
    if one.outcome is not Outcome.OK or one.payload is None or other.payload is None:
        return False
    if packed:
        return items.agree(how, one.payload, other.payload, content)
    if max(len(one.payload), len(other.payload)) > limits.COMPARED_BYTES:
        return False
    return one.payload == other.payload or how.agree(one.payload, other.payload, content)


def problem(how: Comparator, payload: bytes, *, content: Content) -> str:
    """Empty when this output of one run can agree with others; else one sentence for people on why only its equal does."""
    if len(payload) > limits.COMPARED_BYTES and type(how) is not Exact:
        return f"The answer is over {limits.COMPARED_BYTES:,} bytes, so that only the same bytes agree."
    return how.problem(payload, content)
