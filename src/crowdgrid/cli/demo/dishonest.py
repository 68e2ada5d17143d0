"""The agent program, changed at one seam so that it cheats: for tests and the demonstration, and nothing else.

    python -m crowdgrid.cli.demo.dishonest '{"lie": 0.5}' agent run --hub … --data DIR …

What is patched is `Agent`, where an answer leaves the worker and is about to be signed, and where verdicts come back.
Everything else is the real program: key, link, sandbox, spool, signatures. No option of the product leads here.

Everything it tries is written down before it is tried, and what the hub said to it afterwards, in `DIR/deeds.jsonl`:
what came of a deed is known and not guessed, also when the process ends in the midst of it. `read` gives it back.
"""

from __future__ import annotations

import base64
import os
import random
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid import limits
from crowdgrid.agent import keys, main, spool
from crowdgrid.agent.agent import Agent
from crowdgrid.agent.work import Answered, Held, answer
from crowdgrid.protocol import messages as m
from crowdgrid.protocol import signing
from crowdgrid.runtimes import Finished, Outcome, Result, Results

FILE_NAME: Final = "deeds.jsonl"
PAST: Final = 1.25  # times a lease's length, after which a late answer is late
LOOT_SECONDS: Final = 0.5  # between two looks into a neighbour's spool
LOOT_AT_ONCE: Final = 20  # stolen results in one report
REFUSED: Final = "link closed"


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an agent cheats. Shares are of its answers, in [0, 1]; an answer meets one of the first five at most.

    Attributes:
        after: answers it gives honestly first. wake: it is honest until a file of this path is there.
        lie: another answer than its program's. crash: SIGKILL to itself when the answer is known and not spooled.
        stall: the answer is never given. late: it is given when its lease is over.
        contradict: once it is judged, the same is reported again, and then another answer.
        inflate: times the CPU, time and memory that are told with every answer; noted of those that are right.
        steal: the folder of another agent on this machine: what is in its spool is reported as it stands, then signed
            anew as one's own.
        seed: of what is drawn. Liars of one seed tell the same lie.
    """

    after: int = 0
    wake: str = ""
    lie: float = 0.0
    crash: float = 0.0
    stall: float = 0.0
    late: float = 0.0
    contradict: float = 0.0
    inflate: int = 1
    steal: str = ""
    seed: int = 1


class Deed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the ledger: it was tried (`verdict` ""), or the hub answered to it. `assignment` is its public id."""

    deed: str
    assignment: str = ""
    verdict: str = ""


@dataclass
class Deeds:
    """What an agent tried and got.

    Attributes:
        tried: assignments by deed. got: how often each verdict came, by deed.
    """

    tried: dict[str, list[str]] = field(default_factory=dict)
    got: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, deed: str) -> int:
        """How often it was tried."""
        return len(self.tried.get(deed, ()))

    def verdicts(self, deed: str) -> Counter[str]:
        """How often each verdict came."""
        return self.got.get(deed, Counter())


