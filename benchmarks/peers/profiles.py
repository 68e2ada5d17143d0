"""Where the time goes when a goal is not reached: hub and agent under Python's profiler, with the load that missed it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import profiling
from benchmarks.context import Context
from benchmarks.peers.adapters.crowdgrid_hub import PROFILE
from benchmarks.peers.catalogue import KINDS, Kind
from benchmarks.peers.cells import Cells, Measured, come_to_rest, started
from benchmarks.peers.goals import Judged
from benchmarks.peers.talk import Adapter, PeerFailed, Place

LINES = 16
LOADS = ("1 ms", "trivial, map")  # those goals are about that are missed on a busy machine


def of_missed(judged: Sequence[Judged], context: Context) -> dict[str, str]:
    """Profiles by title, one for each load with a goal that was not reached. Raises PeerFailed."""
    missed = [one for one in judged if one.value is not None and not one.reached]
    found = of_loads(sorted({one.load for one in missed if one.load}), context)
    if any(one.is_import for one in missed):
        found["`import crowdgrid`"] = profiling.imports(str(_hub().python), "import crowdgrid")
    return found


def of_loads(loads: Sequence[str], context: Context) -> dict[str, str]:
    """Profiles of these loads, by title. Raises PeerFailed."""
    found = {}
    for load in loads:
        print(f"  profile: {load}", file=sys.stderr)
        found[f"{load}, the hub and one of two agents"] = _profile(_hub(), load, context)
    return found


def _hub() -> Kind:
    return next(kind for kind in KINDS if kind.name == "crowdgrid_hub")


def _profile(kind: Kind, load: str, context: Context) -> str:
    with Place() as place, Adapter(kind, place, **{PROFILE: "1"}) as adapter:
        started(adapter)
        come_to_rest(adapter)
        Cells(adapter, context, Measured()).named(load)
        adapter.close()
        try:
            return "\n\n".join(profiling.table(place.folder / f"{name}.prof", LINES) for name in ("hub", "agent-1"))
        except (OSError, EOFError, ValueError) as error:
            raise PeerFailed(f"no whole profile was written: {error}") from None
