"""Sum: each output is one decimal number; they are added exactly.

Exact addition is what makes the answer independent of order, grouping and crashes, for decimals as well as for
integers: 0.1 + 0.2 is 0.3, and a million tenths are 100,000. The answer is an int when every output was written as
an integer, else the float nearest to the exact sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from crowdgrid.core.reducing import numbers
from crowdgrid.core.reducing.numbers import EXACT, Number

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Number)


class Sum:
    """State: the exact sum as `Number`."""

    name = "sum"
    keeps_state = True
    takes_any = False

    def accepts(self, payload: bytes) -> str:
        return numbers.problem(payload)

    def empty(self) -> bytes:
        return _encoder.encode(Number(True, "0"))

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        before = _read(state)
        total, integers, only_integers = before.value, 0, before.integer
        for payload in payloads:
            if numbers.is_integer(payload):
                integers += int(payload)
            else:
                only_integers = False
                total = EXACT.add(total, numbers.parse(payload))
        return _write(only_integers, EXACT.add(total, Decimal(integers)))

    def combine(self, left: bytes, right: bytes) -> bytes:
        one, other = _read(left), _read(right)
        return _write(one.integer and other.integer, EXACT.add(one.value, other.value))

    def answer(self, state: bytes) -> object:
        return numbers.as_answer(_read(state))


def _read(state: bytes) -> Number:
    try:
        return _decoder.decode(state)
    except msgspec.DecodeError:
        raise numbers.damaged() from None


def _write(integer: bool, value: Decimal) -> bytes:
    return _encoder.encode(Number(integer, str(value)))
