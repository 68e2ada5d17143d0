"""What the bytes of an answer are. The job's runtime says so, never the bytes: whoever sent them could choose."""

from __future__ import annotations

from enum import StrEnum

from crowdgrid.core.model import PICKLED


class Content(StrEnum):
    """How an answer is written."""

    OUTPUT = "output"  # what a program wrote to stdout: text, or an array as npy
    VALUE = "value"  # what a function returned, as `protocol.values` packs it
    OPAQUE = "opaque"  # a pickle; nobody here reads one, so only the same bytes are the same answer


def content_of(runtime: str) -> Content:
    """What answers of a job's runtime are."""
    if runtime == PICKLED:
        return Content.OPAQUE
    return Content.VALUE if runtime == "python" else Content.OUTPUT
