"""Decimal numbers as programs print them, added and compared exactly.

`Decimal` compares exactly, and adds exactly in the context below; only `as_answer` rounds, once. Limits keep a
hostile output cheap: at most `limits.NUMBER_CHARS` characters, and no digit further than that many places from
the decimal point, so that "1e999999999" is refused instead of filling the memory.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput

PLACES: Final = limits.NUMBER_CHARS
# Numbers have at most PLACES digits on either side of the point; 2⁴⁰ tasks of 2¹⁰ runs add 16 more. Inexact is
# trapped because a rounded sum would be a bug, not an answer.
EXACT: Final = Context(
    prec=2 * PLACES + 200,
    rounding=ROUND_HALF_EVEN,
    Emin=-4 * PLACES,
    Emax=4 * PLACES,
    traps=[Inexact, InvalidOperation, Overflow],
)
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?0*([0-9]+))?")


class Number(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An exact number as reducers keep it: `integer` when everything that went in was written as one."""

    integer: bool
    text: str

    @property
    def value(self) -> Decimal:
        """Exactly."""
        return Decimal(self.text)


def problem(payload: bytes) -> str:
    """Empty when `payload` is one decimal number, white space around it at most, else why it is not."""
    text = payload.strip()
    if text.isdigit() and len(text) <= PLACES:
        return ""
    if not text:
        return "The output is empty where a decimal number was expected."
    if len(text) > PLACES:
        return f"The output {shown(text)} is longer than a number may be ({PLACES:,} characters)."
    found = _NUMBER.fullmatch(text)
    if found is None:
        return f"The output {shown(text)} is not a decimal number."
    if found[1] and (len(found[1]) > 5 or not _near(parse(text))):
        return f"The number {shown(text)} has digits more than {PLACES:,} places from its decimal point."
    return ""


def parse(payload: bytes) -> Decimal:
    """The number in an output that `problem` let pass, exactly."""
    return Decimal(payload.decode())


def is_integer(payload: bytes) -> bool:
    """Whether a number that `problem` let pass is written as an integer: no point, no exponent."""
    return payload.strip().lstrip(b"+-").isdigit()


def as_answer(number: Number) -> int | float:
    """An int of any size when only integers went in, else the nearest float (ties to even).

    What no float can hold becomes the nearest integer instead of infinity.
    """
    value = number.value
    if number.integer:
        return int(value)
    nearest = float(value)
    return nearest if math.isfinite(nearest) else int(value)


def shown(text: bytes) -> str:
    """The beginning of an output, for a sentence."""
    return f"'{text[:40].decode(errors='replace')}{'…' if len(text) > 40 else ''}'"


def damaged() -> BadInput:
    """What to raise when a state is none: states are a cache, so it can be folded again."""
    return BadInput("A stored partial answer cannot be read.", hint="Drop it; it is folded again from the results.")


def _near(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -PLACES and number.adjusted() <= PLACES
