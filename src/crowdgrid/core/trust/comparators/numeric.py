"""Numeric: numbers within a tolerance, everything else the same. For floats that machines round differently.

WASM programs are deterministic to the bit but for NaNs; functions are not: another processor, another BLAS, another
order of a sum, and the last digits differ. What numbers are, and what is the same, depends on how the answer is written:
`text` for what a program printed, `npy` for an array in numpy's format (printed, or returned by a function), `leaves`
for what a function returned. When two numbers are close is said in `tolerance`.

What the tolerance cannot do: an answer within it is accepted, so a liar may move every number of an accepted answer by
as much. And closeness is not transitive; what follows from that is in `closeness`.

Larger answers than `limits.COMPARED_BYTES` are not read: they agree when they are the same bytes.
"""

from __future__ import annotations

from crowdgrid.core.trust.comparators import leaves, npy, text
from crowdgrid.core.trust.comparators.content import Content
from crowdgrid.core.trust.comparators.tolerance import Tolerance


class Numeric:
    """rtol in [0, 1), atol ≥ 0."""

    def __init__(self, rtol: float, atol: float) -> None:
        self._tolerance = Tolerance(rtol, atol)

    def problem(self, payload: bytes, content: Content) -> str:
        if content is Content.OUTPUT:
            if payload.startswith(npy.MAGIC) and npy.read(payload) is None:
                return "The output is no array of numbers that can be read, so that only the same bytes agree."
            return ""
        try:
            if content is Content.VALUE and leaves.agree(payload, payload, self._tolerance):
                return ""
        except leaves.NotPacked:
            pass
        return "The answer is no packed value, so that only the same bytes agree."

    def agree(self, one: bytes, other: bytes, content: Content) -> bool:
        if content is Content.VALUE:
            try:
                return leaves.agree(one, other, self._tolerance)
            except leaves.NotPacked:
                return False
        if content is not Content.OUTPUT:
            return False
        arrays = one.startswith(npy.MAGIC), other.startswith(npy.MAGIC)
        if any(arrays):
            a, b = npy.read(one), npy.read(other)
            return a is not None and b is not None and npy.agree(a, b, self._tolerance)
        return all(pair is not None and self._near(*pair) for pair in text.pairs(one, other))

    def _near(self, one: bytes, other: bytes) -> bool:
        if one == other:
            return True
        a, b = text.number(one), text.number(other)
        return a is not None and b is not None and self._tolerance.near(a, b)
