"""Places are taken in turn, and who gives up his turn passes it on."""

from __future__ import annotations

import asyncio

from crowdgrid.client.bound import Bound


def test_alone_one_may_take_all() -> None:
    bound, who = Bound(3), asyncio.Event()
    assert bound.room(who) == 3
    bound.take(who, 2)
    assert bound.room(who) == 1
    bound.give_back(2)
    assert bound.room(who) == 3
    assert not who.is_set()  # it did not wait


def test_a_place_goes_to_who_waited_longest() -> None:
    bound, busy, first, second = Bound(1), asyncio.Event(), asyncio.Event(), asyncio.Event()
    bound.take(busy, 1)
    for who in (first, second, busy):
        bound.wait(who)
    bound.give_back()
    assert (first.is_set(), second.is_set(), busy.is_set()) == (True, False, False)
    assert [bound.room(who) for who in (first, second, busy)] == [1, 0, 0]
    bound.take(first, 1)
    bound.wait(first)
    bound.give_back()
    assert [bound.room(who) for who in (first, second, busy)] == [0, 1, 0]


def test_places_nobody_waits_for_are_for_anyone() -> None:
    bound, first, second, late = Bound(4), asyncio.Event(), asyncio.Event(), asyncio.Event()
    bound.take(late, 4)
    bound.wait(first)
    bound.wait(second)
    bound.give_back(4)
    assert [bound.room(who) for who in (first, second, late)] == [3, 3, 2]
    bound.take(first, 3)
    assert [bound.room(who) for who in (first, second, late)] == [0, 1, 0]


def test_who_leaves_passes_its_turn_on() -> None:
    bound, busy, first, second = Bound(1), asyncio.Event(), asyncio.Event(), asyncio.Event()
    bound.take(busy, 1)
    bound.wait(first)
    bound.wait(second)
    bound.give_back()
    assert not second.is_set()
    bound.leave(first)
    assert second.is_set()
    assert bound.room(second) == 1
