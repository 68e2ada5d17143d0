r"""Unordered lines: the same multiset of lines. For programs that print what they find as they find it.

A line ends with LF. A newline at the very end ends the last line and does not begin another, and whether it is there
does not count: which line is the last depends on the order, and the order is what does not count. So "a\nb" is the
same as "b\na\n"; an empty output has no lines and differs from "\n", which has one, and that is blank. Everything else
in a line counts, blanks at its end and CR too.

Only outputs are lines; what functions returned, and outputs of more than `limits.COMPARED_LINES`, agree when they are
the same bytes.
"""

from __future__ import annotations

from collections import Counter

from crowdgrid import limits
from crowdgrid.core.trust.comparators.content import Content


class UnorderedLines:
    """Lines as a multiset. Each line is hashed once; memory is the lines of one of the two outputs."""

    def problem(self, payload: bytes, content: Content) -> str:
        if content is not Content.OUTPUT:
            return "What a function returned has no lines, so that only the same bytes agree."
        if _count(payload) > limits.COMPARED_LINES:
            return f"The output has more than {limits.COMPARED_LINES:,} lines, so that only the same bytes agree."
        return ""

    def agree(self, one: bytes, other: bytes, content: Content) -> bool:
        if content is not Content.OUTPUT or _count(one) != _count(other) or _count(one) > limits.COMPARED_LINES:
            return False
        one, other = one.removesuffix(b"\n"), other.removesuffix(b"\n")
        if len(one) != len(other):
            return False
        left = Counter(one.split(b"\n"))
        for line in other.split(b"\n"):
            if not left[line]:
                return False
            left[line] -= 1
        return True  # as many lines here as there


def _count(output: bytes) -> int:
    return output.count(b"\n") + (bool(output) and not output.endswith(b"\n"))
