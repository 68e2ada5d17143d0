"""The reference page for people: each message and each part of one as a table, made from the same types."""

from __future__ import annotations

from typing import Any

import msgspec

from crowdgrid.protocol.contract.orders import type_name
from crowdgrid.protocol.contract.shapes import Contract, Direction, Field, Shape

_HEAD = """\
# Messages of the links

Made from the types by `make contract`; not edited by hand. [The links](index.md) says how they are used,
[links.schema.json](links.schema.json) says the same as this page to a program.

A message is an array: its tag, then its fields in this order. A part without a tag is an array of its fields, or, where
it says *map*, a map by their names. A field with a default may be left out: in an array only together with all after it.
"""


def page(contract: Contract) -> str:
    """The page, as Markdown."""
    parts = [_HEAD, *(_direction(direction) for direction in contract.directions)]
    parts.append("## Parts of messages\n")
    messages = contract.messages
    parts += [_shape(shape) for name, shape in contract.shapes.items() if name not in messages]
    for name, structs in contract.unions.items():
        links = ", ".join(f"[{struct}](#{struct.lower()})" for struct in structs)
        parts.append(f"### {name}\n\nOne of {links}; told apart by `kind`.\n")
    for name, kind in contract.enums.items():
        values = ", ".join(f"`{_json(each.value)}` {each.name.lower()}" for each in kind)
        parts.append(f"### {name}\n\n{_words(kind.__doc__ or '')} {values}.\n")
    return "\n".join(parts)


def _direction(direction: Direction) -> str:
    seen = f"## {direction.sender.capitalize()} to {direction.receiver}, `{direction.path}`\n"
    return "\n".join([seen, *(_shape_of(direction, shape) for shape in direction.messages)])


def _shape_of(direction: Direction, shape: Shape) -> str:
    """A message both sides may say is described once, where a node or client says it."""
    if direction.name != "NodeToHub" and shape.tag == "bye":
        return "### Bye, here too\n\nAs [above](#bye).\n"
    if direction.name == "HubToClient" and shape.tag == "error":
        return "### Error, here too\n\nAs [above](#error).\n"
    return _shape(shape)


def _shape(shape: Shape) -> str:
    layout = f"`{shape.tag}`: " if shape.tag and shape.array else ""
    kind = (
        "*map*" + (f" with `{shape.tag_field}` = `{shape.tag}`" if shape.tag else "") + ". " if not shape.array else ""
    )
    closed = " A field it does not know is refused." if shape.closed else ""
    lines = [f"### {shape.name}", "", f"{layout}{kind}{_words(shape.doc)}{closed}", ""]
    if shape.fields:
        lines += ["| | field | type | default | meaning |", "|---|---|---|---|---|"]
        lines += [_row(number, field) for number, field in enumerate(shape.fields, 1)]
        lines.append("")
    return "\n".join(lines)


def _row(number: int, field: Field) -> str:
    default = "" if field.required else f"`{_json(field.default)}`"
    unit = f", {field.unit}" if field.unit else ""
    cells = (str(number), f"`{field.name}`", f"{type_name(field.type, field.name)}{unit}", default, field.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _words(text: str) -> str:
    return " ".join(text.split())
