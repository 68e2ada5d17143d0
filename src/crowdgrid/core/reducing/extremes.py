"""Minimum and maximum: each output is one decimal number; the smallest or largest is the answer.

Numbers are compared exactly. Of equal ones written differently (`2`, `2.0`) the integer is kept, so that the
answer does not depend on which came first. With no outputs the answer is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from crowdgrid.core.reducing import numbers
from crowdgrid.core.reducing.numbers import EXACT, Number

NONE: Final = b""
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Number)


class _Extreme:
    """State: the best number so far as `Number` without trailing zeros, or nothing."""

    name = ""
    keeps_state = True
    takes_any = False
    _sign = 0  # 1: larger is better, -1: smaller

    def accepts(self, payload: bytes) -> str:
        return numbers.problem(payload)

    def empty(self) -> bytes:
        return NONE

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        best: tuple[Decimal, bool] | None = None
        for payload in payloads:
            found = (numbers.parse(payload), numbers.is_integer(payload))
            if best is None or self._better(found, best):
                best = found
        return state if best is None else self.combine(state, _write(*best))

    def combine(self, left: bytes, right: bytes) -> bytes:
        if not left or not right:
            return left or right
        one, other = _read(left), _read(right)
        return right if self._better((other.value, other.integer), (one.value, one.integer)) else left

    def answer(self, state: bytes) -> object:
        return numbers.as_answer(_read(state)) if state else None

    def _better(self, new: tuple[Decimal, bool], old: tuple[Decimal, bool]) -> bool:
        if new[0] == old[0]:
            return new[1] and not old[1]
        return (new[0] > old[0]) is (self._sign > 0)


class Minimum(_Extreme):
    """The smallest number."""

    name = "minimum"
    _sign = -1


class Maximum(_Extreme):
    """The largest number."""

    name = "maximum"
    _sign = 1


def _read(state: bytes) -> Number:
    try:
        return _decoder.decode(state)
    except msgspec.DecodeError:
        raise numbers.damaged() from None


def _write(value: Decimal, integer: bool) -> bytes:
    canonical = value.normalize(EXACT) if value else Decimal(0)  # one spelling: no trailing zeros, no −0
    return _encoder.encode(Number(integer, str(canonical)))
