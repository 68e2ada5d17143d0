"""Turns a function into a program that runs elsewhere: its source, and the values it refers to as they are now.

    seen = capture(square)
    seen.program      # bytes to put on a hub
    seen.current()    # whether capturing it again would give the same

What a function refers to is found in its code: names looked up in its module, its closure, its defaults. Each of these
is a plain value, something installed everywhere (it travels by name), or again a function, class or module of one's own
(it travels by source). What is none of these is refused here, by name, before anything is sent.

`graph` collects, `functions` and `classes` look into what they are called after, `source` finds source, `names` reads
code, `modules` and `references` tell what is installed, `constants` knows some harmless objects, `order` sorts, `watching`
notices changes, `refusing` has the words. The way back is `runtimes.rebuild`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

from crowdgrid import limits
from crowdgrid.client.capture import classes, functions, modules
from crowdgrid.client.capture.graph import Graph, StartAgain
from crowdgrid.client.capture.order import in_order
from crowdgrid.client.capture.refusing import Place, refuse
from crowdgrid.errors import BadInput, CannotTravel
from crowdgrid.protocol import captured as c
from crowdgrid.protocol.functions import FunctionProgram, pack


class Captured(NamedTuple):
    """A function that was captured.

    Attributes:
        program: its bytes, as `protocol.functions.pack` makes them. body: the function alone, see `FunctionProgram`.
        exceptions: classes of exceptions that travelled with it or that it refers to.
        current: whether what it refers to is still the same; costs microseconds, more where it captures large
            lists or arrays.
    """

    program: bytes
    body: bytes
    exceptions: tuple[type[BaseException], ...]
    current: Callable[[], bool]


def capture(
    fn: Callable[..., Any],
    *,
    codec: str = "msgpack",
    name: str = "",
    environment: str = "",
    paths: tuple[str, ...] = (),
    initializer: Callable[..., Any] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Captured:
    """Make a program of `fn`.

    Args:
        codec: "msgpack": by source. "pickle": by cloudpickle, for machines that trust one another.
        name: for people; else the function's own.
        environment, paths, initializer, initargs: see `FunctionProgram`.

    Raises:
        CannotTravel: it, or something it refers to, cannot be sent; the message names it.
        BadInput: there is no such codec.
    """
    if getattr(type(fn), "_crowdgrid_function", False) is True:
        fn = fn.__wrapped__  # type: ignore[attr-defined]
    name = (name or name_of(fn))[: limits.NAME_CHARS]
    first = functools.partial(initializer, *initargs) if initializer is not None else None
    if codec == "pickle":
        from crowdgrid.client.capture.pickled import capture_pickled

        return capture_pickled(fn, name, environment, paths, first)
    if codec != "msgpack":
        raise BadInput(f"There is no codec {codec!r}.", hint='Use "msgpack" or "pickle".')
    refuse_as_a_task(fn, name)
    graph, body = collected(fn, name)
    watches = [graph.watch]
    exceptions = dict(graph.exceptions)
    initial = b""
    if first is not None:
        begun, initial = collected(first, name_of(first))
        watches.append(begun.watch)
        exceptions |= begun.exceptions
    program = FunctionProgram("msgpack", name, sys.version_info[:2], body, environment, (), initial)
    return Captured(pack(program), body, tuple(exceptions), lambda: all(watch.unchanged() for watch in watches))


def name_of(fn: Any) -> str:
    """What people call a function: its name, or its type's."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__name__", "") or type(fn).__name__
    return "lambda" if name == "<lambda>" else str(name)


def refuse_as_a_task(fn: Any, name: str) -> None:
    """Raises CannotTravel for what can be called here but is no task."""
    if not callable(fn):
        raise CannotTravel(f"{name} is no function, so it cannot be sent as one.", hint="Write a def or a lambda.")
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise CannotTravel(
            f"{name} is an async function, and a task is a plain one.",
            hint="Send a def that calls asyncio.run() on it.",
        )
    if inspect.isgeneratorfunction(inner):
        raise CannotTravel(
            f"{name} is a generator function, and a task returns once.", hint="Return a list of what it yields."
        )


def collected(fn: Callable[..., Any], name: str) -> tuple[Graph, bytes]:
    """What a function refers to, and the packed document of it. Raises CannotTravel."""
    whole: dict[str, c.Source] = {}
    while True:
        graph = Graph(name, whole)
        try:
            root = graph.add(fn, Place(name, name, ""))
            while graph.todo:
                index, value, place = graph.todo.popleft()
                if isinstance(value, FunctionType):
                    functions.look_into(graph, index, value, place)
                else:
                    classes.look_into(graph, index, value, place)
        except StartAgain:
            continue
        except RecursionError:
            raise CannotTravel(f"{name} captures containers that are nested too deeply.") from None
        nodes = [node for node in graph.nodes if node is not None]
        assert len(nodes) == len(graph.nodes), "everything entered was looked into"
        ordered, root = in_order(nodes, root, name)
        document = c.Document(
            ordered, root, tuple(graph.texts), graph.homes, graph.whole, tuple(sorted(graph.requires))
        )
        return graph, c.pack_document(document)


__all__ = ["Captured", "capture", "modules", "name_of", "refuse"]
