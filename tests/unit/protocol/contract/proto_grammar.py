"""A strict reader of the part of Protocol Buffers 3 a file of messages uses; what it does not know is an error.

Written from the language's specification (proto3): syntax, package, imports, messages, nested oneofs, maps, labels,
enums; and the rules a compiler checks beyond grammar: numbers in range and used once, names used once, also as JSON
names them, every type known, an enum that begins with 0 and whose values are unique in the scope around it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SCALARS = frozenset(
    [
        "double",
        "float",
        "int32",
        "int64",
        "uint32",
        "uint64",
        "sint32",
        "sint64",
        "fixed32",
        "fixed64",
        "sfixed32",
        "sfixed64",
        "bool",
        "string",
        "bytes",
    ]
)
KNOWN_IMPORTS = {"google/protobuf/struct.proto": {"google.protobuf.Struct", "google.protobuf.Value"}}
_TOKEN = re.compile(r'\s+|//[^\n]*|(?P<token>"[^"\n]*"|[A-Za-z_][A-Za-z0-9_.]*|-?\d+|[{}=;<>,])|(?P<bad>.)')


class BadProto(Exception):
    """Something a compiler would refuse."""


@dataclass
class Field:
    label: str
    type: str
    name: str
    number: int
    oneof: str = ""


@dataclass
class Message:
    name: str
    fields: list[Field] = field(default_factory=list)
    oneofs: list[str] = field(default_factory=list)


@dataclass
class File:
    package: str = ""
    imports: list[str] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)
    enums: dict[str, dict[str, int]] = field(default_factory=dict)


def parse(text: str) -> File:
    """The file. Raises BadProto."""
    reader = _Reader(text)
    found = File()
    reader.words("syntax", "=", '"proto3"', ";")
    while reader.more:
        match word := reader.take():
            case "package":
                found.package = reader.name()
                reader.words(";")
            case "import":
                found.imports.append(reader.take().strip('"'))
                reader.words(";")
            case "message":
                message = reader.message()
                _once(found, message.name)
                found.messages[message.name] = message
            case "enum":
                name, values = reader.enum()
                _once(found, name)
                found.enums[name] = values
            case _:
                raise BadProto(f"{word!r} is nothing a file may hold")
    _check(found)
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = []
        for found in _TOKEN.finditer(text):
            if found["bad"]:
                raise BadProto(f"{found['bad']!r} has no place in a file")
            if found["token"]:
                self._tokens.append(found["token"])
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._tokens)

    def take(self) -> str:
        if not self.more:
            raise BadProto("the file ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def next_is(self, word: str) -> bool:
        if self.more and self._tokens[self._at] == word:
            self._at += 1
            return True
        return False

    def words(self, *words: str) -> None:
        for word in words:
            if (found := self.take()) != word:
                raise BadProto(f"{word!r} expected, not {found!r}")

    def name(self) -> str:
        word = self.take()
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*", word):
            raise BadProto(f"{word!r} is no name")
        return word

    def number(self) -> int:
        word = self.take()
        if not re.fullmatch(r"0|-?[1-9]\d*", word):
            raise BadProto(f"{word!r} is no number")
        return int(word)

    def message(self) -> Message:
        message = Message(self.name())
        self.words("{")
        while not self.next_is("}"):
            if self.next_is("oneof"):
                oneof = self.name()
                message.oneofs.append(oneof)
                self.words("{")
                while not self.next_is("}"):
                    message.fields.append(self.field(oneof))
            else:
                message.fields.append(self.field(""))
        return message

    def field(self, oneof: str) -> Field:
        label = next((word for word in ("optional", "repeated") if self.next_is(word)), "")
        if label and oneof:
            raise BadProto("a field of a oneof has no label")
        if self.next_is("map"):
            self.words("<")
            key = self.name()
            self.words(",")
            kind = self.name()
            self.words(">")
            if label or oneof or key not in SCALARS - {"double", "float", "bytes"}:
                raise BadProto("a map has a plain key, no label and is in no oneof")
            label = "map"
        else:
            kind = self.name()
        name = self.name()
        self.words("=")
        number = self.number()
        self.words(";")
        return Field(label, kind, name, number, oneof)

    def enum(self) -> tuple[str, dict[str, int]]:
        name, values = self.name(), {}
        self.words("{")
        while not self.next_is("}"):
            value = self.name()
            self.words("=")
            if value in values:
                raise BadProto(f"{name}.{value} is there twice")
            values[value] = self.number()
            self.words(";")
        return name, values


def _once(found: File, name: str) -> None:
    if name in found.messages or name in found.enums:
        raise BadProto(f"{name} is there twice")


def _check(found: File) -> None:
    known = SCALARS | found.messages.keys() | found.enums.keys()
    for name in found.imports:
        if name not in KNOWN_IMPORTS:
            raise BadProto(f"{name} cannot be imported")
        known = known | KNOWN_IMPORTS[name]
    for message in found.messages.values():
        _check_message(message, known)
    words = [value for values in found.enums.values() for value in values]
    if len(words) != len(set(words)) or set(words) & (found.messages.keys() | found.enums.keys()):
        raise BadProto("the values of enums share one scope, and one of them is there twice")
    for name, values in found.enums.items():
        numbers = list(values.values())
        if not numbers or numbers[0] != 0 or len(numbers) != len(set(numbers)):
            raise BadProto(f"{name} does not begin with 0, or has a number twice")
        if max(numbers) >= 1 << 31 or min(numbers) < -(1 << 31):
            raise BadProto(f"{name} has a number that does not fit 32 bits")


def _check_message(message: Message, known: frozenset[str] | set[str]) -> None:
    names = [each.name for each in message.fields] + message.oneofs
    json = [re.sub(r"_(.)", lambda found: found[1].upper(), each.name) for each in message.fields]
    numbers = [each.number for each in message.fields]
    for what, seen in (("name", names), ("JSON name", json), ("number", numbers)):
        if len(seen) != len(set(seen)):
            raise BadProto(f"{message.name} has a {what} twice")
    for each in message.fields:
        if not 1 <= each.number < 1 << 29 or 19_000 <= each.number < 20_000:
            raise BadProto(f"{message.name}.{each.name} has a number nobody may use")
        if each.type not in known:
            raise BadProto(f"{message.name}.{each.name} is of the unknown type {each.type}")
    if any(not [each for each in message.fields if each.oneof == oneof] for oneof in message.oneofs):
        raise BadProto(f"{message.name} has an empty oneof")
