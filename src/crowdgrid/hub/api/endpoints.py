"""The table of all endpoints, one audience after the other."""

from __future__ import annotations

from functools import cache

import msgspec

from crowdgrid.hub.api import (
    blobs,
    credit,
    events,
    explain,
    flaws,
    items,
    jobs,
    nodes,
    operations,
    people,
    programs,
    results,
)
from crowdgrid.hub.api.dispatch import unique
from crowdgrid.hub.api.openapi import document

ENDPOINTS = unique(
    (
        *operations.ENDPOINTS,
        *jobs.ENDPOINTS,
        *items.ENDPOINTS,
        *results.ENDPOINTS,
        *flaws.ENDPOINTS,
        *programs.ENDPOINTS,
        *blobs.ENDPOINTS,
        *nodes.ENDPOINTS,
        *credit.ENDPOINTS,
        *people.ENDPOINTS,
        *explain.ENDPOINTS,
        *events.ENDPOINTS,
    )
)


@cache
def document_text() -> bytes:
    """The OpenAPI document, indented, with a newline at its end; the same bytes as docs/openapi.json."""
    text = msgspec.json.encode(document(ENDPOINTS), order="deterministic")
    return msgspec.json.format(text, indent=2) + b"\n"
