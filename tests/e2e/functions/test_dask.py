"""Dask's graphs on a grid: what comes out is what Dask computes by itself."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import dask
import dask.bag
import pytest

import crowdgrid as cg
from crowdgrid.errors import BadInput


@pytest.fixture(autouse=True)
def scheduler(grid: cg.Grid) -> Iterator[None]:
    with dask.config.set(scheduler=cg.dask_get):
        yield


@dask.delayed
def inc(x: int) -> int:
    return x + 1


@dask.delayed
def total(*values: int) -> int:
    return sum(values)


@dask.delayed
def fails(x: int) -> int:
    raise ValueError(f"no {x}")


def test_a_graph_of_delayed_calls_is_computed_in_the_order_it_needs() -> None:
    layer = [inc(x) for x in range(10)]
    pairs = [total(a, b) for a, b in zip(layer[::2], layer[1::2])]
    assert total(*pairs).compute() == 55


def test_several_results_of_any_form_come_at_once() -> None:
    assert dask.compute(inc(1), [inc(2), {"a": inc(3)}], 7) == (2, [3, {"a": 4}], 7)


def test_a_bag_gives_what_it_gives_without_a_grid() -> None:
    bag = dask.bag.from_sequence(range(1_000), npartitions=8)
    chain = bag.map(lambda x: x * 3).filter(lambda x: x % 2 == 0)
    with dask.config.set(scheduler="sync"):
        expected = chain.sum().compute(), chain.frequencies().count().compute(), chain.topk(3).compute()
    assert (chain.sum().compute(), chain.frequencies().count().compute(), chain.topk(3).compute()) == expected


def test_a_graph_written_by_hand_is_computed_too() -> None:
    graph: dict[Any, Any] = {
        "x": 1,
        "y": (operator.add, "x", 10),
        "z": (sum, ["x", "y", "y"]),
        "other": (operator.add, 0, 0),
    }
    assert cg.dask_get(graph, ["z", ["y", "x"]]) == (23, (11, 1))


def test_what_a_task_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="no 3"):
        total(inc(1), fails(3)).compute()
    assert inc(1).compute() == 2  # and the grid goes on


def test_a_grid_of_others_is_refused(grid: cg.Grid) -> None:
    address = grid.connection.address
    with cg.connect(address.url, address.token), pytest.raises(BadInput, match="not one of your own"):
        inc(1).compute()
