"""Tasks of items and grids: their answers come packed, one a run, and agree when each run's answers do.

A run that failed is known by the sentence about it, which names its exit code or exception; what else a node says of
a failure (a traceback, the end of its output) differs between machines that agree, as in `packing.answer_digest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crowdgrid import limits
from crowdgrid.core.reducing.answers import Answer, unpack_answers
from crowdgrid.core.trust.comparators.content import Content
from crowdgrid.errors import BadInput

if TYPE_CHECKING:
    from crowdgrid.core.trust.comparators import Comparator


def agree(comparator: Comparator, one: bytes, other: bytes, content: Content) -> bool:
    """Whether two packed answers agree, run by run; not when one of them cannot be read or has more runs.

    Of the answers that are not the same bytes, `limits.COMPARED_BYTES` are looked at together.
    """
    differing = differences(one, other)
    if differing is None or sum(len(a) + len(b) for a, b in differing) > 2 * limits.COMPARED_BYTES:
        return False
    return all(comparator.agree(a, b, content) for a, b in differing)


def differences(one: bytes, other: bytes) -> list[tuple[bytes, bytes]] | None:
    """The outputs of runs that came to different ones; None when the two cannot agree whatever these are."""
    try:
        ones, others = unpack_answers(one), unpack_answers(other)
    except BadInput:
        return None
    if len(ones) != len(others) or not all(map(_same_end, ones, others)):
        return None
    return [(a.data, b.data) for a, b in zip(ones, others) if a.ok and a.data != b.data]


def _same_end(one: Answer, other: Answer) -> bool:
    return one.ok == other.ok and (one.ok or one.error == other.error)
