"""Credit: what nodes earned. One's own nodes, or for an admin everybody's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from crowdgrid import ids, limits
from crowdgrid.core.trust.credit import MICRO, recent
from crowdgrid.errors import NotFound
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.nodes import find_node
from crowdgrid.hub.api.paging import DEFAULT, Limit
from crowdgrid.hub.api.table import Call, Endpoint, gives
from crowdgrid.store import CreditDay

_DAY_MS = 86_400_000


class CreditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of those who earned most."""

    limit: Limit = DEFAULT


class EntriesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a node's entries, newest first."""

    limit: Limit = DEFAULT
    before: Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1, description="`next` of the page before.")] = 0


class Earner(msgspec.Struct, frozen=True):
    """A node, and its credit: altogether, and recently, in credits a day (a day counts half after a week)."""

    node: str
    name: str
    owner: str
    total: float
    recent: float


class CreditPage(msgspec.Struct, frozen=True):
    """Who earned most."""

    earners: list[Earner]


class CreditEntry(msgspec.Struct, frozen=True):
    """What a node earned by one job, or what was taken back of that. `price`: credits a unit."""

    at: int
    job: str
    submitter: str
    amount: float
    units: int
    tasks: int
    price: float


class NodeCredit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's credit and the entries it is made of, newest first. `next` is `before` of the next page."""

    total: float
    recent: float
    entries: list[CreditEntry]
    next: int | None = None


async def list_credit(call: Call) -> CreditPage:
    """The nodes that earned most."""
    query: CreditQuery = call.query
    keeper = call.hub.keeper
    sums: dict[int, list[CreditDay]] = {}
    after = 0
    while page := await keeper.store.credit_days(owner=call.principal.scope, after=after, limit=limits.RECALL_ROWS):
        whole = (
            page if len(page) < limits.RECALL_ROWS else [each for each in page if each.node != page[-1].node] or page
        )
        for each in whole:
            sums.setdefault(each.node, []).append(each)
        if len(page) < limits.RECALL_ROWS:
            break
        after = whole[-1].node
    found = sorted(((_total(days), number) for number, days in sums.items()), reverse=True)[: query.limit]
    earners = []
    for total, number in found:
        node = await keeper.store.node(number)
        if node is not None:
            rate = _recent(sums[number], keeper.now())
            earners.append(Earner(ids.did_of(node.key), node.name, node.owner, total, rate))
    return CreditPage(earners)


async def show_credit(call: Call) -> NodeCredit:
    """What a node earned. Entries of one moment are never cut apart by a page's end."""
    query: EntriesQuery = call.query
    node = await find_node(call, call.path["node"])
    keeper = call.hub.keeper
    days = await keeper.store.credit_days(node=node.number, limit=limits.RECALL_ROWS)
    found = await keeper.store.credits_of(node.number, before=query.before, limit=query.limit)
    more = len(found) == query.limit
    if more and found[0].at > found[-1].at:
        found = [entry for entry in found if entry.at > found[-1].at]
    entries = [
        CreditEntry(
            each.at, keeper.ids.job(each.job), each.submitter, each.amount / MICRO, each.units, each.tasks,
            each.price / MICRO,
        )
        for each in found
    ]  # fmt: skip
    return NodeCredit(_total(days), _recent(days, keeper.now()), entries, found[-1].at if more else None)


def _total(days: Iterable[CreditDay]) -> float:
    return sum(each.amount for each in days) / MICRO


def _recent(days: Iterable[CreditDay], now: int) -> float:
    sums: dict[int, int] = {}
    for each in days:
        sums[each.day] = sums.get(each.day, 0) + each.amount
    return recent(sums, now // _DAY_MS)


_READ = (Verb.READ, Place.NODES)

ENDPOINTS = (
    Endpoint(
        "GET", "/v1/credit", "List who earned most", list_credit, _READ, gives(CreditPage, "They."), query=CreditQuery
    ),
    Endpoint(
        "GET",
        "/v1/nodes/{node}/credit",
        "Show what a node earned",
        show_credit,
        _READ,
        gives(NodeCredit, "A page."),
        query=EntriesQuery,
        errors=(NotFound,),
    ),
)
