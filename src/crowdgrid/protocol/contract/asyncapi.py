"""AsyncAPI 3.0: the two links as channels, who says what on them, and which message answers which.

The document describes the hub: it *receives* what nodes and clients send. Payloads are defined in links.schema.json
beside it, by reference, so there is one definition of each.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from crowdgrid import limits
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.contract import samples
from crowdgrid.protocol.contract.shapes import Contract, Direction, Shape

SCHEMA_FILE: Final = "links.schema.json"
MSGPACK: Final = "application/vnd.msgpack"
SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"

# What answers a message. A client's request may also be answered with `Failed`, anything with `Error`.
ANSWERS: Final[dict[type[m.Message], type[m.Message]]] = {
    m.Hello: m.Challenge,
    m.Proof: m.Welcome,
    m.Heartbeat: m.Beat,
    m.Report: m.Acknowledge,
    m.Open: m.Opened,
    m.Attach: m.Opened,
    m.Append: m.Appended,
    m.Seal: m.Done,
    m.CancelJob: m.Done,
    m.Read: m.Done,
}

_FRAMING: Final = (
    "Binary WebSocket messages only, without a subprotocol and without compression. Each is a frame: a msgpack list of "
    f"any number of messages, at most {limits.FRAME_BYTES:,} bytes. A message is an array, `[tag, field, …]`. An unknown "
    "tag is answered with `error` and the link lives; elements beyond those known are passed over."
)
_CHANNELS: Final[dict[str, dict[str, str]]] = {
    "/v1/node": {
        "title": "Node link",
        "summary": "For nodes that take work.",
        "description": f"{_FRAMING} It begins with hello, challenge, proof, welcome, each alone in its frame; "
        "no header is needed, as the node proves its key.",
    },
    "/v1/client": {
        "title": "Client link",
        "summary": "For programs that give work.",
        "description": f"{_FRAMING} The token travels in the handshake. Requests carry an `id` their answer repeats and "
        "are carried out side by side.",
    },
}


def document(contract: Contract) -> dict[str, Any]:
    """The whole document, ready for JSON."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "crowdgrid links",
            "version": f"{m.VERSION}",
            "description": "The two WebSocket links of a crowdgrid hub. REST is in openapi.json.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": MSGPACK,
        "servers": {
            "hub": {
                "host": "hub.example:8443",
                "protocol": "wss",
                "protocolVersion": "13",
                "description": "A hub. On a loopback address also without TLS (`ws`).",
            }
        },
        "channels": {_name(path): _channel(contract, path) for path in _CHANNELS},
        "operations": {
            f"{_snake(direction)}_{shape.tag}": _operation(contract, direction, shape)
            for direction in contract.directions
            for shape in direction.messages
        },
        "components": {
            "messages": {shape.name: _message(shape) for shape in contract.messages.values()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of this grid, `cg_…`."}
            },
        },
    }


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _snake(direction: Direction) -> str:
    return f"{direction.sender}_to_{direction.receiver}"


def _channel(contract: Contract, path: str) -> dict[str, Any]:
    shapes = {shape.tag: shape for each in contract.directions if each.path == path for shape in each.messages}
    bindings: dict[str, Any] = {"method": "GET", "bindingVersion": "0.1.0"}
    if path == "/v1/client":
        header = {"type": "string", "pattern": "^Bearer ", "description": "A token of this grid."}
        bindings["headers"] = {
            "type": "object",
            "properties": {"Authorization": header},
            "required": ["Authorization"],
        }
    return {
        "address": path,
        **_CHANNELS[path],
        "servers": [{"$ref": "#/servers/hub"}],
        "messages": {tag: {"$ref": f"#/components/messages/{shape.name}"} for tag, shape in shapes.items()},
        "bindings": {"ws": bindings},
    }


def _operation(contract: Contract, direction: Direction, shape: Shape) -> dict[str, Any]:
    channel = f"#/channels/{_name(direction.path)}"
    told: dict[str, Any] = {
        "action": "receive" if direction.receiver == "hub" else "send",
        "channel": {"$ref": channel},
        "summary": shape.summary,
        "messages": [{"$ref": f"{channel}/messages/{shape.tag}"}],
    }
    if direction.sender == "client":
        told["security"] = [{"$ref": "#/components/securitySchemes/token"}]
    answer = next((answer for kind, answer in ANSWERS.items() if kind is shape.cls), None)
    if answer is not None and direction.receiver == "hub":
        refused = m.Failed if direction.sender == "client" else m.Error
        tags = [contract.messages[kind.__name__].tag for kind in (answer, refused)]
        told["reply"] = {
            "channel": {"$ref": channel},
            "messages": [{"$ref": f"{channel}/messages/{tag}"} for tag in tags],
        }
    return told


def _message(shape: Shape) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": shape.tag,
        "title": shape.name,
        "summary": shape.summary,
        "description": shape.doc,
        "contentType": MSGPACK,
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"{SCHEMA_FILE}#/$defs/{shape.name}"}},
        "examples": [{"name": shape.tag, "payload": msgspec.to_builtins(samples.full(shape))}],
    }
    if shape.fields and shape.fields[0].name == "id":
        told["correlationId"] = {"description": "The request's number.", "location": "$message.payload#/1"}
    return told
