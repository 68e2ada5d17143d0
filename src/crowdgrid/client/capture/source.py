"""Finds the source of functions and classes, and sees to it that it is what runs.

A function's code knows its file, first line and name; several lambdas on one line are told apart by what they
compile to. What is found is compiled and compared with the code that runs: a file that was edited after it was imported
would otherwise send something else than what runs here.

Notebooks, doctests and consoles that keep their lines in `linecache` are files like any other.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

from crowdgrid.client.capture.parsed import Defined, first_line, parsed
from crowdgrid.protocol.captured import Class, Function, Text
from crowdgrid.runtimes.rebuild import compiling

_ANNOTATIONS: Final = 0x1000000  # CO_FUTURE_ANNOTATIONS
_NESTED: Final = inspect.CO_NESTED  # the factory makes it so


class NoSource(Exception):
    """There is no source; the message is a sentence's end ("because …"), `hint` what to do."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class FoundFunction(NamedTuple):
    """A function's source: `node` with home, text and all references still to be filled in; `file` is where it is."""

    node: Function
    text: Text
    file: str
    tree: Defined


class FoundClass(NamedTuple):
    """A class's source; as `FoundFunction`. `code` runs the statement."""

    node: Class
    text: Text
    file: str
    tree: ast.ClassDef
    code: CodeType


# --- functions ---------------------------------------------------------------------------------------


def find_function(fn: FunctionType) -> FoundFunction:
    """Where `fn` is defined. Raises NoSource."""
    code = fn.__code__
    for fresh in (False, True):
        lines = _lines(code, fn.__globals__, fresh)
        for tree, inside in parsed(lines).functions.get((code.co_firstlineno, code.co_name), ()):
            found = _found_function(code, tree, inside, lines)
            if _is_what_runs(found, code, lines):
                return found
    raise _edited(code.co_filename)


_KEEP: Final = "Define it in a file or a notebook cell."


def _edited(file: str) -> NoSource:
    return NoSource(
        f"its source in {_short(file)} is not what runs here",
        "Was the file edited after it was loaded? Load it again.",
    )


def _lines(code: CodeType, namespace: dict[str, Any], fresh: bool) -> list[str]:
    name = code.co_filename
    if fresh:
        linecache.checkcache(name)
    lines = linecache.getlines(name, namespace)
    if not lines and hasattr(linecache, "_getlines_from_code"):  # Python 3.13 keeps what is typed
        lines = linecache._getlines_from_code(code)
    if lines:
        return lines
    if name == "<stdin>":
        raise NoSource("it was typed at a prompt that does not keep what is typed", _KEEP)
    if name in {"<string>", "<stdin>"} or name.startswith("<"):
        raise NoSource("it was made by `python -c` or exec, which keep no source", _KEEP)
    raise NoSource(f"the file {_short(name)} is not there", "Is it compiled only? Send a function that calls it.")


def _short(name: str) -> str:
    return name if name.startswith("<") else name.replace("\\", "/").rpartition("/")[2]


def _found_function(code: CodeType, tree: Defined, inside: str, lines: list[str]) -> FoundFunction:
    assert tree.end_lineno is not None
    assert tree.end_col_offset is not None
    text = Text(_short(code.co_filename), tree.lineno, "".join(lines[tree.lineno - 1 : tree.end_lineno]))
    node = Function(
        home="",
        qualname=code.co_qualname,
        text=0,
        line=tree.lineno,
        column=tree.col_offset,
        stop=tree.end_col_offset if isinstance(tree, ast.Lambda) else 0,
        inside=inside,
        later_annotations=bool(code.co_flags & _ANNOTATIONS),
        free=dict.fromkeys(code.co_freevars, 0),
    )
    return FoundFunction(node, text, code.co_filename, tree)


def _is_what_runs(found: FoundFunction, code: CodeType, lines: list[str]) -> bool:
    try:
        return same_code(compiling.function_code(found.node, found.text, parsed(lines).imported), code)
    except (SyntaxError, ValueError):
        return False


