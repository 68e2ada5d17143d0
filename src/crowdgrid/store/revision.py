"""Which statements bring a database to the newest revision.

They were generated from the Alembic migrations (see `generate.py`) and are text here: upgrading needs no more than a
database's driver. The adapter runs them in the transaction of `open`, all or none, whatever happens to the hub
meanwhile. The table `alembic_version` holds the revision, as it does in every store since the first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

from crowdgrid.store import faults

Upgrades: TypeAlias = Mapping[str, Sequence[str]]
"""By revision, first to newest: what leads to it from the one before, the recording of it included."""


def newest(upgrades: Upgrades) -> str:
    """The revision this version of crowdgrid works with."""
    return [*upgrades][-1]


def needed(
    place: str, tables: Collection[str], found: str | None, *, upgrades: Upgrades, ddl: Sequence[str]
) -> Sequence[str]:
    """What has to be run.

    Args:
        place: where the store is, for people.
        tables: the tables there are. found: the revision they are stamped with.
        upgrades: of every revision. ddl: the newest schema, which a new store is made from.

    Raises:
        Unavailable: it is a later version's store, or something else's database.
    """
    if not tables:
        return ddl
    if found is None or "grid" not in tables:
        raise faults.not_ours(place)
    known = [*upgrades]
    if found not in known:
        raise faults.too_new(place, found)
    missing = known[known.index(found) + 1 :]
    return [*chain.from_iterable(upgrades[revision] for revision in missing)]
