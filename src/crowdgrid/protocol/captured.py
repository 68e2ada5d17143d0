"""What a function is when its source travels: a graph of things, each made once and shared as it was.

A `Document` is a list of nodes in the order in which they are made. Some of what a node refers to it *needs* to be
made at all (a tuple its elements, a class its bases); the rest is filled in *later* (what a function finds in its
globals, in a cell, in a list), so that recursion and cycles are possible. Both refer by index; what is needed stands
before the node that needs it.

A document is code: making it runs class bodies and calls, and is done only where its function would be run
anyway. Reading one runs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadProgram

NOTHING: Final = -1  # the content of an empty cell
# How many there may be is looked at before they are made: in memory they are thirty times what they are as bytes.
_Few: Final = msgspec.Meta(max_length=limits.FUNCTION_NODES)
_Indices: TypeAlias = Annotated[tuple[int, ...], _Few]
_Named: TypeAlias = Annotated[dict[str, int], _Few]


def _in(*named: dict[str, int]) -> Iterable[int]:
    return chain.from_iterable(each.values() for each in named)


class _Node(msgspec.Struct, frozen=True, array_like=True):
    def needs(self) -> Iterable[int]:
        """Indices of what must be there before it is made."""
        return ()

    def later(self) -> Iterable[int]:
        """Indices of what is filled in when it is there."""
        return ()


class Value(_Node, frozen=True, array_like=True, tag="value"):
    """A plain value, see `values`."""

    data: bytes


class Module(_Node, frozen=True, array_like=True, tag="module"):
    """A module by its name; `also` are submodules that were imported too, so that `name.sub` is there."""

    name: str
    also: tuple[str, ...] = ()


class Name(_Node, frozen=True, array_like=True, tag="name"):
    """What `qualname` leads to in a module."""

    module: str
    qualname: str


class Attribute(_Node, frozen=True, array_like=True, tag="attribute"):
    """An attribute of another node: a method of a class, a member of an enumeration."""

    of: int
    name: str

    def needs(self) -> Iterable[int]:
        return (self.of,)


class Call(_Node, frozen=True, array_like=True, tag="call"):
    """What comes of calling one node with others: a partial, a cache, a compiled pattern, a named tuple's class."""

    of: int
    args: _Indices = ()
    kwargs: _Named = {}

    def needs(self) -> Iterable[int]:
        return (self.of, *self.args, *self.kwargs.values())


class Items(_Node, frozen=True, array_like=True, tag="items"):
    """A container of other nodes; `kind` is list, set, tuple or frozenset."""

    kind: str
    items: _Indices

    def needs(self) -> Iterable[int]:
        return self.items if self.kind in FROZEN else ()

    def later(self) -> Iterable[int]:
        return () if self.kind in FROZEN else self.items


class Pairs(_Node, frozen=True, array_like=True, tag="pairs"):
    """A dict of other nodes, in its order."""

    keys: _Indices
    items: _Indices

    def later(self) -> Iterable[int]:
        return (*self.keys, *self.items)


class Cell(_Node, frozen=True, array_like=True, tag="cell"):
    """A variable shared by functions made in one another; `content` may be `NOTHING`."""

    content: int

    def later(self) -> Iterable[int]:
        return () if self.content == NOTHING else (self.content,)


class Function(_Node, frozen=True, array_like=True, tag="function"):
    """A function by its source.

    Attributes:
        home: the module whose globals are its globals. names: what it finds there, if the module is not there whole.
        qualname: its code's qualified name.
        text: index of the `Text` it is in. line: where its `def` or `lambda` stands, counted as in its file.
        column: where on that line, in bytes of UTF-8. stop: where a lambda ends on the last line of its text; 0 for a def.
        inside: the class whose body it stands in, for names like `__private`; else "".
        later_annotations: written under `from __future__ import annotations`.
        free: its free variables, each a `Cell`.
        defaults, keyword_defaults: values its parameters had when it was sent.
        attributes: what is set on it.
    """

    home: str
    qualname: str
    text: int
    line: int
    column: int
    stop: int = 0
    inside: str = ""
    later_annotations: bool = False
    free: _Named = {}
    defaults: _Indices = ()
    keyword_defaults: _Named = {}
    attributes: _Named = {}
    names: _Named = {}

    def needs(self) -> Iterable[int]:
        return self.free.values()

    def later(self) -> Iterable[int]:
        return (*self.defaults, *_in(self.keyword_defaults, self.attributes, self.names))


class Class(_Node, frozen=True, array_like=True, tag="class"):
    """A class of a module's top level by its source, which is run with its decorators.

    Attributes:
        home, text, line, column, later_annotations: as in `Function`.
        name: its name.
        uses: what its decorators, bases and body find in the module's globals. names: what its methods find there.
        attributes: plain values and functions its attributes had when it was sent.
    """

    home: str
    name: str
    text: int
    line: int
    column: int = 0
    later_annotations: bool = False
    uses: _Named = {}
    attributes: _Named = {}
    names: _Named = {}

    def needs(self) -> Iterable[int]:
        return self.uses.values()

    def later(self) -> Iterable[int]:
        return _in(self.attributes, self.names)


class Sentinel(_Node, frozen=True, array_like=True, tag="sentinel"):
    """An `object()` that is only compared with itself."""


