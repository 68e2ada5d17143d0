"""Merge counters: each output is a JSON object of numbers; equal keys are added exactly.

Word counts, histograms, tallies by category. Values follow `sum`: int when every value of a key was written as an
integer, else float. A key written twice in one object counts once, with its last value, as everywhere in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, TypeAlias

import msgspec

from crowdgrid.core.reducing import numbers
from crowdgrid.core.reducing.numbers import EXACT, Number
from crowdgrid.errors import TooLarge

COUNTERS: Final = 1_000_000  # different keys of one job; their state is held in memory whole

_Totals: TypeAlias = dict[str, tuple[bool, Decimal]]
_json = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(dict[str, Number])


class MergeCounters:
    """State: key → `Number`, sorted by key."""

    name = "merge_counters"
    keeps_state = True
    takes_any = False

    def accepts(self, payload: bytes) -> str:
        try:
            found = _json.decode(payload)
            for key, raw in found.items():
                if wrong := numbers.problem(bytes(raw)):
                    return f"The counter {numbers.shown(key.encode())} cannot be read. {wrong}"
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return f"The output {numbers.shown(payload.strip())} is not a JSON object of numbers."
        if len(found) > COUNTERS:
            return f"The output holds more than {COUNTERS:,} counters."
        return ""

    def empty(self) -> bytes:
        return _write({})

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        totals = _read(state)
        for payload in payloads:
            for key, raw in _json.decode(payload).items():
                text = bytes(raw)
                _add(totals, key, numbers.is_integer(text), numbers.parse(text))
        return _write(totals)

    def combine(self, left: bytes, right: bytes) -> bytes:
        totals = _read(left)
        for key, (integer, value) in _read(right).items():
            _add(totals, key, integer, value)
        return _write(totals)

    def answer(self, state: bytes) -> object:
        return {key: numbers.as_answer(number) for key, number in _numbers(state).items()}


def _add(totals: _Totals, key: str, integer: bool, value: Decimal) -> None:
    before = totals.get(key, (True, Decimal(0)))
    totals[key] = (before[0] and integer, EXACT.add(before[1], value))


def _numbers(state: bytes) -> dict[str, Number]:
    try:
        return _decoder.decode(state)
    except (msgspec.DecodeError, UnicodeError):
        raise numbers.damaged() from None


def _read(state: bytes) -> _Totals:
    return {key: (number.integer, number.value) for key, number in _numbers(state).items()}


def _write(totals: _Totals) -> bytes:
    if len(totals) > COUNTERS:
        raise TooLarge(
            f"The job's outputs name more than {COUNTERS:,} different counters.",
            hint="Combine with `collect` or `concatenate` and merge them outside, or count by coarser keys.",
        )
    return _encoder.encode({key: Number(integer, str(value)) for key, (integer, value) in totals.items()})
