"""Reads of a WebAssembly module only what it asks for and what it offers: imports, exports, types.

Made for modules that already passed `wasmtime.Module.validate`; on others it raises `Malformed` at
worst, never reads outside the bytes and never takes more than linear time. Nothing is compiled.
Source: WebAssembly Core Specification 2.0, chapter 5 (binary format).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

MAGIC: Final = b"\0asm"
MODULE_VERSION: Final = b"\1\0\0\0"

_TYPES, _IMPORTS, _FUNCTIONS, _EXPORTS = 1, 2, 3, 7
_FUNCTION_TYPE = 0x60


class Malformed(Exception):
    """The bytes end early or mean nothing."""


class Extern(IntEnum):
    """What is imported or exported."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3
    TAG = 4


class Import(NamedTuple):
    """One import; `type` is the index of a function's type."""

    module: str
    name: str
    kind: Extern
    type: int


class Outline(NamedTuple):
    """A module's face.

    Attributes:
        imports: up to and including the first that is no function (its length depends on its kind).
        exports: kind and index by name.
        plain: for each function type, whether it takes nothing and gives nothing.
        functions: type index of each function the module defines itself.
    """

    imports: list[Import]
    exports: dict[str, tuple[Extern, int]]
    plain: list[bool]
    functions: list[int]

    def is_plain_function(self, name: str) -> bool:
        """Whether export `name` is a function without parameters and results."""
        kind, index = self.exports[name]
        types = [each.type for each in self.imports] + self.functions
        return kind is Extern.FUNCTION and self.plain[types[index]]


def outline(module: bytes) -> Outline:
    """Read a module's outline. Raises `Malformed`."""
    found = Outline([], {}, [], [])
    try:
        for number, body in _sections(module):
            if number == _TYPES:
                found.plain.extend(_types(body))
            elif number == _IMPORTS:
                found.imports.extend(_imports(body))
            elif number == _FUNCTIONS:
                found.functions.extend(body.number() for _ in range(body.number()))
            elif number == _EXPORTS:
                found.exports.update(_exports(body))
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise Malformed(str(error)) from None
    return found


class _Reader:
    """A position in some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise IndexError("the module ends early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        """An unsigned 32-bit integer in LEB128."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number is too long")

    def name(self) -> str:
        return self.take(self.number()).decode()


def _sections(module: bytes) -> Iterator[tuple[int, _Reader]]:
    reader = _Reader(module)
    reader.take(len(MAGIC) + len(MODULE_VERSION))
    while reader.more():
        number = reader.byte()
        yield number, _Reader(reader.take(reader.number()))


def _types(body: _Reader) -> Iterator[bool]:
    for _ in range(body.number()):
        if body.byte() != _FUNCTION_TYPE:
            raise ValueError("a type that is no function type")
        parameters = body.take(body.number())  # each value type is one byte
        results = body.take(body.number())
        yield not parameters and not results


def _imports(body: _Reader) -> Iterator[Import]:
    for _ in range(body.number()):
        module, name, kind = body.name(), body.name(), Extern(body.byte())
        if kind is not Extern.FUNCTION:
            yield Import(module, name, kind, -1)
            return
        yield Import(module, name, kind, body.number())


def _exports(body: _Reader) -> Iterator[tuple[str, tuple[Extern, int]]]:
    for _ in range(body.number()):
        yield body.name(), (Extern(body.byte()), body.number())