def read(folder: Path) -> Deeds:
    """What the agent of this data folder has tried and got until now."""
    found = Deeds()
    try:
        lines = (folder / FILE_NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        deed = msgspec.json.decode(line, type=Deed)
        if deed.verdict:
            found.got.setdefault(deed.deed, Counter())[deed.verdict] += 1
        else:
            found.tried.setdefault(deed.deed, []).append(deed.assignment)
    return found


class Ledger:
    """Writes the deeds of one agent, each line with one `write`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, deed: str, assignment: bytes = b"", verdict: str = "") -> None:
        """Write one line."""
        os.write(self._file, msgspec.json.encode(Deed(deed, shown(assignment), verdict)) + b"\n")


def shown(assignment: bytes) -> str:
    """An assignment's id as the hub shows it."""
    return "a" + base64.b32encode(assignment).decode().rstrip("=").lower() if assignment else ""


def lied(data: bytes, seed: int) -> bytes:
    """An answer like `data`, and another one: a number that is off by `seed`, or other bytes."""
    text = data.strip()
    if text.isdigit():
        return str(int(text) + seed).encode()
    return data + b" +%d" % seed


def inflated(results: Results, times: int) -> Results:
    """The same results, claiming so many times what they used."""
    return Results([_claiming(item, times) for item in results.items])


def _claiming(item: Result, times: int) -> Finished:
    told = item if isinstance(item, Finished) else Finished(Outcome.OK, item)
    return msgspec.structs.replace(
        told,
        cpu_ms=max(told.cpu_ms, 1) * times,
        wall_ms=max(told.wall_ms, 1) * times,
        memory_bytes=max(told.memory_bytes, 1) * times,
    )


class DishonestAgent(Agent):
    """See the module. `plan`, `ledger`, `key` are set by `command` before it is made."""

    plan: Plan
    ledger: Ledger
    key: Ed25519PrivateKey

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self._chance = random.Random(self.plan.seed)
        self._owed: dict[bytes, str] = {}  # what a verdict will be of
        self._next: dict[bytes, deque[tuple[str, Answered]]] = {}  # what is said when it has come
        self._aside: dict[bytes, tuple[float, Answered | None]] = {}  # answers kept, and until when
        self._loot: deque[spool.Batch] = deque()
        self._seen: set[bytes] = set()
        self._looked = 0.0
        self._forged = self._has_forged = False

    @property
    def _awake(self) -> bool:
        plan = self.plan
        return self.done >= plan.after and (not plan.wake or Path(plan.wake).exists())

    # --- an answer ---

    def _report(self, held: Held, lease: m.Lease) -> None:
        if not self._awake:
            super()._report(held, lease)
            return
        deed = self._drawn()
        if self.plan.inflate > 1:
            held.finished = inflated(held.finished, self.plan.inflate)
            deed = deed or "inflate"
        if deed:
            self.ledger.note(deed, lease.assignment)
        match deed:
            case "lie":
                held.finished = self._twisted(held.finished)
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stall" | "late":
                kept = self._answered(held, lease, held.finished) if deed == "late" else None
                self._aside[lease.assignment] = (time.monotonic() + PAST * limits.LEASE_SECONDS, kept)
                self._owed[lease.assignment] = deed
                return
            case "contradict":
                same = self._answered(held, lease, held.finished)
                other = self._answered(held, lease, self._twisted(held.finished))
                self._next[lease.assignment] = deque([("repeat", same), ("contradict", other)])
        self._owed[lease.assignment] = deed
        super()._report(held, lease)

    def _drawn(self) -> str:
        left = self._chance.random()
        for deed in ("lie", "crash", "stall", "late", "contradict"):
            left -= getattr(self.plan, deed)
            if left < 0:
                return deed
        return ""

    def _twisted(self, results: Results) -> Results:
        return Results([self._lie(item) for item in results.items])

    def _lie(self, item: Result) -> Result:
        if isinstance(item, bytes):
            return lied(item, self.plan.seed)
        return msgspec.structs.replace(item, stdout=lied(item.stdout, self.plan.seed))

    def _answered(self, held: Held, lease: m.Lease, finished: Results) -> Answered:
        assert self.welcome is not None
        return answer(held, lease, finished, self.welcome.grid)

    def _is_known(self, lease: m.Lease) -> bool:
        return lease.assignment in self._aside or super()._is_known(lease)

    # --- what comes back ---

    def received(self, messages: Sequence[m.HubToNode]) -> None:
        """Note the verdicts, and say what is said next."""
        super().received(messages)
        for message in messages:
            if isinstance(message, m.Acknowledge):
                for assignment, verdict in message.verdicts:
                    self._judged(assignment, verdict.value)

    def _judged(self, assignment: bytes, verdict: str) -> None:
        deed = self._owed.pop(assignment, "")
        if deed and not (deed == "contradict" and assignment in self._next):
            self.ledger.note(deed, assignment, verdict)
        more = self._next.get(assignment)
        if not more or self.reporter is None:
            return
        self._owed[assignment], said = more.popleft()
        if not more:
            del self._next[assignment]
        if self._owed[assignment] == "repeat":
            self.ledger.note("repeat", assignment)
        self.reporter.add(said)
        self.reporter.flush()

    def down(self, refused: bool) -> None:
        """The hub may have hung up over what was stolen."""
        if refused and self._forged:
            self.ledger.note("forge", verdict=REFUSED)
        self._forged = False
        super().down(refused)

    # --- all the time ---

    def tick(self) -> None:
        """Say what is late by now, and look what there is to be had."""
        super().tick()
        now = time.monotonic()
        for assignment, (until, kept) in list(self._aside.items()):
            if kept is not None and until <= now and self.reporter is not None:
                del self._aside[assignment]
                self.reporter.add(kept)
                self.reporter.flush()
        if self.plan.steal and self.welcome is not None and self.link.is_up and now - self._looked > LOOT_SECONDS:
            self._looked = now
            self._steal(self.welcome.grid)

    def _steal(self, grid: bytes) -> None:
        """Report what a neighbour's spool holds: once as it was signed there, else as if it were one's own."""
        for path in sorted((Path(self.plan.steal) / "spool" / grid.hex()).glob("*.spool")):
            self._take_new(spool.records(path))
        if not self._loot:
            return
        batch = self._loot.popleft()
        places = tuple(range(len(batch.results)))
        if not self._has_forged:
            self._forged = self._has_forged = True
            self.ledger.note("forge")
            self.link.send(m.Report(batch.results, places, batch.leaves, batch.signature))
            return
        for entry in batch.results:
            self.ledger.note("steal", entry.assignment)
            self._owed[entry.assignment] = "steal"
        signature = signing.sign_leaves(self.key, grid, batch.leaves)
        self.link.send(m.Report(batch.results, places, batch.leaves, signature))

    def _take_new(self, found: Iterable[object]) -> None:
        for record in found:
            if isinstance(record, spool.Batch) and record.signature not in self._seen:
                self._seen.add(record.signature)
                if len(record.results) <= LOOT_AT_ONCE and not any(entry.blob for entry in record.results):
                    self._loot.append(record)


def command() -> None:
    """`python -m crowdgrid.cli.demo.dishonest PLAN agent run …`: run the agent with that plan (JSON)."""
    from crowdgrid.cli import main as program

    plan = msgspec.json.decode(sys.argv.pop(1), type=Plan)
    folder = Path(sys.argv[sys.argv.index("--data") + 1])
    DishonestAgent.plan, DishonestAgent.ledger = plan, Ledger(folder)
    DishonestAgent.key = keys.load_or_create(keys.private_folder(folder))
    main.Agent = DishonestAgent  # type: ignore[attr-defined]
    program()


if __name__ == "__main__":
    command()
