"""A function that was captured is captured again exactly when it would give another program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crowdgrid.client.capture import Captured, capture

RATE = 1
TABLE = {"a": 1}
ARRAY = np.arange(3)
LATER: Any
HANDLERS = {"a": len}


class Setting:
    limit = 1


def helper(x: int) -> int:
    return x * RATE


def use(x: int, by: int = 1) -> Any:
    return helper(x) + by, TABLE, ARRAY, Setting.limit, HANDLERS, later_defined(x)  # type: ignore[name-defined] # noqa: F821


def counter() -> tuple[Callable[[], int], Callable[[], None]]:
    count = 0

    def look() -> int:
        return count

    def up() -> None:
        nonlocal count
        count += 1

    return look, up


def same_again(fn: Callable[..., Any], seen: Captured) -> bool:
    return capture(fn).program == seen.program


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a global": lambda patch: patch.setitem(globals(), "RATE", 2),
    "a dict, in place": lambda patch: patch.setitem(TABLE, "a", 5),
    "an attribute of a class": lambda patch: patch.setattr(Setting, "limit", 2),
    "a new attribute of a class": lambda patch: patch.setattr(Setting, "more", 2, raising=False),
    "a container of functions": lambda patch: patch.setitem(HANDLERS, "b", max),
    "a default": lambda patch: patch.setattr(use, "__defaults__", (5,)),
    "another function": lambda patch: patch.setitem(globals(), "helper", lambda x: x),
    "a function's code": lambda patch: patch.setattr(helper, "__code__", counter.__code__),
    "a name that was not there": lambda patch: patch.setitem(globals(), "later_defined", helper),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = capture(use)
    assert seen.current()
    assert same_again(use, seen)
    CHANGES[change](monkeypatch)
    assert not seen.current()
    assert not same_again(use, seen)
    monkeypatch.undo()
    assert same_again(use, seen)


def test_lists_and_arrays_that_change_in_place() -> None:
    items, array = [1, [2]], np.arange(3)
    seen = [capture(lambda: items), capture(lambda: array)]
    assert [each.current() for each in seen] == [True, True]
    items[1].append(3)  # type: ignore[attr-defined]
    array[0] = 5
    assert [each.current() for each in seen] == [False, False]


def test_a_closures_variable() -> None:
    look, up = counter()
    seen = capture(look)
    assert seen.current()
    up()
    assert not seen.current()


def test_an_initializer_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = capture(len, initializer=helper, initargs=(1,))
    assert seen.current()
    monkeypatch.setitem(globals(), "RATE", 3)
    assert not seen.current()


def test_nothing_else_is_a_change() -> None:
    """The same function gives the same bytes, in whatever order sets hash: its program is sent once."""
    words = {"a", "b", "c", "d"}

    def look() -> Any:
        return words, helper(1)

    assert capture(look).program == capture(look).program
    assert capture(look).current()


def test_pickles_are_watched() -> None:
    rate = [1]
    seen = capture(lambda x: x * rate[0], codec="pickle")
    assert seen.current()
    rate[0] = 2
    assert not seen.current()
