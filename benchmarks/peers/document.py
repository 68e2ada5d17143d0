"""`docs/benchmarks-peers.md`: goals first, then the tables, then what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.machine import Machine
from benchmarks.peers.catalogue import Kind
from benchmarks.peers.cells import IDEAL, Measured
from benchmarks.peers.faults import Fault
from benchmarks.peers.flat import Flat
from benchmarks.peers.footprint import Footprint
from benchmarks.peers.goals import Judged
from benchmarks.report import markdown_table, number

HEAD = """\
# Beside others

Written by `make bench-peers`; how it is done is told in `benchmarks/peers/README.md`. Every peer has an environment of
its own, locked by hash, two workers, and the same loads from the same client. A figure is worth what the machine was, and how
quiet: one run, nothing left out, nothing asserted by a test.
"""
RATES = """\
Tasks a second. *One by one*: a submission, a handle and a result of its own for each task, 1,000 in flight (1 ms 400, 10 ms
60, 1 MB 20). *Map*: the best each has for many small tasks, in chunks of 1,000 trivial, 100 of 1 ms, 10 of 10 ms where it has to
be told. Busy tasks count their own thread's CPU time. In brackets the share of what two workers could do with nothing
else to do; on two cores whatever a scheduler and a client need is taken from the workers.
"""
COSTS = """\
*Round trip*: one trivial task, nothing else under way. *CPU*: user and system time of all processes, client, servers and
workers, per trivial task. *Memory*: the most in use by all processes at the end of a load, shared pages counted once
(PSS). *Start*: from the import of the package to the first result. *Import*: median of {times} new processes. *Installed*:
every file in site-packages with its bytecode, without pip; Redis comes on top of Celery.
"""
FAULTS = """\
{count} tasks of 5 ms under way, one process killed with SIGKILL, then waited until everything has settled or nothing changed for
{quiet} s; then, where something still waits and an operator has a way, the killed part was started again. *Wait on*: the
client neither has a result nor is told of an error; what it would be told later is not seen here (Celery gives the tasks of
a dead worker to another after its visibility timeout, an hour). After the client was killed, another one looked for
the results.
"""

PROFILES = """\
Of what was not reached, with the hub and an agent under cProfile: event loops only. While uvloop waits, the time is booked on
whichever function called into it last.
"""


def document(
    machine: Machine,
    kinds: Sequence[Kind],
    measured: Mapping[str, Measured],
    footprints: Mapping[str, Footprint],
    faults: Mapping[str, Sequence[Fault]],
    judged: Sequence[Judged],
    *,
    flat: Flat | None,
    profiles: Mapping[str, str],
    quick: bool,
    took: float,
) -> str:
    """The whole of it. Mappings are by a peer's title; `profiles` by what they are of."""
    how = " This was a smoke run (`--quick`): its figures are worth nothing." if quick else ""
    parts = [HEAD.rstrip(), f"{machine.told()} Measured in {took / 60:.1f} minutes.{how}"]
    parts += ["## Goals", _goals(judged), "## Who", _who(kinds)]
    if measured:
        parts += ["## Tasks a second", RATES.strip(), _rates(kinds, measured), _long(kinds, measured)]
        costs = COSTS.format(times=5).strip()
        parts += ["## What a task costs, and what it takes to begin", costs, _costs(kinds, measured, footprints)]
        parts += ["Where crowdgrid's CPU time goes, µs a task:", _split(kinds, measured)]
    parts += [_largest(kinds, footprints)]
    if flat is not None:
        parts += ["## Ten million items", _flat(flat)]
    if faults:
        count, quiet = ("400", 6) if quick else ("2,000", 15)
        parts += ["## What is left after kill -9", FAULTS.format(count=count, quiet=quiet).strip(), _faults(faults)]
    if profiles:
        parts += ["## Where the time goes", PROFILES.strip()]
        parts += [f"{title}:\n\n```text\n{text.strip()}\n```" for title, text in profiles.items()]
    failures = failed(measured, faults)
    parts += ["## What failed", "\n".join(f"- {failure}" for failure in failures) or "Nothing."]
    return "\n\n".join(part for part in parts if part) + "\n"


def failed(measured: Mapping[str, Measured], faults: Mapping[str, Sequence[Fault]]) -> list[str]:
    """Everything that could not be measured, in sentences."""
    found = [f"{title}, {failure}" for title, one in measured.items() for failure in one.failures]
    found += [
        f"{title}, kill of {one.part}: {one.failure}" for title, all_ in faults.items() for one in all_ if one.failure
    ]
    return found


