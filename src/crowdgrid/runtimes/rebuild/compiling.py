"""Lines of source to the code object they once were compiled to.

Only the body of a function is compiled. Its decorators, defaults and annotations were evaluated where it was defined,
and their values travel; so they are struck out. Around the function goes a factory whose parameters are the function's
free variables, because only a function inside another one has any; and around a method its class, because of names
like `__private`. The function's code is then taken from the factory's constants; the factory is never called.

Line numbers, columns and file name are those of the original, so a traceback reads the same.

The client compiles too, to see that the source it found is what runs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any, Final

from crowdgrid.errors import BadProgram
from crowdgrid.protocol.captured import Class, Function, Text

LAMBDA: Final = "<lambda>"
_FACTORY: Final = "_crowdgrid_factory"  # part of qualified names until they are set right
_ANNOTATIONS: Final = 0x1000000  # CO_FUTURE_ANNOTATIONS
_OPTIMIZED: Final = 0x1  # CO_OPTIMIZED: functions are, class bodies are not


def function_code(function: Function, text: Text, imported: Iterable[str] = ()) -> CodeType:
    """The code object of a function.

    Args:
        imported: names its module imports: a method of one of them compiles to other bytecode, which does the same.

    Raises:
        SyntaxError: this Python cannot read it.
        BadProgram: there is no such function in the text.
    """
    node: ast.stmt
    if function.stop:
        name = LAMBDA
        node = ast.Expr(_lambda_of(function, text))
    else:
        found = statement(text, function.column)
        if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
            raise BadProgram(f"The source of {function.qualname} holds no function.")
        name = found.name
        node = _bare(found)
    body: list[ast.stmt] = [node]
    if function.inside:
        around = ast.parse(f"class {function.inside}: pass").body[0]
        assert isinstance(around, ast.ClassDef)
        around.body = body
        body = [around]
    factory = ast.parse(f"def {_FACTORY}({', '.join(function.free)}): pass")
    made = factory.body[0]
    assert isinstance(made, ast.FunctionDef)
    defined = function.inside or ("" if function.stop else name)
    own = bool(defined) and defined not in function.free
    # What the factory defines is a global to the function, as it was, and no variable of the factory.
    made.body = [ast.Global([defined]), *body] if own else body
    factory.body[:0] = _never(imported)
    whole = compile(
        ast.fix_missing_locations(factory),
        text.file,
        "exec",
        flags=_ANNOTATIONS if function.later_annotations else 0,
        dont_inherit=True,
    )
    code = next(code for code in _nested(whole) if code.co_name == name and code.co_flags & _OPTIMIZED)
    return _renamed(code, code.co_qualname, function.qualname)


def class_code(node: Class, text: Text, imported: Iterable[str] = ()) -> CodeType:
    """The code that runs a class statement with its decorators. Raises as `function_code`."""
    found = statement(text, node.column)
    if not isinstance(found, ast.ClassDef):
        raise BadProgram(f"The source of {node.name} holds no class.")
    return compile(
        ast.fix_missing_locations(ast.Module([*_never(imported), found], [])),
        text.file,
        "exec",
        flags=_ANNOTATIONS if node.later_annotations else 0,
        dont_inherit=True,
    )


def statement(text: Text, column: int) -> ast.stmt:
    """The one statement in `text`, with the line numbers of its file."""
    if not column:
        return _parse(text.lines, text.first - 1).body[0]
    outer = _parse("if 1:\n" + text.lines, text.first - 2).body[0]
    assert isinstance(outer, ast.If)
    return outer.body[0]


def _parse(source: str, above: int) -> ast.Module:
    """`source` parsed as if `above` lines stood above it."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        error.lineno = (error.lineno or 1) + above
        raise
    ast.increment_lineno(tree, above)
    return tree


def _never(imported: Iterable[str]) -> list[ast.stmt]:
    """Imports that are compiled and not run."""
    names = [ast.alias(name) for name in imported]
    return [ast.If(ast.Constant(False), [ast.Import(names)], [])] if names else []


def _lambda_of(function: Function, text: Text) -> ast.Lambda:
    """The lambda between its two columns; in parentheses it may stretch over lines."""
    lines = text.lines.rstrip("\n").split("\n")
    lines[-1] = lines[-1].encode()[: function.stop].decode()
    lines[0] = lines[0].encode()[function.column :].decode()
    outer = _parse("(" + "\n".join(lines) + ")", text.first - 1).body[0]
    found = outer.value if isinstance(outer, ast.Expr) else None
    if not isinstance(found, ast.Lambda):
        raise BadProgram("The source of a lambda holds none.")
    for node in ast.walk(found):  # back to where it was on its first line
        if isinstance(node, ast.expr | ast.arg | ast.keyword):
            if node.lineno == text.first:
                node.col_offset += function.column - 1
            if node.end_lineno == text.first and node.end_col_offset is not None:
                node.end_col_offset += function.column - 1
    _strike_defaults(found.args)
    return found


def _bare(found: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt:
    found.decorator_list = []
    found.returns = None
    if sys.version_info >= (3, 12):
        found.type_params = []
    _strike_defaults(found.args)
    return found


def _strike_defaults(given: ast.arguments) -> None:
    given.defaults = []
    given.kw_defaults = [None] * len(given.kwonlyargs)
    for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if each is not None:
            each.annotation = None


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _renamed(code: CodeType, old: str, new: str) -> CodeType:
    """`code` under the qualified name `new`, and so what is defined inside it."""

    def rename(constant: Any) -> Any:
        if isinstance(constant, CodeType):
            return _renamed(constant, old, new)
        if isinstance(constant, str) and constant.startswith(f"{old}."):  # what a class statement sets
            return new + constant[len(old) :]
        return constant

    name = code.co_qualname
    name = new + name[len(old) :] if name == old or name.startswith(f"{old}.") else name
    return code.replace(co_qualname=name, co_consts=tuple(map(rename, code.co_consts)))


def for_people(error: SyntaxError, python: tuple[int, int], name: str) -> BadProgram:
    """What to say when this Python cannot read what another one could."""
    here = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    there = f"Python {python[0]}.{python[1]}"
    if here == there:
        return BadProgram(f"The source of {name} cannot be read: {error.msg} (line {error.lineno}).")
    return BadProgram(
        f"This function was written for {there} and uses syntax that {here} cannot read: line {error.lineno}.",
        hint=f"Write it so that {here} reads it too, or run it on nodes with {there}.",
    )
