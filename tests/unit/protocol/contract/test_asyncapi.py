"""asyncapi.json keeps the rules of AsyncAPI 3.0 and leaves no message of either link out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from crowdgrid.protocol.contract import asyncapi, schema
from crowdgrid.protocol.contract.shapes import contract
from tests.unit.protocol.contract.drawing import as_json, validator

CONTRACT = contract()
DOCUMENT = asyncapi.document(CONTRACT)
FILES = {"": DOCUMENT, asyncapi.SCHEMA_FILE: schema.document(CONTRACT)}
OPERATIONS = DOCUMENT["operations"]

# The fields an object of the specification may have (beside `x-…`), and those it must.
OBJECTS: dict[str, tuple[set[str], set[str]]] = {
    "root": (
        {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"},
        {"asyncapi", "info"},
    ),
    "info": (
        {"title", "version", "description", "termsOfService", "contact", "license", "tags", "externalDocs"},
        {"title", "version"},
    ),
    "server": (
        {"host", "protocol", "protocolVersion", "pathname", "description", "title", "summary", "variables", "security",
         "tags", "externalDocs", "bindings"},
        {"host", "protocol"},
    ),
    "channel": (
        {"address", "messages", "title", "summary", "description", "servers", "parameters", "tags", "externalDocs",
         "bindings"},
        {"address", "messages"},
    ),
    "operation": (
        {"action", "channel", "title", "summary", "description", "security", "tags", "externalDocs", "bindings",
         "traits", "messages", "reply"},
        {"action", "channel"},
    ),
    "reply": ({"address", "channel", "messages"}, set()),
    "message": (
        {"headers", "payload", "correlationId", "contentType", "name", "title", "summary", "description", "tags",
         "externalDocs", "bindings", "examples", "traits"},
        {"payload"},
    ),
    "multi": ({"schemaFormat", "schema"}, {"schemaFormat", "schema"}),
    "ws": ({"method", "query", "headers", "bindingVersion"}, set()),
    "example": ({"headers", "payload", "name", "summary"}, {"payload"}),
    "correlation": ({"description", "location"}, {"location"}),
}  # fmt: skip


def resolve(ref: str) -> Any:
    """What a reference leads to. Raises KeyError when it leads nowhere."""
    file, _, pointer = ref.partition("#")
    found: Any = FILES[file]
    for step in pointer.strip("/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def objects() -> Iterator[tuple[str, Any]]:
    """Every object of the document with its kind."""
    yield "root", DOCUMENT
    yield "info", DOCUMENT["info"]
    yield from (("server", each) for each in DOCUMENT["servers"].values())
    for channel in DOCUMENT["channels"].values():
        yield "channel", channel
        yield "ws", channel["bindings"]["ws"]
    for operation in OPERATIONS.values():
        yield "operation", operation
        if "reply" in operation:
            yield "reply", operation["reply"]
    for message in DOCUMENT["components"]["messages"].values():
        yield "message", message
        yield "multi", message["payload"]
        yield from (("example", each) for each in message["examples"])
        if "correlationId" in message:
            yield "correlation", message["correlationId"]


def test_every_object_has_the_fields_of_the_specification() -> None:
    for kind, found in objects():
        may, must = OBJECTS[kind]
        assert must <= found.keys() <= may, (kind, found)
    assert re.fullmatch(r"3\.\d+\.\d+", DOCUMENT["asyncapi"])
    names = [*DOCUMENT["servers"], *DOCUMENT["components"], *DOCUMENT["components"]["messages"]]
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert len(found) > 100
    for ref in found:
        assert resolve(ref), ref


def test_a_reference_to_nothing_is_found() -> None:
    with pytest.raises(KeyError):
        resolve("#/components/messages/Nothing")


def test_an_operation_names_messages_of_its_own_channel() -> None:
    """The specification's rule: references into the channel, not into the components."""
    for operation in OPERATIONS.values():
        assert operation["action"] in {"send", "receive"}
        for part in (operation, operation.get("reply", operation)):
            channel = part["channel"]["$ref"]
            assert re.fullmatch(r"#/channels/\w+", channel)
            assert part["messages"]
            assert all(each["$ref"].startswith(f"{channel}/messages/") for each in part["messages"])


def test_every_message_of_every_direction_is_an_operation() -> None:
    told = {
        (DOCUMENT["channels"][operation["channel"]["$ref"].rpartition("/")[2]]["address"], operation["action"], tag)
        for operation in OPERATIONS.values()
        for tag in [operation["messages"][0]["$ref"].rpartition("/")[2]]
    }
    assert told == {
        (each.path, "receive" if each.receiver == "hub" else "send", shape.tag)
        for each in CONTRACT.directions
        for shape in each.messages
    }


def test_a_request_with_an_id_has_an_answer_with_an_id() -> None:
    """What carries a number is answered by what repeats it."""
    for direction in CONTRACT.directions:
        for shape in direction.messages:
            numbered = shape.fields[:1] and shape.fields[0].name == "id"
            message = DOCUMENT["components"]["messages"][shape.name]
            assert ("correlationId" in message) == bool(numbered)
            if numbered and direction.sender == "client":
                reply = OPERATIONS[f"client_to_hub_{shape.tag}"]["reply"]
                assert all("correlationId" in resolve(resolve(each["$ref"])["$ref"]) for each in reply["messages"])


def test_every_example_is_valid() -> None:
    for name, message in DOCUMENT["components"]["messages"].items():
        for example in message["examples"]:
            validator(name).validate(as_json(example["payload"]))


def test_only_the_client_link_asks_for_a_token() -> None:
    channels = DOCUMENT["channels"]
    assert channels["client"]["bindings"]["ws"]["headers"]["required"] == ["Authorization"]
    assert "headers" not in channels["node"]["bindings"]["ws"]
    secured = {name for name, operation in OPERATIONS.items() if "security" in operation}
    assert secured == {name for name in OPERATIONS if name.startswith("client_to_hub")}
