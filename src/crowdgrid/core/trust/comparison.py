"""What a job may ask of a comparator: one struct a way, all of them together the type `Comparison`.

They are kept with the job and travel in messages, so they are data and nothing else; `check` is called where a job
comes in, and what it let pass is never checked again.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Exact(msgspec.Struct, frozen=True, tag="exact", tag_field="kind"):
    """The same outcome and the same bytes."""


class Numeric(msgspec.Struct, frozen=True, tag="numeric", tag_field="kind"):
    """Numbers within max(rtol · max(|a|, |b|), atol) of one another; everything else the same.

    Attributes:
        rtol: relative to the larger of the two, in [0, 1). atol: absolute, ≥ 0; what counts near zero.
    """

    rtol: float = 1e-9
    atol: float = 0.0


class Interval(msgspec.Struct, frozen=True, tag="interval", tag_field="kind"):
    """Means with standard errors that differ by no more than chance explains, see `interval`.

    Attributes:
        z: standard errors of the difference that are still chance, in (0, `limits.INTERVAL_Z_MAX`].
        ratio: how many times larger than the other one an error may be, in [1, `limits.INTERVAL_RATIO_MAX`].
    """

    z: float = 3.0
    ratio: float = 2.0


class UnorderedLines(msgspec.Struct, frozen=True, tag="unordered_lines", tag_field="kind"):
    """The same lines, each as often, in any order."""


class Program(msgspec.Struct, frozen=True, tag="program", tag_field="kind"):
    """A submitter's own WASM program, which is given two answers: exit code 0 the same, 1 different.

    Nothing here runs it: this is the engine, and a program is work. The hub does, in the sandbox of runtime `wasm` and
    never on a node, which could lie about that as well: it asks `closeness.pairs` which answers differ, runs the
    program once for each pair (each run of an item task by itself), and hands the pairs that were the same to
    `closeness.groups`. The answer with the smaller digest is the first of the two, so that what the program says does
    not depend on who reported first. Any other exit code, a trap or a time-out is an error of the comparator: the two
    are then not the same, and the submitter is told.

    Attributes:
        digest: hex SHA-256 of the program.
    """

    digest: str


EXACT: Final = Exact()
Comparison: TypeAlias = Exact | Numeric | Interval | UnorderedLines | Program


def check(comparison: Comparison) -> None:
    """Raises BadInput when a parameter is none that can be worked with."""
    match comparison:
        case Numeric(rtol=rtol, atol=atol):
            if not 0 <= rtol < 1:
                raise BadInput(
                    f"The relative tolerance rtol is from 0 to below 1, not {rtol}.",
                    hint="From 1 on, 0 would be close to every number.",
                )
            if not 0 <= atol < float("inf"):
                raise BadInput(f"The absolute tolerance atol is a finite number from 0 on, not {atol}.")
        case Interval(z=z, ratio=ratio):
            if not 0 < z <= limits.INTERVAL_Z_MAX:
                raise BadInput(
                    f"z, the standard errors two means may differ by, is above 0 and at most {limits.INTERVAL_Z_MAX},"
                    f" not {z}."
                )
            if not 1 <= ratio <= limits.INTERVAL_RATIO_MAX:
                raise BadInput(
                    f"ratio, how many times the other an error may be, is from 1 to {limits.INTERVAL_RATIO_MAX},"
                    f" not {ratio}."
                )
        case Program(digest=digest):
            if not _DIGEST.fullmatch(digest):
                raise BadInput(
                    f"{digest[:80]!r} is not the name of a program.", hint="A program's name is its hex SHA-256."
                )
        case Exact() | UnorderedLines():
            pass