def _goals(judged: Sequence[Judged]) -> str:
    return markdown_table(["", "here", "goal", ""], [one.row() for one in judged])


def _who(kinds: Sequence[Kind]) -> str:
    rows = [[kind.title, kind.version or "of Python", kind.form, kind.batches, kind.durable] for kind in kinds]
    return markdown_table(["", "version", "how it runs here", "its map", "survives a power cut"], rows)


def _rates(kinds: Sequence[Kind], measured: Mapping[str, Measured]) -> str:
    loads = ("trivial", "1 kB", "1 MB", "1 ms", "10 ms", "trivial, map", "1 ms, map", "10 ms, map")
    rows = [[kind.title, *(_rate(measured[kind.title], load) for load in loads)] for kind in kinds]
    return markdown_table(["", *loads], rows)


def _rate(one: Measured, load: str) -> str:
    if load not in one.rates:
        return "failed"
    rate = one.rates[load]
    ideal = IDEAL.get(load.removesuffix(", map"))
    return number(rate) if ideal is None else f"{number(rate)} ({rate / ideal * 100:.0f} %)"


def _long(kinds: Sequence[Kind], measured: Mapping[str, Measured]) -> str:
    found = [
        f"{kind.title} {measured[kind.title].rates['1 s'] / IDEAL['1 s'] * 100:.0f} %"
        for kind in kinds
        if "1 s" in measured[kind.title].rates
    ]
    return f"Tasks of a second, a few at once, of what two workers could do: {', '.join(found)}." if found else ""


def _costs(kinds: Sequence[Kind], measured: Mapping[str, Measured], footprints: Mapping[str, Footprint]) -> str:
    head = [
        "",
        "p50 ms",
        "p99 ms",
        "CPU ms, one by one",
        "CPU µs, map",
        "memory MB",
        "start s",
        "import s",
        "installed MB",
    ]
    rows = []
    for kind in kinds:
        one, footprint = measured[kind.title], footprints.get(kind.title)
        figures = [_times(one.p50, 1e3), _times(one.p99, 1e3), _times(one.cpu_of("trivial"), 1e3)]
        figures += [_times(one.cpu_of("trivial, map"), 1e6), _times(one.memory or None, 1e-6), _times(one.first, 1)]
        figures += [_times(footprint.seconds if footprint else None, 1)]
        size = footprint.size if footprint else 0
        rows.append([kind.title, *figures, number(round(size / 1e6)) if size else ""])
    return markdown_table(head, rows)


def _times(value: float | None, factor: float) -> str:
    return "failed" if value is None else number(value * factor)


def _split(kinds: Sequence[Kind], measured: Mapping[str, Measured]) -> str:
    roles = ("client", "hub", "agents", "workers", "others")
    rows = []
    for kind in kinds:
        for load in ("trivial", "trivial, map", "1 ms", "1 ms, map"):
            cpu = measured[kind.title].cpu.get(load)
            if kind.ours and cpu is not None:
                figures = [number(round(cpu.get(role, 0.0) * 1e6, 1)) for role in roles]
                rows.append([kind.title, load, *figures])
    return markdown_table(["", "load", *roles], rows) if rows else ""


def _largest(kinds: Sequence[Kind], footprints: Mapping[str, Footprint], count: int = 8) -> str:
    """What dominates the installed size of crowdgrid."""
    for kind in kinds:
        footprint = footprints.get(kind.title)
        if kind.ours and footprint is not None and footprint.sizes:
            named = [f"{name} {number(size / 1e6)}" for name, size in footprint.sizes.most_common(count)]
            return f"The largest packages of an installed crowdgrid, MB: {', '.join(named)}."
    return ""


def _flat(flat: Flat) -> str:
    rate = flat.items / flat.seconds
    return (
        f"One map of {flat.items:,} trivial items, results read and let go: {number(rate)} items/s. Resident memory of the client: "
        f"{number(flat.start / 1e6)} MB before, at most {number(flat.most / 1e6)}, {number(flat.end / 1e6)} at the end; all "
        f"processes together {number(flat.whole / 1e6)} MB at the end."
    )


def _faults(faults: Mapping[str, Sequence[Fault]]) -> str:
    rows = [[title, *fault.row()] for title, all_ in faults.items() for fault in all_]
    return markdown_table(["", "killed", "by itself", "after it was started again"], rows)
