"""The OpenAPI 3.1 document, made from the table that also routes: it cannot promise what is not there.

Schemas are what msgspec derives from the very structs that decode and encode. `python -m crowdgrid.hub.api.openapi`
prints it; docs/openapi.json is a committed copy, held equal by a test, for clients in other languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from crowdgrid.errors import (
    BadInput,
    Busy,
    CrowdgridError,
    NotAllowed,
    NotFound,
    NotSignedIn,
    TimedOut,
    TooLarge,
    Unavailable,
)
from crowdgrid.hub.access import ROLES, Principal, authorize
from crowdgrid.hub.api.problems import MEDIA_TYPE, Problem
from crowdgrid.hub.api.table import Endpoint

VERSION = "1"
_REF = "#/components/schemas/{name}"
_EVERY = (BadInput, CrowdgridError)  # any query may be wrong; a mistake of ours is said, too
_GUARDED = (NotSignedIn, NotAllowed, Busy, Unavailable)

# What stands in paths.
PATH_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "job": ({"type": "string", "minLength": 1, "maxLength": 200}, "A job's id, or the name of one of your own."),
    "ordinal": ({"type": "integer", "minimum": 0, "maximum": (1 << 40) - 1}, "The place of a task in its job."),
    "digest": ({"type": "string", "pattern": "^[0-9a-f]{64}$"}, "SHA-256 of the content, hex."),
    "node": ({"type": "string", "minLength": 1, "maxLength": 200}, "A node's did:key."),
    "number": ({"type": "integer", "minimum": 1, "maximum": (1 << 53) - 1}, "The number it was made with."),
    "thing": ({"type": "string", "minLength": 1, "maxLength": 200}, "The id of a job, a task or a node."),
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document, ready for JSON."""
    types = list(_types(endpoints))
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template=_REF)
    schema_of = dict(zip([*types, Problem], schemas))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = re.sub(r":\w+}", "}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "crowdgrid hub",
            "version": VERSION,
            "description": "Jobs, nodes and people of one grid. Errors are problem+json (RFC 9457); test their `code`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of this grid, `cg_…`."},
            },
            "schemas": components,
        },
    }


def role_of(endpoint: Endpoint) -> str:
    """The least role that may call it; "" for everybody."""
    if endpoint.may is None:
        return ""
    for role in ROLES:
        try:
            authorize(Principal("somebody", role), *endpoint.may)
        except NotAllowed:
            continue
        return role
    raise AssertionError(endpoint)


def _types(endpoints: Iterable[Endpoint]) -> Iterable[Any]:
    seen = []
    for endpoint in endpoints:
        bodies = list(endpoint.body.types.values()) if endpoint.body else []
        for kind in bodies + [kind for _, kind, _ in endpoint.answers.values()]:
            if kind is not None and kind is not bytes and kind not in seen:
                seen.append(kind)
    return seen


def _operation(endpoint: Endpoint, schema_of: dict[Any, Any]) -> dict[str, Any]:
    role = role_of(endpoint)
    told: dict[str, Any] = {
        "operationId": endpoint.operation,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": f"Needs the role {role}, or a higher one." if role else "Needs no token.",
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, schema_of),
    }
    if not role:
        told["security"] = []
    if endpoint.body:
        content = {media: _content(kind, schema_of) for media, kind in endpoint.body.types.items()}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _content(kind: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if kind is None or kind is bytes:
        return {"schema": {"type": "string"}} if kind is None else {}
    return {"schema": schema_of[kind]}


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = []
    for name in re.findall(r"{(\w+)", endpoint.path):
        schema, description = PATH_PARAMETERS[name]
        found.append({"name": name, "in": "path", "required": True, "schema": schema, "description": description})
    if endpoint.query is not None:
        found += [_query_parameter(field) for field in _fields(endpoint.query)]
    for name, description in endpoint.headers.items():
        schema = {"type": "string", "maxLength": 200}
        found.append({"name": name, "in": "header", "required": False, "schema": schema, "description": description})
    return found


def _fields(query: type[msgspec.Struct]) -> list[tuple[str, dict[str, Any], bool]]:
    (_,), components = msgspec.json.schema_components([query], ref_template=_REF)
    schema = components[query.__name__]
    required = schema.get("required", [])
    return [(name, told, name in required) for name, told in schema["properties"].items()]


def _query_parameter(field: tuple[str, dict[str, Any], bool]) -> dict[str, Any]:
    name, schema, required = field
    told = {"name": name, "in": "query", "required": required, "schema": schema}
    if description := schema.pop("description", ""):
        told["description"] = description
    return told


def _responses(endpoint: Endpoint, schema_of: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, (media, kind, meaning) in endpoint.answers.items():
        found[str(status)] = {"description": meaning}
        if media:
            found[str(status)]["content"] = {media: _content(kind, schema_of)}
    errors: list[type[CrowdgridError]] = [*_EVERY, *endpoint.errors]
    if endpoint.may is not None:
        errors += _GUARDED
    if "{" in endpoint.path:
        errors.append(NotFound)
    if endpoint.body:
        errors += [TooLarge, TimedOut]
    problem = {MEDIA_TYPE: {"schema": schema_of[Problem]}}
    for error in sorted(set(errors), key=lambda error: (error.http_status, error.code)):
        title = (error.__doc__ or "").strip().splitlines()[0]
        code = str(error.http_status)
        if code in found:
            found[code]["description"] += f" Or: {title}"
            found[code].setdefault("content", {}).update(problem)
        else:
            found[code] = {"description": title, "content": problem}
    return found


def main() -> None:
    """Print the document of this version."""
    import sys

    from crowdgrid.hub.api.endpoints import document_text

    sys.stdout.buffer.write(document_text())


if __name__ == "__main__":
    main()