def same_code(found: CodeType, running: CodeType) -> bool:
    """Whether two code objects do the same; where they come from does not matter."""
    if any(name.startswith("@py") for name in (*running.co_names, *running.co_varnames)):
        return found.co_argcount == running.co_argcount  # pytest has rewritten its assertions
    return _shape(found) == _shape(running)


def _shape(code: CodeType) -> tuple[Any, ...]:
    return (
        code.co_name,
        code.co_code,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & ~_NESTED,
        tuple(map(_constant, code.co_consts)),
    )


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _shape(value)
    if type(value) is tuple:
        return tuple(map(_constant, value))
    return type(value), repr(value) if isinstance(value, float | complex) else value


# --- classes -----------------------------------------------------------------------------------------


def find_class(cls: type) -> FoundClass:
    """Where a class of a module's top level is defined. Raises NoSource."""
    for file, lines in _class_files(cls):
        trees = [
            node
            for node in parsed(lines).classes.get(cls.__name__, ())
            if first_line(node) == vars(cls).get("__firstlineno__", first_line(node))
        ]
        methods = {code.co_firstlineno for code in _methods(cls) if code.co_filename == file}
        for tree in reversed(trees):
            assert tree.end_lineno is not None
            if methods and not any(first_line(tree) <= line <= tree.end_lineno for line in methods):
                continue
            found = _found_class(cls, tree, file, lines)
            _check_methods(cls, found)
            return found
    raise NoSource("its source is not kept", "Define it with a class statement in a file or a notebook cell.")


def _methods(cls: type) -> Iterator[CodeType]:
    for value in vars(cls).values():
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(inner, FunctionType) and inner.__code__.co_qualname.startswith(f"{cls.__qualname__}."):
            yield inner.__code__


def _class_files(cls: type) -> Iterator[tuple[str, list[str]]]:
    """Files that may hold the class, likeliest first."""
    module = sys.modules.get(cls.__module__)
    namespace = vars(module) if module is not None else {}
    names = dict.fromkeys(code.co_filename for code in _methods(cls) if not code.co_filename.startswith("<string"))
    if not names:
        file = namespace.get("__file__")
        spec = getattr(namespace.get("__spec__"), "origin", None)
        names = dict.fromkeys(name for name in (file, spec) if isinstance(name, str))
        if not names:  # a notebook's cells, the newest first
            names = dict.fromkeys(name for name in reversed(list(linecache.cache)) if _is_cell(name))
    for name in names:
        lines = linecache.getlines(name, namespace)
        if lines:
            yield name, lines


def _is_cell(name: str) -> bool:
    return name.startswith("<") or "ipykernel" in name


def _found_class(cls: type, tree: ast.ClassDef, file: str, lines: list[str]) -> FoundClass:
    first = first_line(tree)
    text = Text(_short(file), first, "".join(lines[first - 1 : tree.end_lineno]))
    told = vars(cls).get("__annotations__", {}).values()
    later = (
        parsed(lines).later_annotations
        or any(code.co_flags & _ANNOTATIONS for code in _methods(cls))
        or (bool(told) and all(isinstance(each, str) for each in told))  # another cell of the notebook said so
    )
    node = Class(home="", name=cls.__name__, text=0, line=first, column=tree.col_offset, later_annotations=later)
    return FoundClass(node, text, file, tree, compiling.class_code(node, text, parsed(lines).imported))


def _check_methods(cls: type, found: FoundClass) -> None:
    """Raises NoSource when a method that runs is not what the source says."""
    compiled: dict[tuple[str, int], CodeType] = {}
    todo = [found.code]
    for code in todo:
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        compiled.update(((each.co_name, each.co_firstlineno), each) for each in inner)
        todo += inner
    for running in _methods(cls):
        if running.co_filename == found.file:
            same = compiled.get((running.co_name, running.co_firstlineno))
            if same is None or not same_code(same, running):
                raise _edited(found.file)