Node: TypeAlias = (
    Value | Module | Name | Attribute | Call | Items | Pairs | Cell | Function | Class | Sentinel
)  # fmt: skip

FROZEN: Final = frozenset({"tuple", "frozenset"})
_KINDS: Final = FROZEN | {"list", "set"}


def moved(node: Node, place: Mapping[int, int]) -> Node:
    """The node with all it refers to by where that is now."""

    def each(indices: Iterable[int]) -> tuple[int, ...]:
        return tuple(place[index] for index in indices)

    def named(indices: dict[str, int]) -> dict[str, int]:
        return {name: place[index] for name, index in indices.items()}

    changes: dict[str, Any] = {}
    match node:
        case Attribute(of):
            changes = {"of": place[of]}
        case Call(of, args, kwargs):
            changes = {"of": place[of], "args": each(args), "kwargs": named(kwargs)}
        case Items(_, items):
            changes = {"items": each(items)}
        case Pairs(keys, items):
            changes = {"keys": each(keys), "items": each(items)}
        case Cell(content) if content != NOTHING:
            changes = {"content": place[content]}
        case Function():
            changes = {
                "free": named(node.free),
                "defaults": each(node.defaults),
                "keyword_defaults": named(node.keyword_defaults),
                "attributes": named(node.attributes),
                "names": named(node.names),
            }
        case Class():
            changes = {
                "uses": named(node.uses),
                "attributes": named(node.attributes),
                "names": named(node.names),
            }
        case _:
            return node
    there: Node = msgspec.structs.replace(node, **changes)
    return there


class Text(msgspec.Struct, frozen=True, array_like=True):
    """Whole lines of a file: its name without folders, the number of the first one, the lines."""

    file: str
    first: int
    lines: str


class Source(msgspec.Struct, frozen=True, array_like=True):
    """A module that travels whole, because something refers to the module itself."""

    file: str
    text: str
    package: bool = False


class Home(msgspec.Struct, frozen=True, array_like=True):
    """A module of which only some functions and classes travel: what its `__name__`, `__package__`, `__file__` are."""

    name: str
    package: str = ""
    file: str = ""


class Document(msgspec.Struct, frozen=True, array_like=True):
    """A function and all it refers to.

    Attributes:
        nodes: in the order in which they are made. root: index of the function itself.
        texts: the lines functions and classes are in.
        homes: the modules that are not there as a whole, by name; a second one of the same name by another key.
        sources: by name, the modules that are.
        requires: installed modules it imports when it runs.
    """

    nodes: Annotated[tuple[Node, ...], _Few]
    root: int
    texts: Annotated[tuple[Text, ...], _Few] = ()
    homes: Annotated[dict[str, Home], _Few] = {}
    sources: Annotated[dict[str, Source], _Few] = {}
    requires: Annotated[tuple[str, ...], _Few] = ()


_decoder: Final = msgspec.msgpack.Decoder(Document)


def pack_document(document: Document) -> bytes:
    """The bytes of a document."""
    return msgspec.msgpack.encode(document)


def read_document(data: bytes) -> Document:
    """The document in `data`, checked: what it refers to is there, and what is needed comes first.

    Raises:
        BadProgram: it is none.
    """
    try:
        document = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadProgram(f"This function cannot be read: {error}.") from None
    count = len(document.nodes)
    if count > limits.FUNCTION_NODES:
        raise BadProgram(f"This function is made of {count:,} things; the limit is {limits.FUNCTION_NODES:,}.")
    if not _is_whole(document, count):
        raise BadProgram("This function cannot be read: it refers to something it does not hold.")
    return document


def digest_of(document: Document, index: int) -> bytes:
    """SHA-256 over one node and all that can be reached from it: the same for the same thing in any document."""
    todo = {index: 0}
    for one in (order := [index]):
        node = document.nodes[one]
        for other in (*node.needs(), *node.later()):
            if other not in todo:
                todo[other] = len(todo)
                order.append(other)
    parts: list[Any] = []
    for one in order:
        node = moved(document.nodes[one], todo)
        if isinstance(node, Function | Class):
            parts += [document.texts[node.text], document.homes.get(node.home)]
            node = msgspec.structs.replace(node, text=0)
        parts.append(node)
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


def _is_whole(document: Document, count: int) -> bool:
    left = limits.FUNCTION_REFERENCES
    for index, node in enumerate(document.nodes):
        needs, later = tuple(node.needs()), tuple(node.later())
        left -= len(needs) + len(later)
        if left < 0:
            raise BadProgram(f"What this function is made of has over {limits.FUNCTION_REFERENCES:,} references.")
        if not (_within(needs, index) and _within(later, count) and _is_sound(node, document)):
            return False
    lines_fit = all(0 < text.first <= limits.SOURCE_LINES for text in document.texts)
    return lines_fit and 0 <= document.root < count


def _within(indices: tuple[int, ...], stop: int) -> bool:
    return not indices or (min(indices) >= 0 and max(indices) < stop)


def _is_sound(node: Any, document: Document) -> bool:
    """Whether what only this kind of node refers to is there."""
    if isinstance(node, Function | Class):
        return 0 <= node.text < len(document.texts) and (
            isinstance(node, Class) or all(isinstance(document.nodes[cell], Cell) for cell in node.free.values())
        )
    if isinstance(node, Items):
        return node.kind in _KINDS
    return not isinstance(node, Pairs) or len(node.keys) == len(node.items)
