"""A submitter's own comparator, in two steps, because running it is work and comparing is not.

`Collecting` takes part in a comparison in the place of a comparator and notes which outputs would have to be told
apart; somebody runs the program on them; `Told` takes part in the same comparison and knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crowdgrid.core.trust.comparators.content import Content


class Collecting:
    """Notes the pairs of outputs it is asked about, and says that they agree, so as to be asked about all."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[bytes, bytes], None] = {}

    @property
    def pairs(self) -> Iterable[tuple[bytes, bytes]]:
        """Each once, in the order they were asked about."""
        return self._pairs

    def problem(self, payload: bytes, content: Content) -> str:
        return ""

    def agree(self, one: bytes, other: bytes, content: Content) -> bool:
        self._pairs[one, other] = None
        return True


class Told:
    """Which pairs the program said are the same."""

    def __init__(self, verdicts: Mapping[tuple[bytes, bytes], bool]) -> None:
        self._verdicts = verdicts

    def problem(self, payload: bytes, content: Content) -> str:
        return ""

    def agree(self, one: bytes, other: bytes, content: Content) -> bool:
        return self._verdicts.get((one, other), False)
