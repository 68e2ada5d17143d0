"""links.schema.json says what the codec does: what one takes the other takes, for every message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from crowdgrid.errors import BadInput
from crowdgrid.protocol import codec
from crowdgrid.protocol.contract import samples
from crowdgrid.protocol.contract.shapes import Direction, Shape, contract
from tests.unit.protocol.contract.drawing import ANYTHING, DOCUMENT, as_json, is_base64, made, on_the_wire, validator

CONTRACT = contract()
SHAPES = pytest.mark.parametrize("shape", CONTRACT.shapes.values(), ids=list(CONTRACT.shapes))
MESSAGES = pytest.mark.parametrize("shape", CONTRACT.messages.values(), ids=list(CONTRACT.messages))
DIRECTIONS = pytest.mark.parametrize("direction", CONTRACT.directions, ids=[each.name for each in CONTRACT.directions])
DECODERS: dict[str, codec.FrameDecoder[Any]] = {
    "NodeToHub": codec.node_to_hub,
    "HubToNode": codec.hub_to_node,
    "ClientToHub": codec.client_to_hub,
    "HubToClient": codec.hub_to_client,
}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(DOCUMENT)


def test_every_reference_leads_to_a_definition() -> None:
    def refs(node: Any) -> list[str]:
        below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node["$ref"]] if isinstance(node, dict) and "$ref" in node else []
        return own + [ref for each in below for ref in refs(each)]

    assert {ref.removeprefix("#/$defs/") for ref in refs(DOCUMENT)} == set(DOCUMENT["$defs"])


@SHAPES
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_whatever_is_sent_is_valid(shape: Shape, data: st.DataObject) -> None:
    """Any value of any message or part, as JSON shows it and as msgpack carries it."""
    value = data.draw(made(shape))
    validator(shape.name).validate(as_json(value))
    validator(shape.name, raw=True).validate(on_the_wire(value))


@DIRECTIONS
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_whole_frames_are_valid(direction: Direction, data: st.DataObject) -> None:
    messages = data.draw(st.lists(st.one_of(*(made(shape) for shape in direction.messages)), max_size=3))
    validator(f"{direction.name}Frame", raw=True).validate(msgspec.msgpack.decode(codec.encode(messages)))
    Draft202012Validator(DOCUMENT).validate(as_json(messages))


@DIRECTIONS
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_schema_and_codec_refuse_the_same(direction: Direction, data: st.DataObject) -> None:
    """A real message with one thing in it, at any depth, replaced, dropped or added."""
    shape = data.draw(st.sampled_from(direction.messages))
    frame = [on_the_wire(data.draw(made(shape)))]
    holder: Any = frame
    while True:
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        place = data.draw(st.sampled_from(places))
        if not (isinstance(holder[place], list | dict) and holder[place]) or data.draw(st.booleans()):
            break
        holder = holder[place]
    match data.draw(st.sampled_from(["replace", "drop", "add"])):
        case "replace":
            holder[place] = data.draw(ANYTHING)
        case "drop":
            del holder[place]
        case "add" if isinstance(holder, list):
            holder.append(data.draw(ANYTHING))
        case "add":
            holder[data.draw(st.text(max_size=4))] = data.draw(ANYTHING)
    try:
        found = DECODERS[direction.name].decode(msgspec.msgpack.encode(frame))
        taken = not any(isinstance(message, codec.Unknown) for message in found)
    except BadInput:
        taken = False
    assert validator(f"{direction.name}Frame", raw=True).is_valid(frame) == taken, frame


@MESSAGES
def test_a_wrong_tag_is_refused(shape: Shape) -> None:
    whole = as_json(samples.full(shape))
    assert validator(shape.name).is_valid(whole)
    for tag in ("", "from_the_future", None, 1, shape.tag.upper()):
        assert not validator(shape.name).is_valid([tag, *whole[1:]])
    assert not validator(shape.name).is_valid({"t": shape.tag})


@SHAPES
def test_what_has_no_default_cannot_be_left_out(shape: Shape) -> None:
    """Everything with a default may be; nothing else."""
    whole = as_json(samples.full(shape))
    needed = [field.name for field in shape.fields if field.required]
    if shape.array:
        shortest = whole[: (1 if shape.tag else 0) + len(needed)]
        assert validator(shape.name).is_valid(shortest)
        assert not validator(shape.name).is_valid(shortest[:-1]) or not shortest
    else:
        tag = {shape.tag_field: shape.tag} if shape.tag else {}
        shortest = {name: whole[name] for name in needed} | tag
        assert validator(shape.name).is_valid(shortest)
        for name in shortest:
            assert not validator(shape.name).is_valid({key: each for key, each in shortest.items() if key != name})


@SHAPES
def test_the_defaults_told_are_the_defaults_taken(shape: Shape) -> None:
    """An implementer fills in what the schema says; it has to be what this side fills in."""
    told = DOCUMENT["$defs"][shape.name]
    fields = told["properties"] if not shape.array else {each["title"]: each for each in told["prefixItems"]}
    empty = shape.cls(
        **{field.name: getattr(samples.full(shape), field.name) for field in shape.fields if field.required}
    )
    for field in shape.fields:
        if not field.required:
            assert as_json(fields[field.name]["default"]) == as_json(getattr(empty, field.name)), field.name


@given(value=st.binary(max_size=50))
def test_bytes_are_shown_as_base64(value: bytes) -> None:
    """As `contentEncoding` says; the schema alone would take any text."""
    assert is_base64(as_json(value))


@MESSAGES
def test_fields_stand_in_their_order_with_their_words(shape: Shape) -> None:
    names = [each["title"] for each in DOCUMENT["$defs"][shape.name]["prefixItems"]]
    assert names == ["tag", *(field.name for field in msgspec.structs.fields(shape.cls))]
