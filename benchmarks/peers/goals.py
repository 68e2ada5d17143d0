"""What was to be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.peers.cells import MILLION, Measured
from benchmarks.peers.flat import Flat
from benchmarks.peers.footprint import Footprint
from benchmarks.report import Goal, at_least, at_most, number

IMPORT = "`import crowdgrid`"
GROWTH_MB = 50.0  # what "flat" allows a client to grow by, whatever the number of items


@dataclass(frozen=True)
class Judged:
    """A figure beside its goal.

    Attributes:
        value: None when it was not measured. basis: what the goal is made of.
        load: the load it is about, to be profiled when it is not reached; "" for what is no load.
    """

    what: str
    value: float | None
    goal: Goal
    unit: str
    basis: str = ""
    load: str = ""

    @property
    def reached(self) -> bool:
        return self.value is not None and self.goal.met(self.value)

    def row(self) -> list[str]:
        sign = "≥" if self.goal.at_least else "≤"
        here = "not measured" if self.value is None else f"{number(self.value)} {self.unit}".rstrip()
        limit = f"{sign} {number(self.goal.limit)} {self.unit}".rstrip()
        return [self.what, here, limit + (f" ({self.basis})" if self.basis else ""), self.verdict]

    @property
    def is_import(self) -> bool:
        return self.what == IMPORT

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "reached" if self.reached else "not reached"


@dataclass(frozen=True)
class Found:
    """Everything that was measured, by a peer's title; `ours` and `rivals` are titles."""

    measured: Mapping[str, Measured]
    footprints: Mapping[str, Footprint]
    import_seconds: float | None
    ours: tuple[str, ...]
    rivals: tuple[str, ...]
    pool: str
    flat: Flat | None = None


def judge(found: Found) -> list[Judged]:
    """Every goal, for `local()` and for a hub apart."""
    return [*_one_by_one(found), *_maps(found), *_against_the_pool(found), *_footprints(found), *_flat(found)]


def _rate(found: Found, title: str, load: str) -> float | None:
    return found.measured[title].rates.get(load) if title in found.measured else None


def _one_by_one(found: Found) -> Iterator[Judged]:
    rates = {title: rate for title in found.rivals if (rate := _rate(found, title, "trivial"))}
    if not rates:
        return
    best = max(rates, key=lambda title: rates[title])
    for title in found.ours:
        goal = at_least(2 * rates[best])
        yield Judged(
            f"{title}: trivial, one by one", _rate(found, title, "trivial"), goal, "tasks/s", f"2 × {best}", "trivial"
        )


def _maps(found: Found) -> Iterator[Judged]:
    for title in found.ours:
        items = found.measured[title].mapped if title in found.measured else 0
        rate = _rate(found, title, "trivial, map")
        short = "" if items >= MILLION else ", shorter than meant"
        what = f"{title}: map of {items:,} trivial items{short}"
        yield Judged(what, rate, at_least(100_000), "items/s", "chunks automatic", "trivial, map")


def _against_the_pool(found: Found) -> Iterator[Judged]:
    for load in ("1 ms", "1 ms, map"):
        theirs = _rate(found, found.pool, load)
        if theirs is None:
            continue
        for title in found.ours:
            ours = _rate(found, title, load)
            share = None if ours is None else ours / theirs * 100
            way = "map" if load.endswith("map") else "one by one"
            yield Judged(
                f"{title}: 1 ms tasks, {way}", share, at_least(90), "%", f"of {found.pool}'s {theirs:,.0f}/s", load
            )


def _footprints(found: Found) -> Iterator[Judged]:
    if found.import_seconds is not None:
        yield Judged(IMPORT, found.import_seconds, at_most(0.15), "s")
    footprint = next((found.footprints[title] for title in found.ours if title in found.footprints), None)
    if footprint is not None:
        yield Judged("installed, without extras", footprint.size / 1e6, at_most(100), "MB")


def _flat(found: Found) -> Iterator[Judged]:
    if found.flat is not None:
        what = f"client memory over {found.flat.items:,} mapped items grows by"
        yield Judged(what, found.flat.grown, at_most(GROWTH_MB), "MB")
