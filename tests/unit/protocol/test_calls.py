"""Calls as bytes: what a worker gets is what was called."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crowdgrid.errors import BadInput, CannotTravel
from crowdgrid.protocol.calls import pack_call, unpack_call
from tests.unit.protocol.test_values import VALUES, same


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(), VALUES, max_size=3))
@example([2**64], {})
@example(["\ud800"], {"a": 2**70})
@example([(1,)], {"b": (2,)})
def test_calls_come_back_as_they_were(args: list[Any], kwargs: dict[str, Any]) -> None:
    found_args, found_kwargs = unpack_call(pack_call(tuple(args), kwargs))
    assert same(found_args, tuple(args))
    assert same(found_kwargs, kwargs)


def test_the_layout_is_what_other_languages_write() -> None:
    assert pack_call((1, "a"), {}) == msgspec.msgpack.encode([[1, "a"]])
    assert pack_call((), {"b": 2}) == msgspec.msgpack.encode([[], {"b": 2}])
    assert unpack_call(msgspec.msgpack.encode([[1]])) == ((1,), {})


def test_what_cannot_travel_is_called_an_argument() -> None:
    with pytest.raises(CannotTravel, match=r"An argument of type object cannot travel \(at \[0\]\[1\]\)\."):
        pack_call((1, object()), {})
    with pytest.raises(CannotTravel, match=r"\(at \[1\]\['lock'\]\)"):
        pack_call((), {"lock": object()})


@given(st.binary(max_size=60))
@example(msgspec.msgpack.encode([]))
@example(msgspec.msgpack.encode([1]))
@example(msgspec.msgpack.encode([[], []]))
@example(msgspec.msgpack.encode([[], {1: 2}]))
@example(msgspec.msgpack.encode([[], {}, 1]))
@example(msgspec.msgpack.encode({}))
def test_other_bytes_are_no_call(data: bytes) -> None:
    try:
        args, kwargs = unpack_call(data)
    except BadInput:
        return
    assert type(args) is tuple
    assert all(type(name) is str for name in kwargs)
