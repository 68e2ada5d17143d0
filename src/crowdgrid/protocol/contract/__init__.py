"""The published contract of the links, made from the message types: for clients and nodes in other languages.

`make contract` writes the files into docs/protocol; a test compares them with what this version would write, and
another the field orders with those of the last release. Nothing at run time imports this package.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

BASELINE: Final = "baseline.json"


def files() -> dict[str, bytes]:
    """The files of this version, by name."""
    from crowdgrid.protocol.contract import asyncapi, proto, schema, tables, vectors
    from crowdgrid.protocol.contract.shapes import contract

    told = contract()
    return {
        "links.schema.json": _json(schema.document(told)),
        "asyncapi.json": _json(asyncapi.document(told)),
        "crowdgrid.proto": proto.text(told).encode(),
        "vectors.json": _json(vectors.document(told)),
        "messages.md": tables.page(told).encode(),
    }


def baseline() -> bytes:
    """The file of field orders, as it is written when this version is released."""
    from crowdgrid.protocol.contract import orders
    from crowdgrid.protocol.contract.shapes import contract

    return _json(orders.document(contract()))


def _json(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
