"""The numbers in two texts, side by side, when all between them is the same.

A number is a whole word: digits with an optional sign, point and exponent, or `nan`, `inf`,
`infinity` in any case. A word is a run of ASCII letters, digits, `_`, `.`, `+` and `-`; a point that ends a sentence is
not part of it. So `x1`, `3.2s`, `1.2.3`, `2026-01-31` and the digits inside of a digest are text, which has to be the
same; `(3.2, 5)`, `x=3.2` and `12%` hold numbers. A digest or an identifier that happens to consist of digits only is a
number: where a result has such, its digits are compared within the tolerance, too.

How a number is written counts as far as it decides who can read it: one that JSON can say agrees with such only (so not
`1.`, `.5`, `01`, `nan`), and a `+` only with a sign. A liar could else break what the submitter reads by a number that is
right. Whether it has a point or an exponent does not count; `%g` writes 0.0001 and 9.99999e-05.

Blanks (spaces and tabs) next to a number do not count: how many there are in a padded column depends on how long the
numbers are. All else between numbers counts, line ends and a missing one at the end as well.

Linear in the texts, and it stops where they first differ. No word is looked at twice: repeats are possessive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from math import isinf
from typing import Final

from crowdgrid import limits

_BLANKS: Final = b" \t"
_SIGNS: Final = (b"+", b"-")
_JSON: Final = re.compile(rb"[+-]?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+")  # or with a plus
_NUMBER: Final = re.compile(
    rb"(?<![0-9A-Za-z_.+-])"
    rb"[+-]?+(?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+|(?i:nan|inf(?:inity)?+))"
    rb"(?=\.?(?![0-9A-Za-z_.+-]))"
)


def pairs(one: bytes, other: bytes) -> Iterator[tuple[bytes, bytes] | None]:
    """The numbers of both, as written, pair by pair; None and an end where the texts are not of one form."""
    here = there = 0
    for a, b in zip_longest(_NUMBER.finditer(one), _NUMBER.finditer(other)):
        if a is None or b is None or not _alike(a[0], b[0]):
            yield None
            return
        if not _same(one[here : a.start()], other[there : b.start()], here > 0, True):
            yield None
            return
        yield a[0], b[0]
        here, there = a.end(), b.end()
    if not _same(one[here:], other[there:], here > 0, False):
        yield None


def number(text: bytes) -> int | float | None:
    """The number a word of `pairs` stands for: an integer exactly, else the nearest float.

    None for what neither can be: longer than `limits.NUMBER_CHARS`, or finite and beyond every float. Such a word is
    the same only as itself, so that nobody can pass one off as ∞.
    """
    if len(text) > limits.NUMBER_CHARS:
        return None
    if text.lstrip(b"+-").isdigit():
        return int(text)
    value = float(text)
    return None if isinf(value) and not text[-1:].isalpha() else value


def _alike(one: bytes, other: bytes) -> bool:
    """Whether who reads one of two words as a number can read the other, too."""
    if one == other:
        return True
    if b"+" in (one[:1], other[:1]) and not (one[:1] in _SIGNS and other[:1] in _SIGNS):
        return False
    return (_JSON.fullmatch(one) is None) == (_JSON.fullmatch(other) is None)


def _same(one: bytes, other: bytes, after: bool, before: bool) -> bool:
    """Whether what stands between two numbers is the same; `after` one and `before` one, or at an end of the text."""
    if one == other:
        return True
    if after:
        one, other = one.lstrip(_BLANKS), other.lstrip(_BLANKS)
    if before:
        one, other = one.rstrip(_BLANKS), other.rstrip(_BLANKS)
    return one == other
