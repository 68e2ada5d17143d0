"""The globals a code object reads, and those the functions in it read."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Final

_LOADS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_GLOBAL"})
_AT_ONCE: Final = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


def global_names(code: CodeType) -> list[str]:
    """Names `code` and all code in it may look up in its module, in the order in which they come."""
    found: dict[str, None] = {}
    todo = [code]
    for one in todo:
        found.update(dict.fromkeys(_loaded(one)))
        todo += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    return list(found)


def class_names(code: CodeType) -> tuple[list[str], list[str]]:
    """Of a class statement: the names looked up while it runs, and those its functions look up when called."""
    now: dict[str, None] = {}
    then: dict[str, None] = {}
    todo = [code]
    for one in todo:
        now.update(dict.fromkeys(_loaded(one)))
        for constant in one.co_consts:
            if not isinstance(constant, CodeType):
                continue
            if constant.co_name in _AT_ONCE or not constant.co_flags & inspect.CO_OPTIMIZED:
                todo.append(constant)
            else:
                then.update(dict.fromkeys(global_names(constant)))
    return list(now), [name for name in then if name not in now]


def attribute_names(code: CodeType) -> set[str]:
    """Every name `code` and all code in it may use as an attribute; and some more."""
    found: set[str] = set()
    todo = [code]
    for one in todo:
        found.update(one.co_names)
        todo += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    return found


def _loaded(code: CodeType) -> Iterator[str]:
    own: set[str] = set()  # what a class body has set by then is its own
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in _LOADS and name not in own:
            yield name
        elif instruction.opname == "STORE_NAME":
            own.add(name)
