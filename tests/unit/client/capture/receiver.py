"""A worker's half in a fresh interpreter: loads programs and answers calls, over stdin and stdout.

Run by path and isolated (`python -I`), so that nothing of the tests can be imported by accident. Each request is
answered by a fork of its own that knows nothing of those before; starting Python a hundred times would take a minute.
"""

from __future__ import annotations

import os
import sys

import msgspec

from crowdgrid.errors import CrowdgridError
from crowdgrid.protocol.functions import read
from crowdgrid.runtimes.functions import CallFailed, LoadedFunction, load

Answer = tuple[str, str, bytes]


def main() -> None:
    while header := sys.stdin.buffer.read(8):
        request = sys.stdin.buffer.read(int.from_bytes(header, "little"))
        child = os.fork()
        if not child:
            data = msgspec.msgpack.encode(answers_to(request))
            sys.stdout.buffer.write(len(data).to_bytes(8, "little") + data)
            sys.stdout.buffer.flush()
            os._exit(0)
        os.waitpid(child, 0)


def answers_to(request: bytes) -> tuple[list[Answer], list[str]]:
    """What each (program, item) came to; and which modules that read pickles were imported."""
    loaded: dict[bytes, LoadedFunction] = {}
    answers: list[Answer] = []
    for program, item in msgspec.msgpack.decode(request, type=list[tuple[bytes, bytes]]):
        try:
            if program not in loaded:
                loaded[program] = load(read(program))
            answers.append(("ok", "", loaded[program].call(item)))
        except CallFailed as error:
            answers.append(("failed", error.error, error.failure))
        except CrowdgridError as error:
            answers.append((error.code, error.message, b""))
    return answers, sorted({"cloudpickle", "crowdgrid.protocol.pickles"} & set(sys.modules))


if __name__ == "__main__":
    main()
