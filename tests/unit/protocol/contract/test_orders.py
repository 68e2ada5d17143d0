"""Compatibility: what the last release promised still stands, and every way to break it is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crowdgrid.protocol import codec
from crowdgrid.protocol.contract import BASELINE, baseline, orders, samples
from crowdgrid.protocol.contract.shapes import Direction, Shape, contract

RELEASED = msgspec.json.decode((Path(__file__).parents[4] / "docs/protocol" / BASELINE).read_bytes())
NOW = msgspec.json.decode(baseline())
CONTRACT = contract()
SAID = [(direction, shape) for direction in CONTRACT.directions for shape in direction.messages]
DECODERS: dict[str, codec.FrameDecoder[Any]] = {
    "NodeToHub": codec.node_to_hub,
    "HubToNode": codec.hub_to_node,
    "ClientToHub": codec.client_to_hub,
    "HubToClient": codec.hub_to_client,
}
EVERY = pytest.mark.parametrize(
    ("direction", "shape"), SAID, ids=[f"{direction.name}-{shape.name}" for direction, shape in SAID]
)


def test_this_version_keeps_what_the_last_release_promised() -> None:
    """A breach here locks out every node and client that was not updated with the hub."""
    assert orders.broken(RELEASED, NOW) == []


def test_a_later_version_may_add() -> None:
    """A field with a default at the end, a message, a member, a value, a struct."""
    later = copy.deepcopy(NOW)
    later["structs"]["Hello"]["fields"].append({"name": "new", "type": "int", "required": False})
    later["structs"]["Greeting"] = {"layout": "array", "tag": "greeting", "closed": False, "fields": []}
    later["directions"]["NodeToHub"].append("Greeting")
    later["unions"]["Split"].append("Greeting")
    later["enums"]["Outcome"]["LATER"] = 9
    assert orders.broken(NOW, later) == []
    assert orders.broken(later, NOW) != []


def _swap(document: Any) -> None:
    fields = document["structs"]["Lease"]["fields"]
    fields[2], fields[3] = fields[3], fields[2]


def _insert(document: Any) -> None:
    document["structs"]["Beat"]["fields"].insert(0, {"name": "new", "type": "int", "required": False})


def _change(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


def _remove(*path: Any) -> Callable[[Any], None]:
    def remove(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return remove


BREACHES: dict[str, tuple[Callable[[Any], None], str]] = {
    "two fields swapped": (_swap, "Lease: field 2 was start and is stop."),
    "a field before others": (_insert, "Beat: field 0 was sent and is new."),
    "a field removed": (_remove("structs", "Hello", "fields", 4), "Hello: field 4 was runtimes"),
    "the last field removed": (_remove("structs", "Hello", "fields", -1), "Hello: field"),
    "a field renamed": (_change("structs", "Seal", "fields", 1, "name", to="task"), "Seal: field 1 was job and is task."),
    "a type changed": (_change("structs", "Seal", "fields", 1, "type", to="int"), "Seal.job: it was str and is int."),
    "a default taken away": (
        _change("structs", "Bye", "fields", 0, "required", to=True),
        "Bye.reason: it could be left out and must be given.",
    ),
    "a new field without a default": (
        lambda document: document["structs"]["Bye"]["fields"].append({"name": "new", "type": "int", "required": True}),
        "Bye.new: it is new and has no default",
    ),
    "a struct removed": (_remove("structs", "Input"), "Input is gone."),
    "a tag changed": (_change("structs", "Fetch", "tag", to="get"), "Fetch: its tag was 'fetch' and is 'get'."),
    "a map made an array": (_change("structs", "JobInfo", "layout", to="array"), "JobInfo: its layout was 'map'"),
    "a map closed": (_change("structs", "JobInfo", "closed", to=True), "JobInfo: fields it does not know"),
    "a message taken out": (_remove("directions", "NodeToHub", 3), "The direction NodeToHub was Hello"),
    "a direction removed": (_remove("directions", "NodeToHub"), "The direction NodeToHub was"),
    "a member taken out": (_remove("unions", "Split", 0), "The union Split was Range"),
    "an enum renumbered": (_change("enums", "Outcome", "OK", to=5), "Outcome.OK is not 0 any more."),
    "a word of an enum removed": (_remove("enums", "Verdict", "COUNTED"), "Verdict.COUNTED is not 'counted'"),
}  # fmt: skip


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_named(breach: str) -> None:
    change, told = BREACHES[breach]
    later = copy.deepcopy(NOW)
    change(later)
    found = orders.broken(NOW, later)
    assert any(each.startswith(told) for each in found), found


@EVERY
def test_an_older_sender_is_understood(direction: Direction, shape: Shape) -> None:
    """It ends each array after the fields it knows: any number of those with defaults may be missing."""
    whole: list[Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(samples.full(shape)))
    for length in range(1 + sum(field.required for field in shape.fields), len(whole)):
        frame = msgspec.msgpack.encode([whole[:length]])
        assert isinstance(DECODERS[direction.name].decode(frame)[0], shape.cls)


@EVERY
def test_a_newer_sender_is_understood(direction: Direction, shape: Shape) -> None:
    """What it has to say beyond what is known here is passed over."""
    message = samples.full(shape)
    frame = msgspec.msgpack.encode([[*msgspec.msgpack.decode(msgspec.msgpack.encode(message)), "new", {"more": [1]}]])
    assert DECODERS[direction.name].decode(frame) == [message]


@pytest.mark.parametrize("name", RELEASED["structs"])
def test_what_a_sender_of_the_last_release_says_is_understood(name: str) -> None:
    """Each struct cut down to the fields it was released with still decodes."""
    shape = CONTRACT.shapes[name]
    released = RELEASED["structs"][name]["fields"]
    whole = msgspec.msgpack.decode(msgspec.msgpack.encode(samples.full(shape)))
    names = [field["name"] for field in released]
    if shape.array:
        cut: Any = whole[: len(names) + bool(shape.tag)]
    else:
        cut = {key: value for key, value in whole.items() if key in names or key == shape.tag_field}
    assert isinstance(msgspec.msgpack.decode(msgspec.msgpack.encode(cut), type=shape.cls), shape.cls)
