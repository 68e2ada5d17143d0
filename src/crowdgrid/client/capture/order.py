"""Puts the nodes of a graph into an order in which they can be made.

What a node needs comes before it; that alone would do if making a node ran no code. But a class statement runs
decorators and its body, and what those call should find its globals. So before a class or call comes all that can be
reached from it, except what needs the class itself.

The walks keep their own stacks: a chain of a thousand classes is no recursion here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeAlias

from crowdgrid.errors import CannotTravel
from crowdgrid.protocol import captured as c

Visits: TypeAlias = Generator[int, None, None]


def in_order(nodes: list[c.Node], root: int, name: str) -> tuple[tuple[c.Node, ...], int]:
    """The nodes that can be reached from `root`, in an order to make them, and where `root` is in it.

    Args:
        name: of the function, for people.

    Raises:
        CannotTravel: some need one another.
    """
    order = _Ordering(nodes, name).run(root)
    place = {old: new for new, old in enumerate(order)}
    return tuple(c.moved(nodes[old], place) for old in order), place[root]


class _Ordering:
    def __init__(self, nodes: list[c.Node], name: str) -> None:
        self._nodes = nodes
        self._name = name
        self._order: dict[int, None] = {}
        self._begun: set[int] = set()

    def run(self, root: int) -> list[int]:
        """All that can be reached from `root`."""
        for index in self._reachable([root]):
            if index not in self._order:
                self._visit(index)
        return list(self._order)

    def _visit(self, index: int) -> None:
        stack = [self._steps(index)]
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
            else:
                stack.append(self._steps(child))

    def _steps(self, index: int) -> Visits:
        """Yields what to visit first; then puts `index` into the order."""
        self._begun.add(index)
        node = self._nodes[index]
        for needed in node.needs():
            if needed in self._order:
                continue
            if needed in self._begun:
                raise CannotTravel(
                    f"{self._name} uses {_name(node)}, which is built on something of the same name or on itself.",
                    hint="Give the two different names.",
                )
            yield needed
        if isinstance(node, c.Class | c.Call):
            for useful in self._reachable([*node.needs(), *node.later()]):
                if useful not in self._order and useful not in self._begun and not self._waits(useful):
                    yield useful
        self._order[index] = None
        self._begun.discard(index)

    def _waits(self, index: int) -> bool:
        """Whether it needs something that is being made."""
        return any(needed in self._begun for needed in self._closure([index], lambda node: node.needs()))

    def _reachable(self, roots: list[int]) -> list[int]:
        return self._closure(roots, lambda node: (*node.needs(), *node.later()))

    def _closure(self, roots: list[int], edges: Callable[[c.Node], Iterable[int]]) -> list[int]:
        found = dict.fromkeys(roots)
        todo = list(found)
        for index in todo:
            for other in edges(self._nodes[index]):
                if other not in found:
                    found[other] = None
                    todo.append(other)
        return todo


def _name(node: c.Node) -> str:
    return node.name if isinstance(node, c.Class) else "something"
