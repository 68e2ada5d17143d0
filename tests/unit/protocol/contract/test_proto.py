"""crowdgrid.proto is a file a compiler takes, with the messages of the links in it and nothing else."""

from __future__ import annotations

import pytest

from crowdgrid.protocol.contract import proto
from crowdgrid.protocol.contract.shapes import Shape, contract
from tests.unit.protocol.contract.proto_grammar import BadProto, parse

CONTRACT = contract()
TEXT = proto.text(CONTRACT)
FILE = parse(TEXT)


@pytest.mark.parametrize("shape", CONTRACT.shapes.values(), ids=list(CONTRACT.shapes))
def test_every_struct_is_there_with_its_fields_in_their_order(shape: Shape) -> None:
    fields = FILE.messages[shape.name].fields
    assert [(field.name, field.number) for field in fields] == [
        (field.name, number) for number, field in enumerate(shape.fields, 1)
    ]
    for told, field in zip(fields, shape.fields, strict=True):
        assert told.label in ({""} if field.required else {"optional"}) | {"repeated", "map"}, field.name


def test_a_direction_is_a_choice_of_its_messages_by_tag() -> None:
    for direction in CONTRACT.directions:
        fields = FILE.messages[direction.name].fields
        assert [(field.name, field.type) for field in fields] == [(each.tag, each.name) for each in direction.messages]
        assert {field.oneof for field in fields} == {"message"}
        (frame,) = FILE.messages[f"{direction.name}Frame"].fields
        assert (frame.label, frame.type) == ("repeated", direction.name)


def test_nothing_is_in_it_that_does_not_travel() -> None:
    """Beside structs there are only frames, choices, and elements of lists Protocol Buffers cannot nest."""
    ours = {*CONTRACT.shapes, *CONTRACT.unions} | {each.name for each in CONTRACT.directions}
    others = {name for name in FILE.messages if name not in ours}
    assert all(name.endswith(("Frame", "Entry")) for name in others)
    used = {field.type for message in FILE.messages.values() for field in message.fields}
    assert {name for name in others if name.endswith("Entry")} <= used


def test_an_enum_of_numbers_has_those_of_the_wire() -> None:
    for name, kind in CONTRACT.enums.items():
        values = list(FILE.enums[name].values())
        if all(isinstance(each.value, int) for each in kind):
            assert values == [each.value for each in kind]
        else:
            assert len(values) == len(kind) + 1


@pytest.mark.parametrize("shape", CONTRACT.shapes.values(), ids=list(CONTRACT.shapes))
def test_every_field_has_its_words_above_it(shape: Shape) -> None:
    body = TEXT.partition(f"\nmessage {shape.name} {{\n")[2].partition("\n}")[0].splitlines()
    fields = [at for at, line in enumerate(body) if line.endswith(";")]
    assert len(fields) == len(shape.fields)
    assert [body[at] for at in fields if not body[at - 1].lstrip().startswith("// ")] == []


GOOD = 'syntax = "proto3"; message A { int64 a = 1; repeated B b = 2; } message B {} enum E { E_OK = 0; }'


def test_the_reader_takes_a_good_file() -> None:
    assert list(parse(GOOD).messages) == ["A", "B"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"proto3"', '"proto2"'),
        ("b = 2", "b = 1"),
        ("b = 2", "a = 2"),
        ("b = 2", "b = 0"),
        ("b = 2", "b = 19500"),
        ("repeated B", "repeated C"),
        ("repeated B", "required B"),
        ("message B", "message A"),
        ("message B {}", "message B {"),
        ("E_OK = 0", "E_OK = 1"),
        ("E_OK = 0", "E_OK = 0; E_OTHER = 0"),
        ("int64 a = 1;", "int64 a = 1"),
        ("int64 a", "int64 a-b"),
        ("int64 a = 1;", "int64 a = 1; oneof c {}"),
        ("int64 a = 1;", "int64 x_y = 1; int64 xY = 3;"),
        ("enum E", "service E"),
        ("enum E", "enum F { E_OK = 0; } enum E"),
        ("message A", 'import "somewhere.proto"; message A'),
    ],
)
def test_the_reader_refuses_what_a_compiler_refuses(old: str, new: str) -> None:
    """The check above is worth as much as what it would find."""
    assert old in GOOD
    with pytest.raises(BadProto):
        parse(GOOD.replace(old, new, 1))
