"""Python programs that leave a mark: a folder is there afterwards, and only then, if one was ever started.

Made by hand, as somebody would who has no crowdgrid client and means no good.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import psutil

from crowdgrid.protocol import functions
from crowdgrid.protocol.calls import pack_call
from crowdgrid.protocol.captured import Document, Name, pack_document

HERE = (sys.version_info.major, sys.version_info.minor)


def program(runtime: str = "python", module: str = "os", name: str = "mkdir") -> bytes:
    """The program of `runtime` that calls a function every Python has."""
    if runtime == "python-pickle":
        body = f"c{module}\n{name}\n.".encode()
        return functions.pack(functions.FunctionProgram("pickle", name, HERE, body))
    return functions.pack(
        functions.FunctionProgram("msgpack", name, HERE, pack_document(Document((Name(module, name),), 0)))
    )


def item(place: Path | float, runtime: str = "python") -> bytes:
    """The input of one call: where to leave the mark (or for how long to sleep)."""
    argument = str(place) if isinstance(place, Path) else place
    return pickle.dumps(((argument,), {})) if runtime == "python-pickle" else pack_call((argument,), {})


def workers(agent: int) -> list[Any]:
    """The processes of an agent (by its process id) that run Python programs."""
    found = []
    for child in psutil.Process(agent).children(recursive=True):
        try:
            if any(word in {"python", "python-pickle"} for word in child.cmdline()):
                found.append(child)
        except psutil.Error:  # it has just ended
            continue
    return found
