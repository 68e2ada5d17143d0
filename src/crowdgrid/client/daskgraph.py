"""Dask on a grid: `dask_get` computes any Dask graph, one call a task.

    dask.config.set(scheduler=crowdgrid.dask_get)

Each task of the graph is a call whose arguments are the futures of the tasks it needs; when they are done it is sent
with their results. Results pass through this process: a graph whose intermediate values are large wants a grid
nearby. Dask's tasks hold Python objects, so this is for grids of one's own (see `trust`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from concurrent.futures import Future
from graphlib import TopologicalSorter
from typing import Any, Final, TypeAlias

from dask._task_spec import Alias, DataNode, GraphNode, convert_legacy_graph
from dask.core import flatten
from dask.utils import ensure_dict

from crowdgrid.client import background, current
from crowdgrid.client.calling import Calling
from crowdgrid.client.options import Options
from crowdgrid.errors import BadInput, Unavailable

Key: TypeAlias = Hashable
_OPTIONS: Final = Options(codec="pickle", timeout=86_400.0)


def dask_get(dsk: Mapping[Key, Any], keys: Any, **options: Any) -> Any:
    """Compute `keys` of a Dask graph on the grid opened last.

    Args:
        dsk: the graph. keys: one key, or nested lists of them; the results have the same form.
        options: those of `function` (timeout, memory, …) and `grid`; others that Dask passes on are ignored.

    Raises:
        BadInput: the grid is not one of your own.
        Exception: what the first failing task raised.
    """
    grid = options.get("grid") or current.grid()
    known = {name: value for name, value in options.items() if name in Options.__struct_fields__}
    if not grid.connection.trust.possible:
        raise BadInput(
            "Dask sends pickled objects, and this grid is not one of your own.",
            hint="Use crowdgrid.local() or the hub `crowdgrid up` runs.",
        )
    calling = Calling(grid.connection)
    try:
        return _results(_submit_all(calling, dsk, keys, _OPTIONS.change(known)), keys)
    except BaseException:
        background.start(calling.abort(Unavailable("The graph was given up.")))
        raise
    finally:
        background.start(calling.close(Unavailable("The graph is done.")))


def _submit_all(calling: Calling, dsk: Mapping[Key, Any], keys: Any, options: Options) -> dict[Key, Any]:
    """Each key's value, or the future of it."""
    graph: dict[Key, GraphNode] = convert_legacy_graph(_materialized(dsk))
    needed = _needed(graph, list(flatten([keys])))
    found: dict[Key, Any] = {}
    for key in TopologicalSorter({key: graph[key].dependencies for key in needed}).static_order():
        node = graph[key]
        if isinstance(node, DataNode):
            found[key] = node.value
        elif isinstance(node, Alias):
            found[key] = found[node.target]
        else:
            given = {needs: found[needs] for needs in node.dependencies}
            found[key] = calling.submit(_run, (node, given), {}, options)
    return found


def _materialized(dsk: Any) -> dict[Key, Any]:
    """A graph as a dict, whether it comes as one, in layers or as an expression."""
    return ensure_dict(dsk.__dask_graph__() if hasattr(dsk, "__dask_graph__") else dsk)


def _needed(graph: dict[Key, GraphNode], keys: list[Key]) -> set[Key]:
    """The keys these depend on, themselves included."""
    needed: set[Key] = set()
    left = list(keys)
    while left:
        key = left.pop()
        if key not in needed:
            needed.add(key)
            left += graph[key].dependencies
    return needed


def _results(found: dict[Key, Any], keys: Any) -> Any:
    if isinstance(keys, list):
        return tuple(_results(found, key) for key in keys)
    value = found[keys]
    return value.result() if isinstance(value, Future) else value


def _run(node: GraphNode, given: dict[Key, Any]) -> Any:
    """One task of a graph, in a worker."""
    return node(given)
