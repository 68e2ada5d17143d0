"""Functions of `deeds` as a client would send them: the module travels whole, and no client is needed for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from crowdgrid.protocol import functions
from crowdgrid.protocol.calls import pack_call
from crowdgrid.protocol.captured import Document, Name, Source, pack_document
from crowdgrid.runtimes import Limits, Run

DEEDS = (Path(__file__).parent / "deeds.py").read_text()
HERE = sys.version_info[:2]
MB = 1 << 20


def sent(name: str, environment: str = "", initializer: str = "", text: str = DEEDS) -> bytes:
    """The program that calls `name` of the module with this text."""

    def body(name: str) -> bytes:
        return pack_document(Document((Name("deeds", name),), 0, sources={"deeds": Source("deeds.py", text)}))

    first = body(initializer) if initializer else b""
    return functions.pack(functions.FunctionProgram("msgpack", name, HERE, body(name), environment, (), first))


def call(
    *args: Any, timeout_ms: int = 60_000, memory_bytes: int = 512 * MB, output_bytes: int = 16 * MB, **kwargs: Any
) -> Run:
    """A run that calls a function with these arguments."""
    return Run((), pack_call(args, kwargs), Limits(timeout_ms, memory_bytes, output_bytes))
