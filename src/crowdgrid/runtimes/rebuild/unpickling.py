"""A function that came as a pickle. Only workers whose owner is also the sender's load one.

Modules of the sender's own folders are imported where they lie. They are forgotten when a program of another
environment comes, so that a module edited between two sessions is never an old one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from crowdgrid.errors import BadInput, BadProgram
from crowdgrid.protocol.functions import FunctionProgram
from crowdgrid.protocol.pickles import dumps, loads
from crowdgrid.runtimes.rebuild import beginnings, making, raised, stage

_OURS: Final = frozenset(sys.modules)  # what a worker is made of
_EVERYBODYS: Final = sys.stdlib_module_names | {"crowdgrid"}
_PACKAGES: Final = frozenset({"site-packages", "dist-packages"})


class _Environment:
    """The one whose modules are in `sys.modules` now."""

    name = ""
    paths: tuple[str, ...] = ()
    is_initialized = False


_current = _Environment()


def load_pickled(program: FunctionProgram) -> Callable[[bytes], bytes]:
    """Calls of the function of a program: packed arguments to packed result. Raises as `functions.load`."""
    from crowdgrid.runtimes.functions import initializer_failed

    stage.leave()
    if not program.environment or program.environment != _current.name:
        forget()
        _current.name = program.environment
    _import_from(program.paths)
    if program.initializer and not _current.is_initialized:
        first = _unpickled(program.initializer, program)
        try:
            beginnings.run(first)
        except BaseException as error:  # noqa: BLE001 - whatever it raises
            raise initializer_failed(error, _pickled(error)) from None
        _current.is_initialized = True
    fn = _unpickled(program.body, program)
    beginnings.share(fn)
    return _caller(program.name, fn)


def _unpickled(data: bytes, program: FunctionProgram) -> Callable[..., Any]:
    here = sys.version_info[:2]
    if program.python != here:
        there = "{}.{}".format(*program.python)
        raise BadProgram(
            f"{program.name} was pickled by Python {there}; this node has {here[0]}.{here[1]}, which cannot read it.",
            hint='Send it with codec="msgpack", or to nodes with the same Python.',
        )
    try:
        fn = loads(data)
    except ModuleNotFoundError as error:
        raise making.missing(error.name or "?") from None
    except Exception as error:  # noqa: BLE001 - unpickling runs anything
        raise BadProgram(f"{program.name} cannot be unpickled here: {raised.one_line(error)}.") from None
    if not callable(fn):
        raise BadProgram(f"{program.name} is no function.")
    return fn  # type: ignore[no-any-return]


def _caller(name: str, fn: Callable[..., Any]) -> Callable[[bytes], bytes]:
    from crowdgrid.runtimes.functions import failed

    def call(item: bytes) -> bytes:
        """The pickled result of one call. Raises CallFailed."""
        try:
            args, kwargs = loads(item)
        except Exception as error:  # noqa: BLE001 - unpickling runs anything
            raise failed(BadInput(f"The arguments cannot be unpickled: {raised.one_line(error)}.")) from None
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - SystemExit too is the function's, not the worker's
            raise failed(error, _pickled(error)) from None
        try:
            return dumps(result)
        except Exception as error:  # noqa: BLE001 - pickling runs anything
            raise failed(raised.unreturnable(name, result, str(error))) from None

    return call


def _pickled(error: BaseException) -> bytes:
    """The exception as a pickle, if it comes back as one too."""
    try:
        data = dumps(error)
        loads(data)
    except BaseException:  # noqa: BLE001 - an exception's own code may raise anything
        return b""
    return data


def _import_from(paths: tuple[str, ...]) -> None:
    new = [path for path in paths if path not in sys.path]
    sys.path[:0] = new
    _current.paths += tuple(new)
    if new:
        importlib.invalidate_caches()


def forget() -> None:
    """Take the current environment's folders off the path and what was imported from them out of `sys.modules`."""
    sys.path[:] = [path for path in sys.path if path not in _current.paths]
    for name in [name for name in sys.modules if name not in _OURS and _is_from(name, _current.paths)]:
        del sys.modules[name]
    _current.name, _current.paths, _current.is_initialized = "", (), False
    beginnings.forget()
    importlib.invalidate_caches()


def _is_from(name: str, paths: tuple[str, ...]) -> bool:
    """Whether a module was imported from one of these folders; packages installed below one are everybody's."""
    file = getattr(sys.modules[name], "__file__", None)
    if not paths or not isinstance(file, str) or name.partition(".")[0] in _EVERYBODYS:
        return False
    return _PACKAGES.isdisjoint(Path(file).parts) and any(Path(file).is_relative_to(path) for path in paths)
