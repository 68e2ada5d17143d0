"""A failure becomes an exception again, as far as it may.

A stranger's machine wrote the failure, so it chooses among classes that are known here anyway: Python's own exceptions,
and those the caller names because they travelled with the function. No class is looked up by name in a module, except
where a pickle would be read anyway, and no constructor of a class of one's own is called: its `args` and plain
attributes are set. Numbers that Python's own exceptions take for places in a text are places in it, because Python
itself does not look again. Everything else is a `RemoteError` that says the same.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from crowdgrid import errors, limits
from crowdgrid.errors import BadInput, CannotTravel, CrowdgridError, RemoteError, Unavailable, printable
from crowdgrid.protocol.failures import Failure
from crowdgrid.protocol.values import unpack_value

_BUILTINS: Final = {
    name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
}
_METHODS: Final = frozenset(dir(BaseException))  # as an attribute, one of these would stand in the way of the method
# What a worker says in our own words.
_OURS: Final = {kind.__name__: kind for kind in (BadInput, CannotTravel, Unavailable)}


class RemoteTraceback(Exception):
    """The traceback where it happened, shown as the cause of what is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = printable(text)

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def to_exception(
    failure: Failure, *, classes: Sequence[type[BaseException]] = (), where: str = "", unpickle: bool = False
) -> BaseException:
    """The exception a failure stands for.

    Args:
        classes: exception classes that are known besides Python's own.
        where: a sentence for people: which input it was, on which node.
        unpickle: read the pickled exception. Only for a failure whose signer is trusted: reading it runs code.
    """
    error = _unpickled(failure) if unpickle and failure.pickled else None
    if unpickle and error is None:  # its constructor takes other arguments than its `args`: a common slip
        classes = [*classes, *_loaded(failure)]
    error = error or _known(failure, classes) or _remote(failure)
    if failure.traceback:
        error.__cause__ = RemoteTraceback(failure.traceback)
    if where:
        error.add_note(where)
    return error


def _unpickled(failure: Failure) -> BaseException | None:
    from crowdgrid.protocol.pickles import loads

    try:
        error = loads(failure.pickled)
    except Exception:  # noqa: BLE001 - unpickling runs anything; the failure says what it was all the same
        return None
    return error if isinstance(error, BaseException) else None


def _loaded(failure: Failure) -> list[type[BaseException]]:
    """The class of this name in a module that is loaded here. Only for who might unpickle it."""
    found: Any = sys.modules.get(failure.module)
    name = failure.type if failure.module == "__main__" else failure.type.removeprefix(failure.module + ".")
    for part in name.split("."):
        found = getattr(found, part, None)
    return [found] if isinstance(found, type) and issubclass(found, BaseException) else []


def _known(failure: Failure, classes: Iterable[type[BaseException]]) -> BaseException | None:
    name = failure.type.rpartition(".")[2]
    if failure.module == errors.__name__ and name in _OURS:
        return _OURS[name](failure.message)
    kind = _BUILTINS.get(failure.type) if failure.module == "builtins" else _one_of(classes, failure)
    if kind is None:
        return None
    if issubclass(kind, BaseExceptionGroup):
        return _group(kind, failure, classes)
    args, attributes = _plain(failure)
    try:
        error = kind(*args) if kind.__module__ == "builtins" else _bare(kind, args)
    except Exception:  # noqa: BLE001 - not the arguments this class takes
        return None
    if not _is_sound(error):
        return None
    _set(error, attributes)
    return error


def _is_sound(error: BaseException) -> bool:
    """Whether showing it is safe: CPython reads beyond a text whose error is said to be outside of it."""
    if isinstance(error, UnicodeEncodeError | UnicodeDecodeError | UnicodeTranslateError):
        return 0 <= error.start <= error.end <= len(error.object)
    if isinstance(error, SyntaxError):
        places = (error.lineno, error.offset, error.end_lineno, error.end_offset)
        texts = (error.filename, error.text)
        return all(map(_is_place, places)) and all(text is None or type(text) is str for text in texts)
    return True


def _is_place(number: Any) -> bool:
    return number is None or (type(number) is int and -1 <= number <= limits.SOURCE_LINES)


def _one_of(classes: Iterable[type[BaseException]], failure: Failure) -> type[BaseException] | None:
    for kind in classes:
        shown = kind.__qualname__ if kind.__module__ == "__main__" else f"{kind.__module__}.{kind.__qualname__}"
        if shown == failure.type and kind.__module__ == failure.module:
            return kind
    return None


def _plain(failure: Failure) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The exception's `args` and attributes, as far as they travelled."""
    args: Any = None
    attributes: Any = None
    try:
        args = unpack_value(failure.args) if failure.args else None
        attributes = unpack_value(failure.attributes) if failure.attributes else None
    except CrowdgridError:
        pass
    return (
        args if isinstance(args, tuple) else (failure.message,),
        {name: value for name, value in attributes.items() if isinstance(name, str)}
        if isinstance(attributes, dict)
        else {},
    )


def _bare(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception of a class of somebody's own; Python's own base of it is initialised, its own code is not run."""
    base: Any = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    error: BaseException = base.__new__(kind, *args)
    try:
        base.__init__(error, *args)
    except TypeError:
        pass
    if not isinstance(error, OSError):  # it has taken them apart
        error.args = args
    return error


def _set(error: BaseException, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if name in {"name", "path"} and isinstance(error, ImportError | NameError | AttributeError):
            setattr(error, name, value)  # Python's own: no code of anybody's runs
        elif not name.startswith("__") and name not in _METHODS:
            error.__dict__[name] = value


def _group(
    kind: type[BaseExceptionGroup[Any]], failure: Failure, classes: Iterable[type[BaseException]]
) -> BaseException | None:
    parts = [_known(part, classes) or _remote(part) for part in failure.parts]
    args, _ = _plain(failure)
    if not parts or kind.__module__ != "builtins" or not args or not isinstance(args[0], str):
        return None
    try:
        return kind(args[0], parts)
    except TypeError:  # an ExceptionGroup holds no KeyboardInterrupt
        return None


def _remote(failure: Failure) -> RemoteError:
    said = f"{failure.type}: {failure.message}" if failure.message else failure.type
    return RemoteError(said, type_name=failure.type, traceback=failure.traceback)
