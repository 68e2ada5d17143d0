"""What is left after `kill -9` of one part of a peer with two thousand short tasks under way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.context import Context
from benchmarks.peers.adapters.peer import OK
from benchmarks.peers.catalogue import Kind
from benchmarks.peers.talk import Adapter, PeerFailed, Place

START_SECONDS: Final = 90.0
ANSWER_SECONDS: Final = 15.0
RECOVER_SECONDS: Final = 300.0
UNDER_WAY_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.2
FUNCTION: Final = "busy_5ms"
CLIENT: Final = "the client"


@dataclass(frozen=True)
class State:
    """What had become of the tasks at one moment.

    Attributes:
        ok: results. errors: how many ended with which error. unsettled: tasks nothing is known of.
        raised: what asking for them raises; "" where that just waits.
        problem: why there is nobody to ask any longer; "" while the client answers.
    """

    ok: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    unsettled: int = 0
    raised: str = ""
    problem: str = ""

    def told(self) -> str:
        """For people."""
        whole = self.ok + sum(self.errors.values()) + self.unsettled
        if self.ok == whole and whole:
            return f"all {whole:,} results"
        parts = [f"{self.ok:,} of {whole:,} results"]
        parts += [f"{count:,} raise {error}" for error, count in sorted(self.errors.items())]
        if self.problem:
            parts.append(f"then {self.problem}")
        elif self.unsettled:
            parts.append(f"{self.unsettled:,} wait on" + (f" (asking raises {self.raised})" if self.raised else ""))
        return ", ".join(parts)


@dataclass(frozen=True)
class Fault:
    """One kill.

    Attributes:
        part: what was killed. alone: what became of the tasks with nobody's help; `seconds` until nothing changed.
        again: after the part was started again; None where it was not.
        found: results another client got, of a client that was killed; None where there is no way. way: which one.
        failure: why there is nothing to tell.
    """

    part: str
    count: int = 0
    alone: State | None = None
    seconds: float = 0.0
    again: State | None = None
    found: int | None = None
    way: str = ""
    failure: str = ""

    def row(self) -> list[str]:
        """Killed, by itself, after a new start."""
        if self.failure:
            return [self.part, f"failed: {self.failure}", ""]
        if self.part == CLIENT:
            found = (
                "nothing can be found again"
                if self.found is None
                else f"{self.found:,} of {self.count:,} results, by {self.way}"
            )
            return [self.part, "", f"another client: {found}"]
        assert self.alone is not None
        alone = f"{self.alone.told()}, {self.seconds:.0f} s" if not self.alone.unsettled else self.alone.told()
        return [self.part, alone, self.again.told() if self.again else ""]


def measure(kind: Kind, context: Context) -> list[Fault]:
    """One life of the peer for each of its parts, and one for its client."""
    parts = (*kind.parts, CLIENT) if not context.quick else (kind.parts[0], *([CLIENT] if kind.ours else []))
    faults = []
    for part in parts:
        print(f"  {kind.title}: kill -9 of {part}", file=sys.stderr)
        try:
            faults.append(_kill(kind, part, context))
        except PeerFailed as error:
            faults.append(Fault(part, failure=str(error)))
    return faults


def _kill(kind: Kind, part: str, context: Context) -> Fault:
    count, quiet = context.of(2000, 400), context.of(15.0, 6.0)
    with Place() as place, Adapter(kind, place) as adapter:
        adapter.ask("start", START_SECONDS, how="apart")
        adapter.ask("burst", ANSWER_SECONDS, function=FUNCTION, count=count, durable=part == CLIENT)
        _under_way(adapter, count)
        if part == CLIENT:
            adapter.kill()
            return Fault(part, count, found=_found(kind, place, count, quiet), way=kind.way)
        for pid in adapter.ask("parts", ANSWER_SECONDS, part=part):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        alone, seconds = _settle(adapter, quiet)
        again = None
        if alone.unsettled and not alone.problem and adapter.ask("restart", START_SECONDS, part=part):
            again, _ = _settle(adapter, quiet)
        return Fault(part, count, alone, seconds, again)


def _under_way(adapter: Adapter, count: int) -> None:
    """Until all are submitted and a tenth is done, where the client can see that."""
    give_up_at = time.monotonic() + UNDER_WAY_SECONDS
    while time.monotonic() < give_up_at:
        told = adapter.ask("progress", ANSWER_SECONDS)
        if told["problem"]:
            raise PeerFailed(told["problem"])
        done = sum(told["settled"].values())
        if told["submitted"] and (done >= count // 10 or not told["watched"]):
            return
        time.sleep(PAUSE_SECONDS)
    raise PeerFailed(f"the tasks were not under way within {UNDER_WAY_SECONDS:g} s")


def _settle(adapter: Adapter, quiet: float) -> tuple[State, float]:
    """(what it is once everything has settled, or nothing changed for `quiet` seconds; seconds until then)."""
    state, began = _state(adapter), time.monotonic()
    changed_at = began
    while state.unsettled and not state.problem and time.monotonic() < changed_at + quiet:
        time.sleep(PAUSE_SECONDS)
        now = _state(adapter, state)
        if now != state:
            state, changed_at = now, time.monotonic()
    return state, changed_at - began


def _state(adapter: Adapter, last: State | None = None) -> State:
    try:
        told: dict[str, Any] = adapter.ask("progress", ANSWER_SECONDS)
    except PeerFailed as error:
        known = last or State()
        return State(known.ok, known.errors, known.unsettled, problem=str(error))
    settled = Counter(told["settled"])
    return State(settled.pop(OK, 0), dict(settled), told["unsettled"], told["raised"], told["problem"])


def _found(kind: Kind, place: Place, count: int, quiet: float) -> int | None:
    """How many results another client gets, in the same folders."""
    with Adapter(kind, place) as other:
        try:
            other.ask("start", START_SECONDS, how="attach")
        except PeerFailed as error:
            if "NotImplementedError" in str(error):
                return None
            raise
        found: int | None = other.ask("recover", RECOVER_SECONDS, count=count, quiet=quiet)
        return found
