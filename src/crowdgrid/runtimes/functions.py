"""A function that came as a program, ready to be called: the worker's side of `protocol.functions`.

    loaded = load(read(data))
    result = loaded.call(pack_call((3,), {}))

Loading makes the function of what travelled (`rebuild/`), or unpickles it; both run code of whoever sent it, so this is
imported by workers only. One process may hold many programs; those of one environment share what their
initializer did and the modules they brought, those of different ones share nothing they could notice.

Invariants: `call` raises nothing but `CallFailed` and `Unavailable`, whatever the function does.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput, BadProgram, CannotTravel
from crowdgrid.protocol import captured
from crowdgrid.protocol.calls import unpack_call, unpack_plain
from crowdgrid.protocol.failures import Failure, pack_failure, unpack_failure
from crowdgrid.protocol.functions import FunctionProgram
from crowdgrid.protocol.values import pack_value
from crowdgrid.runtimes.rebuild import making, raised, stage

Caller: TypeAlias = Callable[[bytes], bytes]

_WORLDS_KEPT: Final = 64
_worlds: dict[str, list[stage.World]] = {}  # by environment, least recently used first


class CallFailed(Exception):
    """The function raised, or what it returned cannot travel.

    Attributes:
        error: one line, at most `limits.ERROR_CHARS`. failure: a packed `Failure`.
    """

    def __init__(self, error: str, failure: bytes) -> None:
        super().__init__(error)
        self.error = error
        self.failure = failure


class InitializerFailed(CallFailed):
    """The initializer raised. `failure` is what it raised, and says that it was the initializer."""


class LoadedFunction:
    """A function that can be called with packed arguments.

    Attributes:
        name: for people. call: see `_plain_caller`; made once, because it is what a short call costs.
    """

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Caller) -> None:
        self.name = name
        self.call = call


def load(program: FunctionProgram) -> LoadedFunction:
    """The function of a program.

    Raises:
        BadProgram: it can be made nowhere, or not by this Python; the message says which one it needs.
        Unavailable: something it needs is not on this node.
        InitializerFailed: its initializer raised.
    """
    if program.codec == "pickle":
        from crowdgrid.runtimes.rebuild.unpickling import load_pickled

        return LoadedFunction(program.name, load_pickled(program))
    document = captured.read_document(program.body)
    world = _world_of(program, document)
    if program.initializer and not world.is_initialized:
        _initialize(program, world)
    fn, homes, scene = _made(document, world, program)
    for name, changed in world.set.items():
        if name in homes:
            vars(homes[name]).update(changed)
    return LoadedFunction(program.name, _plain_caller(program.name, fn, scene))


def _plain_caller(name: str, fn: Callable[..., Any], scene: stage.Scene) -> Caller:
    enter = stage.enter
    nothing: dict[str, Any] = {}
    plain = True  # until a call is not: those of one function are much alike

    def call(item: bytes) -> bytes:
        """The packed result of one call. Raises CallFailed, and Unavailable when an array meets a node without numpy."""
        nonlocal plain
        enter(scene)
        args: tuple[Any, ...]
        kwargs = nothing
        if plain:
            try:
                (args,) = unpack_plain(item)
            except Exception:  # noqa: BLE001 - what is wrong is found out the long way
                plain = False
        if not plain:
            try:
                args, kwargs = unpack_call(item)
            except BadInput as error:
                raise failed(error) from None
        try:
            result = fn(*args, **kwargs) if kwargs else fn(*args)
        except BaseException as error:  # noqa: BLE001 - SystemExit too is the function's, not the worker's
            raise failed(error) from None
        try:
            return pack_value(result)
        except CannotTravel as error:
            raise failed(raised.unreturnable(name, result, error.hint)) from None

    return call


def failed(error: BaseException, pickled: bytes = b"") -> CallFailed:
    """What to raise for what a call raised."""
    try:
        return CallFailed(raised.one_line(error), pack_failure(raised.describe(error, pickled=pickled)))
    except BaseException:  # noqa: BLE001 - there is no memory to describe it, or its own code does what it likes
        kind = type(error).__name__
        return CallFailed(kind, pack_failure(Failure(kind, "builtins", "")))
    finally:
        error.__traceback__ = None  # its frames hold what the call worked on


def initializer_failed(error: BaseException, pickled: bytes = b"") -> InitializerFailed:
    """What to raise for what an initializer raised."""
    told = failed(error, pickled)
    failure = msgspec.structs.replace(unpack_failure(told.failure), in_initializer=True)
    return InitializerFailed(f"The initializer raised {told.error}"[: limits.ERROR_CHARS], pack_failure(failure))


def _world_of(program: FunctionProgram, document: captured.Document) -> stage.World:
    """The world of the program's environment its modules fit into; a new one when they fit none."""
    if not program.environment:
        world = stage.World()
    else:
        worlds = _worlds.pop(program.environment, [])
        _worlds[program.environment] = worlds
        found = next((each for each in worlds if each.agrees(document.sources)), None)
        world = found or stage.World()
        if found is None:
            worlds.append(world)
        while len(_worlds) > _WORLDS_KEPT:
            del _worlds[next(iter(_worlds))]
    stage.leave()  # what is new in it is seen when it is entered
    world.sources.update(document.sources)
    world.python = program.python
    return world


def _made(
    document: captured.Document, world: stage.World, program: FunctionProgram
) -> tuple[Callable[..., Any], dict[str, ModuleType], stage.Scene]:
    homes = making.new_homes(document)
    scene = stage.Scene(world, homes, making.lines_of(document))
    stage.enter(scene)
    shared = world.shared if program.environment else None
    fn = making.Maker(document, homes, program.name, program.python, shared).make()
    if not callable(fn):
        raise BadProgram(f"{program.name} is no function.")
    return fn, homes, scene


def _initialize(program: FunctionProgram, world: stage.World) -> None:
    """Run the initializer, and keep what it set in the globals of modules of which only parts travelled.

    Raises:
        InitializerFailed: it raised.
    """
    document = captured.read_document(program.initializer)
    if not world.agrees(document.sources):
        raise BadProgram("The initializer and the function bring different versions of a module.")
    world.sources.update(document.sources)
    stage.leave()
    fn, homes, _ = _made(document, world, program)
    before = {name: dict(vars(home)) for name, home in homes.items()}
    try:
        fn()
    except BaseException as error:  # noqa: BLE001 - see `call`
        raise initializer_failed(error) from None
    for name, home in homes.items():
        was = before[name]
        world.set[name] = {key: now for key, now in vars(home).items() if key not in was or was[key] is not now}
    world.is_initialized = True
