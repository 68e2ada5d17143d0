"""A file's lines, parsed once however many functions of it are captured."""

from __future__ import annotations

import ast
from typing import Final, TypeAlias

from crowdgrid.runtimes.rebuild.compiling import LAMBDA

Defined: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_KEPT: Final = 64
_files: dict[int, Parsed] = {}  # by the id of the lines, which `linecache` keeps


class Parsed:
    """What a file defines.

    Attributes:
        functions: by first line and name: functions, each with the class it stands in, "" none.
        classes: by name: classes that stand in no function and no class, in their order.
        imported: names its top level imports.
        later_annotations: it says `from __future__ import annotations`.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.functions: dict[tuple[int, str], list[tuple[Defined, str]]] = {}
        self.classes: dict[str, list[ast.ClassDef]] = {}
        self.imported: dict[str, None] = {}
        self.later_annotations = False
        try:
            tree = ast.parse("".join(lines))
        except (SyntaxError, ValueError, RecursionError):
            return
        self._look(tree)

    def _look(self, tree: ast.AST) -> None:
        todo: list[tuple[ast.AST, str, bool]] = [(tree, "", True)]  # (node, class it stands in, at the top level)
        while todo:
            node, inside, top = todo.pop()
            if isinstance(node, Defined):
                name = LAMBDA if isinstance(node, ast.Lambda) else node.name
                self.functions.setdefault((first_line(node), name), []).append((node, inside))
                top = False
            elif isinstance(node, ast.ClassDef):
                if top:
                    self.classes.setdefault(node.name, []).append(node)
                inside, top = node.name, False
            elif top and isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            todo += [(child, inside, top) for child in reversed(list(ast.iter_child_nodes(node)))]

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name != "*"]
        self.imported.update(dict.fromkeys(names))
        if isinstance(node, ast.ImportFrom) and node.module == "__future__" and "annotations" in names:
            self.later_annotations = True


def parsed(lines: list[str]) -> Parsed:
    """What these lines define. The same list is parsed once; nobody changes it."""
    found = _files.get(id(lines))
    if found is None or found.lines is not lines:
        if len(_files) >= _KEPT:
            _files.pop(next(iter(_files)))
        found = _files[id(lines)] = Parsed(lines)
    return found


def first_line(node: Defined | ast.ClassDef) -> int:
    """The line of a definition's first decorator, or of itself."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *[each.lineno for each in decorators]])
