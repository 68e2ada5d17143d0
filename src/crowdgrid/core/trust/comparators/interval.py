"""Interval: means with standard errors that differ by no more than chance explains. For programs that sample.

Two nodes that draw different random numbers get different means of the same thing. They agree when

    |a − b| ≤ z · √(ea² + eb²)   and   max(ea, eb) ≤ ratio · min(ea, eb).

The first is the test of a difference: the standard error of the difference of two independent means is √(ea² + eb²)
(JCGM 100:2008, "Guide to the expression of uncertainty in measurement", 5.1.2), and a result beyond z = 3 of them
"requires action" (the ζ score of ISO 13528:2015, 9.6): two honest ones differ that much once in 370 times. Asking
whether the two intervals overlap is another, laxer test, |a − b| ≤ z(ea + eb), whose level depends on the errors
(N. Schenker and J. Gentleman, The American Statistician 55, 2001, 182–186).

The second is there because of liars: by the first alone, whoever claims an error of 10³⁰⁰ agrees with everybody, gathers
the largest group and has any mean accepted. But errors of one task are estimates of one and the same thing, since all
nodes draw equally many samples. With n each, the chance that two of them differ by more than a factor of 2 is 0.4 % for
n = 20, 0.04 % for n = 30 and 5 % for n = 10, where a ratio of 3 gives 0.3 % (F distribution with n − 1 and n − 1 degrees of
freedom). So the default of 2 costs honest nodes about as much as z = 3 does, and all a liar can gain by a false error is
a mean z·√(1 + ratio²) = 6.7 honest errors away instead of 4.2. An error of 0 is within the ratio of 0 only.

An error has to be finite and not negative, a mean finite. What is not so, or cannot be read, agrees with the same bytes
and with nothing else; as it does everywhere, and all by itself it settles nothing.

How answers are written; all of them are one mean with its error, or several, and then all have to agree:

- text: numbers as in `text`, each mean followed by its error, all between them the same: "3.14 ± 0.01", "3.14 0.01";
- JSON, and what functions returned: [mean, error], {"mean": …, "error": …} with no other key, or a list of such (tuples
  too, and numpy's scalars);
- an array of numbers, of the shape (2,) or (n, 2).

Both have to be written the same way. Larger ones than `limits.INTERVALS_BYTES` are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, isfinite
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.core.trust.comparators import leaves, npy, text
from crowdgrid.core.trust.comparators.content import Content

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError, TypeError, ValueError)
_TUPLE: Final = object()


class Measured(NamedTuple):
    """A mean and its standard error; `form` is how it was written."""

    form: str
    mean: float
    error: float


_Results: TypeAlias = tuple[str, list[Measured]]  # how they stand together, and each
_TEXT: Final[_Results] = ("text", [])


class Interval:
    """z > 0 standard errors of the difference; ratio ≥ 1 of the errors."""

    def __init__(self, z: float, ratio: float) -> None:
        self._z = z
        self._ratio = ratio

    def problem(self, payload: bytes, content: Content) -> str:
        if len(payload) > limits.INTERVALS_BYTES:
            return f"The answer is over {limits.INTERVALS_BYTES:,} bytes, so that only the same bytes agree."
        found = _read(payload, content)
        measured = [] if found is None else _printed(payload) if found is _TEXT else found[1]
        if not measured or not all(isfinite(each.mean) for each in measured):
            return "The answer is not a mean with its error, so that only the same bytes agree."
        if not all(0 <= each.error < float("inf") for each in measured):
            return "An error in the answer is not a finite number from 0 on, so that only the same bytes agree."
        return ""

    def agree(self, one: bytes, other: bytes, content: Content) -> bool:
        if max(len(one), len(other)) > limits.INTERVALS_BYTES:
            return False
        a, b = _read(one, content), _read(other, content)
        if a is None or b is None or a[0] != b[0]:
            return False
        if a is _TEXT:
            return self._printed_agree(one, other)
        return len(a[1]) == len(b[1]) and all(map(self._close, a[1], b[1]))

    def _printed_agree(self, one: bytes, other: bytes) -> bool:
        pairs = list(text.pairs(one, other))
        if not pairs or len(pairs) % 2 or pairs[-1] is None:
            return False
        here, there = zip(*(pair for pair in pairs if pair is not None))
        return all(map(self._close, _couples(here), _couples(there)))

    def _close(self, one: Measured, other: Measured) -> bool:
        a, b, ea, eb = one.mean, other.mean, one.error, other.error
        if one.form != other.form or not all(map(isfinite, (a, b, ea, eb, a - b))) or min(ea, eb) < 0:
            return False
        return max(ea, eb) <= self._ratio * min(ea, eb) and abs(a - b) <= self._z * hypot(ea, eb)


# --- text ------------------------------------------------------------------------------------


def _printed(payload: bytes) -> list[Measured]:
    words = [pair[0] for pair in text.pairs(payload, payload) if pair is not None]
    return _couples(words) if len(words) % 2 == 0 else []


def _couples(words: Sequence[bytes]) -> list[Measured]:
    return [
        Measured("", _float(text.number(mean)), _float(text.number(error)))
        for mean, error in zip(words[::2], words[1::2])
    ]


def _float(number: float | None) -> float:
    try:
        return float("nan") if number is None else float(number)
    except OverflowError:
        return float("nan")


# --- JSON, values, arrays --------------------------------------------------------------------


def _meet(code: int, data: memoryview) -> Any:
    """What may be in a mean with its error. Anything else is no number, whatever it is."""
    if code == leaves.TUPLE and not data:
        return _TUPLE
    if code == leaves.ARRAY:
        return npy.read(bytes(data))
    return leaves.scalar(bytes(data)) if code == leaves.SCALAR else None


_value: Final = msgspec.msgpack.Decoder(ext_hook=_meet).decode
_json: Final = msgspec.json.Decoder().decode


def _read(payload: bytes, content: Content) -> _Results | None:
    """The results in an answer; `_TEXT` when it is text, None when there are none in it."""
    try:
        if content is Content.VALUE:
            return _results(_value(payload))
        if content is not Content.OUTPUT:
            return None
        if payload.startswith(npy.MAGIC):
            return _results(npy.read(payload))
        tree = _json(payload) if payload.lstrip()[:1] in (b"[", b"{") else None
    except _UNREADABLE:
        return _TEXT if content is Content.OUTPUT else None
    return _results(tree) if tree is not None else _TEXT


def _results(tree: Any) -> _Results | None:
    if (one := _measured(tree)) is not None:
        return "one", [one]
    if type(tree) is npy.Array:
        if tree.shape[1:] != (2,) or tree.kind.name[0] not in "iuf":
            return None
        numbers = npy.numbers(tree)
        many: list[Measured | None] = [
            Measured(tree.kind.name, _float(mean), _float(error)) for mean, error in zip(numbers[::2], numbers[1::2])
        ]
        form = "array"
    elif type(tree) is list:
        form, parts = _parts(tree)
        many = [_measured(part) for part in parts]
    else:
        return None
    found = [each for each in many if each is not None]
    return (form, found) if found and len(found) == len(many) else None


def _measured(tree: Any) -> Measured | None:
    if type(tree) is npy.Array:
        if tree.shape != (2,) or tree.kind.name[0] not in "iuf":
            return None
        form, parts = f"array {tree.kind.name}", list(npy.numbers(tree))
    elif type(tree) is dict:
        if tree.keys() != {"mean", "error"}:
            return None
        form, parts = "object", [tree["mean"], tree["error"]]
    elif type(tree) is list:
        form, parts = _parts(tree)
    else:
        return None
    numbers = [_number(part) for part in parts]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    return Measured(f"{form} {numbers[0][0]} {numbers[1][0]}", numbers[0][1], numbers[1][1])


def _parts(tree: list[Any]) -> tuple[str, list[Any]]:
    return ("tuple", tree[1:]) if tree and tree[0] is _TUPLE else ("list", tree)


def _number(value: Any) -> tuple[str, float] | None:
    """(how it is written, the number); an integer is as good as a float here."""
    if type(value) is int or type(value) is float:
        return "", _float(value)
    if type(value) is leaves.Scalar and len(value.parts) == 1:
        return value.kind, _float(value.parts[0])
    return None
