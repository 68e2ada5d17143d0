"""What has become of a class since its statement ran: the attributes that running it again elsewhere would not make.

What the statement says literally is compared with what is there now. What it makes by an expression is made again,
unless it is something that shows that it is another: a function with its own source, a pattern, a member of an
enumeration. What nothing in the statement can have made was put there afterwards, and travels or is refused by name;
where a metaclass, a decorator or a base's hook may have made it, it is left to them unless it can travel.
"""

from __future__ import annotations

import abc
import ast
import collections
import enum
import re
import types
import typing
from collections.abc import Iterator
from types import FunctionType
from typing import Any, Final, TypeAlias

from crowdgrid.client.capture import modules
from crowdgrid.client.capture.constants import WRAPPERS, made_by_a_call, wrapped_functions
from crowdgrid.client.capture.functions import is_plain
from crowdgrid.client.capture.parsed import first_line
from crowdgrid.client.capture.source import FoundClass

_Body: TypeAlias = dict[str, list[ast.AST]]

_OF_FIELDS: Final = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    type(collections.namedtuple("_Any", "field").field),  # type: ignore[attr-defined]  # noqa: PYI024
)
_OF_ABC: Final = frozenset({"_abc_impl", "_is_protocol", "_is_runtime_protocol"})
_WRAPPING: Final = frozenset({"property", "staticmethod", "classmethod", "setter", "getter", "deleter"})
_LOOKS_INSIDE: Final = frozenset({"vars", "locals", "exec", "eval", "globals"})
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def changed(cls: type, found: FoundClass) -> Iterator[tuple[str, Any]]:
    """Attributes that are other than the class statement makes them, or may be."""
    if isinstance(cls, enum.EnumMeta):
        return
    body = _body(found.tree)
    told = _is_all_told(cls, found.tree)
    for name, value in vars(cls).items():
        nodes = body.get(name, [])
        if isinstance(value, (FunctionType, *WRAPPERS)):
            functions = wrapped_functions(value)
            if all(map(_is_own, functions)) and _is_put_there(functions, nodes, found):
                yield name, value
        elif (name.startswith("__") and name.endswith("__")) or name in _OF_ABC or isinstance(value, _OF_FIELDS):
            continue
        elif _is_code(value) or (is_plain(value) and not any(_is_literally(value, node) for node in nodes)):
            yield name, value
        elif nodes and not all(map(_is_said, nodes)):
            if isinstance(value, re.Pattern | enum.Enum):
                yield name, value
        elif not is_plain(value) and (told or made_by_a_call(value) is not None):
            yield name, value


# --- the statement -----------------------------------------------------------------------------------


def _body(tree: ast.ClassDef) -> _Body:
    """What the class body defines: of each name the definitions and expressions. Something that has a name there, and
    whose value is nowhere to be seen, has its statement."""
    body: _Body = {}
    values: dict[int, ast.AST] = {}  # by the id of what is assigned to
    todo: list[ast.AST] = list(tree.body)
    for node in todo:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            body.setdefault(node.name, []).append(node)
            continue
        values.update(_assigned(node))
        for name in _names_in(node):
            body.setdefault(name, []).append(values.get(id(node), tree))
        if not isinstance(node, ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return body


def _assigned(node: ast.AST) -> Iterator[tuple[int, ast.AST]]:
    match node:
        case ast.Assign():
            yield from ((id(target), node.value) for target in node.targets)
        case ast.AnnAssign(value=ast.expr() as value) | ast.NamedExpr(value=value):
            yield id(node.target), value


def _names_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(ctx=ast.Store()):
            yield node.id
        case ast.alias():
            yield node.asname or node.name.partition(".")[0]
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
            yield name


def _is_all_told(cls: type, tree: ast.ClassDef) -> bool:
    """Whether the statement names all it makes, so that anything else was put there afterwards."""
    names = {node.id for statement in tree.body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    if type(cls) not in {type, abc.ABCMeta, type(typing.Protocol)} or not names.isdisjoint(_LOOKS_INSIDE):
        return False
    if tree.decorator_list and not ("__dataclass_fields__" in vars(cls) and len(tree.decorator_list) == 1):
        return False
    hooks = [vars(base).get("__init_subclass__") for base in cls.__mro__[1:] if base is not object]
    if any(hook is not None and getattr(hook, "__module__", "") != "typing" for hook in hooks):
        return False
    return not any(_names_itself(value) for value in vars(cls).values())


def _names_itself(value: Any) -> bool:
    """Whether it is told its name by the class statement, and may do anything then."""
    return not modules.is_installed(type(value).__module__) and hasattr(type(value), "__set_name__")


def _is_said(node: ast.AST) -> bool:
    """Whether the body shows what this is: a literal, a method."""
    if isinstance(node, _DEFINITIONS):
        return _is_undecorated(node)
    try:
        ast.literal_eval(node) if isinstance(node, ast.expr) else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return isinstance(node, ast.expr)


def _is_undecorated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether nothing but Python's own wrappers is around it."""
    said = [each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in node.decorator_list]
    return _WRAPPING.issuperset(said)


# --- functions ---------------------------------------------------------------------------------------


def _is_put_there(functions: list[FunctionType], nodes: list[ast.AST], found: FoundClass) -> bool:
    """Whether this is nothing that the body defines under this name, nor what a decorator there made of it."""
    lines = []
    for node in nodes:
        if isinstance(node, _DEFINITIONS) and _is_undecorated(node):
            lines.append(first_line(node))
        elif isinstance(node, ast.Name):
            return True  # it may be another by now
        elif isinstance(node, ast.Lambda):
            lines.append(node.lineno)
        else:
            return False  # what an expression or a decorator makes is made again
    codes = [fn.__code__ for fn in functions]
    return not all(code.co_filename == found.file and code.co_firstlineno in lines for code in codes)


def _is_own(fn: FunctionType) -> bool:
    return not modules.is_installed(str(fn.__globals__.get("__name__"))) and not fn.__code__.co_filename.startswith(
        "<string"
    )


# --- values ------------------------------------------------------------------------------------------


def _is_code(value: Any) -> bool:
    """Whether it is a container that holds functions or classes, and besides them only plain values."""
    if type(value) not in {list, tuple, set, dict} or is_plain(value):
        return False
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return all(isinstance(item, FunctionType | type) or is_plain(item) or _is_code(item) for item in items)


def _is_literally(value: Any, node: ast.AST) -> bool:
    """Whether the body says just this."""
    try:
        told = ast.literal_eval(node) if isinstance(node, ast.expr) else node
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return type(told) is type(value) and bool(told == value)
