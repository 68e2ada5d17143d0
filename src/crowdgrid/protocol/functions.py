"""A function as a program: what is put on the hub, named by its SHA-256 like any program.

Layout: `MAGIC`, then msgpack of `FunctionProgram`. The hub reads it to check it, a worker to run it, a client to show
it. Reading never runs, imports or unpickles anything, whatever the bytes are; it only looks.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadProgram, TooLarge
from crowdgrid.protocol.captured import read_document

MAGIC: Final = b"crowdgrid function 1\n"
_HINT: Final = "Was it written by a newer crowdgrid? Update this side, or send the function again."


class FunctionProgram(msgspec.Struct, frozen=True, array_like=True):
    """A function ready to be sent.

    Attributes:
        codec: "msgpack": its source travels, calls and results are plain values. "pickle": cloudpickle, for machines
            that trust one another.
        name: for people, e.g. "square".
        python: (major, minor) of the Python it was captured by.
        body: the function: a packed `captured.Document`, or a pickle.
        environment: random id of the client session: what programs of one environment leave in a worker (modules,
            what an initializer set) they share; "" for a program by itself.
        paths: folders to import from, of a client on the same machine; codec pickle only.
        initializer: as `body`, called once in a worker and environment before the first call; b"" for none.
    """

    codec: Literal["msgpack", "pickle"]
    name: str
    python: tuple[int, int]
    body: bytes
    environment: str = ""
    paths: Annotated[tuple[str, ...], msgspec.Meta(max_length=limits.ARGS)] = ()
    initializer: bytes = b""


_decoder: Final = msgspec.msgpack.Decoder(FunctionProgram)


def pack(program: FunctionProgram) -> bytes:
    """The bytes of a program. Raises TooLarge over `limits.FUNCTION_BYTES`."""
    data = MAGIC + msgspec.msgpack.encode(program)
    if len(data) > limits.FUNCTION_BYTES:
        raise TooLarge(
            f"{program.name} is {len(data):,} bytes with all it captures; the limit is {limits.FUNCTION_BYTES:,}.",
            hint="Pass what is large as an argument.",
        )
    return data


def is_function(data: bytes) -> bool:
    """Whether these bytes mean to be a function."""
    return data.startswith(MAGIC)


def read(data: bytes) -> FunctionProgram:
    """The program in `data`, checked as far as it can be without running it.

    Raises:
        BadProgram: it is none.
    """
    if not is_function(data):
        raise BadProgram("This is not a Python function sent by crowdgrid.", hint="Send one with grid.submit or map.")
    if len(data) > limits.FUNCTION_BYTES:
        raise BadProgram(f"A function of {len(data):,} bytes is over the limit of {limits.FUNCTION_BYTES:,}.")
    try:
        program = _decoder.decode(memoryview(data)[len(MAGIC) :])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadProgram(f"This function cannot be read: {error}.", hint=_HINT) from None
    _check(program)
    return program


def _check(program: FunctionProgram) -> None:
    if not 0 < len(program.name) <= limits.NAME_CHARS or len(program.environment) > limits.NAME_CHARS:
        raise BadProgram(f"A function's name has 1 to {limits.NAME_CHARS} characters.")
    if any(len(path) > limits.ARG_BYTES for path in program.paths):
        raise BadProgram("A function wants to import from too many folders.")
    if program.codec == "msgpack":
        if program.paths:
            raise BadProgram("A function whose source travels cannot name folders to import from.")
        read_document(program.body)
        if program.initializer:
            read_document(program.initializer)
