"""Count: how many lines the outputs have that are not blank.

Lines, not outputs: how many outputs there are depends on how the job was cut (a range's pieces are sized for
whoever asked), how many lines its programs printed does not. It is what `concatenate` piped into
`grep -c '[^[:space:]]'` says. A program that prints one answer to a line is counted by answers.
"""

from __future__ import annotations

from collections.abc import Iterable

from crowdgrid.core.reducing import numbers


class Count:
    """State: the number in ASCII digits."""

    name = "count"
    keeps_state = True
    takes_any = True

    def accepts(self, payload: bytes) -> str:
        return ""

    def empty(self) -> bytes:
        return b"0"

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        return b"%d" % (_read(state) + sum(_lines(payload) for payload in payloads))

    def combine(self, left: bytes, right: bytes) -> bytes:
        return b"%d" % (_read(left) + _read(right))

    def answer(self, state: bytes) -> object:
        return _read(state)


def _lines(payload: bytes) -> int:
    return sum(1 for line in payload.split(b"\n") if line.strip())


def _read(state: bytes) -> int:
    if not state.isdigit() or len(state) > 40:
        raise numbers.damaged()
    return int(state)
