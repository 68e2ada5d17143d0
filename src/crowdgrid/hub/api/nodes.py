"""Nodes, for their owners and for operators: see them, drain them, let them go."""

from __future__ import annotations

from typing import Annotated

import msgspec

from crowdgrid import ids
from crowdgrid.core import commands
from crowdgrid.core.model import Node, NodeState
from crowdgrid.errors import BadInput, Conflict, NotFound
from crowdgrid.hub import views
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.paging import DEFAULT, Limit
from crowdgrid.hub.api.table import Call, Endpoint, gives

DID_CHARS = 80


class NodesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of nodes, by number."""

    limit: Limit = DEFAULT
    after: Annotated[str, msgspec.Meta(max_length=80, description="`next` of the page before.")] = ""


class TrustQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a node's history, newest first."""

    limit: Limit = DEFAULT
    before: Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1, description="`next` of the page before.")] = 0


class TrustMoveInfo(msgspec.Struct, frozen=True):
    """A node's trust index moved because of its vote on a task, because it gave two different answers to it, or
    (`task` is empty) because it was away for long."""

    at: int
    task: str
    before: float
    after: float


class TrustPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a node's trust index moved, newest first. `next` is `before` of the next page."""

    trust: float
    moves: list[TrustMoveInfo]
    next: int | None = None


class NodesPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nodes by number. `next` is `after` of the next page."""

    nodes: list[views.NodeInfo]
    next: str | None = None


async def list_nodes(call: Call) -> NodesPage:
    """One's own nodes, or for an admin everybody's."""
    query: NodesQuery = call.query
    after = (await find_node(call, query.after)).number if query.after else 0
    nodes = await call.hub.keeper.store.nodes(owner=call.principal.scope, after=after, limit=query.limit)
    online = call.hub.presence
    shown = [views.node_info(node, online=node.number in online) for node in nodes]
    return NodesPage(shown, shown[-1].id if len(shown) == query.limit else None)


async def find_node(call: Call, text: str) -> Node:
    """A node by its did:key. Raises NotFound."""
    try:
        if len(text) > DID_CHARS:  # what is longer is none, and base58 takes quadratic time to say so
            raise BadInput
        node = await call.hub.keeper.store.node_keyed(ids.key_of(text))
    except BadInput:
        node = None
    if node is None or not call.principal.sees(node.owner):
        raise NotFound(f"There is no node {text[:80]!r} of yours.", hint="`crowdgrid nodes ls` lists your nodes.")
    return node


async def show_node(call: Call) -> views.NodeInfo:
    """One node with what it told of itself and what it holds now."""
    return await _shown(call, await find_node(call, call.path["node"]))


async def show_trust(call: Call) -> TrustPage:
    """How a node's trust index came to be what it is. Moves of one moment are never cut apart by a page's end."""
    query: TrustQuery = call.query
    node = await find_node(call, call.path["node"])
    store, ids_of = call.hub.keeper.store, call.hub.keeper.ids
    found = await store.trust_moves(node.number, before=query.before, limit=query.limit)
    more = len(found) == query.limit
    if more and found[0].at > found[-1].at:
        found = [move for move in found if move.at > found[-1].at]
    moves = [
        TrustMoveInfo(each.at, ids_of.task(each.job, each.ordinal) if each.job else "", each.before, each.after)
        for each in found
    ]
    return TrustPage(node.trust, moves, found[-1].at if more else None)


async def _shown(call: Call, node: Node) -> views.NodeInfo:
    live = await call.hub.keeper.ask(commands.Snapshot())
    here = next((found for found in live.nodes if found.node == node.number), None)
    held, slots = (here.held, here.slots) if here else (0, 0)
    return views.node_info(node, online=bool(here and here.online), held=held, slots=slots, told=True)


async def _move(call: Call, verb: Verb, state: NodeState) -> views.NodeInfo:
    node = await find_node(call, call.path["node"])
    call.allow(verb, node)
    if node.state is NodeState.LEFT:
        raise Conflict("This node has left the grid.", hint="It can join again with a new invitation.")
    updated = await call.hub.keeper.ask(commands.Update(msgspec.structs.replace(node, state=state)))
    return await _shown(call, updated)


async def drain_node(call: Call) -> views.NodeInfo:
    """It finishes what it holds and gets nothing new."""
    return await _move(call, Verb.CHANGE, NodeState.DRAINING)


async def activate_node(call: Call) -> views.NodeInfo:
    """It may be given work again."""
    return await _move(call, Verb.CHANGE, NodeState.ACTIVE)


async def remove_node(call: Call) -> views.NodeInfo:
    """It leaves the grid for good: its link is closed and its key is refused from now on."""
    return await _move(call, Verb.REMOVE, NodeState.LEFT)


_NODE = gives(views.NodeInfo, "The node.")
_READ = (Verb.READ, Place.NODES)
_CHANGE = (Verb.CHANGE, Place.NODES)

ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/nodes",
        "List nodes",
        list_nodes,
        _READ,
        gives(NodesPage, "A page."),
        query=NodesQuery,
        errors=(NotFound,),
    ),
    Endpoint("GET", "/v1/nodes/{node}", "Show a node", show_node, _READ, _NODE),
    Endpoint(
        "GET",
        "/v1/nodes/{node}/trust",
        "Show how a node's trust moved",
        show_trust,
        _READ,
        gives(TrustPage, "A page."),
        query=TrustQuery,
    ),
    Endpoint(
        "POST", "/v1/nodes/{node}/drain", "Give a node no more work", drain_node, _CHANGE, _NODE, errors=(Conflict,)
    ),
    Endpoint("POST", "/v1/nodes/{node}/activate", "Undo a drain", activate_node, _CHANGE, _NODE, errors=(Conflict,)),
    Endpoint(
        "POST",
        "/v1/nodes/{node}/remove",
        "Remove a node",
        remove_node,
        (Verb.REMOVE, Place.NODES),
        _NODE,
        errors=(Conflict,),
    ),
)
