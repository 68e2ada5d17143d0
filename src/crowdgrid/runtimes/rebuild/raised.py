"""What a call raised, described: one line, and a `Failure` to show it and raise it again.

The description names no folder and no address, so that it is the same wherever the function runs and tells nobody
about the machine; it begins where the function does, not in crowdgrid. It never fails: whatever an exception does when
it is looked at, there is something to say.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Final

from crowdgrid import limits
from crowdgrid.errors import CannotTravel, CrowdgridError
from crowdgrid.protocol.failures import Failure
from crowdgrid.protocol.forms import Forming, NotPlain, TooDeep, type_name, with_article
from crowdgrid.protocol.values import pack_value

SLOTTED: Final = (ImportError, NameError, AttributeError)  # these keep `name` and `path` elsewhere than in a dict
_OURS: Final = f"{Path(__file__).parents[2]}{os.sep}"
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_PARTS: Final = 100  # exceptions of one group
_DEPTH: Final = 5  # groups in groups
_FRAMES: Final = 2_000  # innermost ones
_MESSAGE_CHARS: Final = 4_000
_CUT: Final = "\n  [… cut …]\n"


def one_line(error: BaseException) -> str:
    """The error as a line: "ValueError: bad", at most `limits.ERROR_CHARS`."""
    said = _message(error).strip().split("\n", 1)[0]
    line = f"{_type_name(type(error))}: {said}" if said else _type_name(type(error))
    if isinstance(error, CrowdgridError):  # a sentence for people already
        line = said
    return "".join(character if character.isprintable() else "?" for character in line)[: limits.ERROR_CHARS]


def describe(error: BaseException, *, pickled: bytes = b"") -> Failure:
    """The error as data. Frames of crowdgrid before those of the function are left out."""
    return _describe(error, pickled, 0)


def unreturnable(name: str, result: object, hint: str) -> CannotTravel:
    """What stands for the exception when a call returned something that cannot travel."""
    what = with_article(type_name(result))
    try:
        Forming().form(result)
    except NotPlain as error:
        if error.value is not result:
            what += f" with {with_article(type_name(error.value))} in it"
    except TooDeep as error:
        what += f" of {error}"
    return CannotTravel(f"{name} returned {what}, which cannot travel. {hint}".strip())


def _describe(error: BaseException, pickled: bytes, depth: int) -> Failure:
    parts: tuple[Failure, ...] = ()
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH and len(error.exceptions) <= _PARTS:
        parts = tuple(_describe(part, b"", depth + 1) for part in error.exceptions)
    kind = type(error)
    return Failure(
        type=_type_name(kind),
        module=str(getattr(kind, "__module__", "")),
        message=_message(error),
        args=_packed(lambda: (error.message,) if parts else _args(error)),  # type: ignore[attr-defined]
        traceback=_text(error) if not depth else "",
        pickled=pickled,
        attributes=_packed(lambda: _plain_attributes(error)),
        parts=parts,
    )


def _type_name(kind: type[BaseException]) -> str:
    name = str(getattr(kind, "__qualname__", kind.__name__))
    module = getattr(kind, "__module__", "")
    return name if module in {"builtins", "__main__"} else f"{module}.{name}"


def _message(error: BaseException) -> str:
    try:
        said = str(error)
    except BaseException:  # noqa: BLE001 - an exception's own code may raise anything
        return "<it cannot be shown: its __str__ raises>"
    return _ADDRESS.sub("", said)[:_MESSAGE_CHARS].encode("utf-8", "backslashreplace").decode()


def _packed(get: Any) -> bytes:
    try:
        data = pack_value(get())
    except BaseException:  # noqa: BLE001 - CannotTravel, or whatever its own code raises
        return b""
    return data if len(data) <= limits.FAILURE_BYTES else b""


def _args(error: BaseException) -> tuple[Any, ...]:
    """What its class is called with to make it again; an OSError's `args` leave the file out."""
    if isinstance(error, OSError):
        args: tuple[Any, ...] = OSError.__reduce__(error)[1]  # type: ignore[assignment]
        return args
    return tuple(error.args)


def _plain_attributes(error: BaseException) -> dict[str, Any]:
    plain = {}
    slots = {
        name: getattr(error, name) for name in ("name", "path") if isinstance(error, SLOTTED) and hasattr(error, name)
    }
    for name, value in {**slots, **vars(error)}.items():
        if name.startswith("__"):
            continue
        try:
            pack_value(value)
        except CannotTravel:
            continue
        plain[name] = value
    if not plain:
        raise CannotTravel
    return plain


# --- the traceback -----------------------------------------------------------------------------------


def _text(error: BaseException) -> str:
    try:
        frames = _own_frames(error.__traceback__)
        told = traceback.TracebackException(type(error), error, frames, limit=-_FRAMES, compact=True)
        _shorten(told, set())
        lines = "".join(told.format())
    except BaseException:  # noqa: BLE001 - no memory, or code of the exception's own
        lines = f"{_type_name(type(error))}\n"
    lines = _ADDRESS.sub("", lines).encode("utf-8", "backslashreplace").decode()
    if len(lines.encode()) <= limits.FAILURE_BYTES:
        return lines
    half = (limits.FAILURE_BYTES - len(_CUT.encode())) // 2
    data = lines.encode()
    return data[:half].decode("utf-8", "ignore") + _CUT + data[-half:].decode("utf-8", "ignore")


def _own_frames(tb: TracebackType | None) -> TracebackType | None:
    """`tb` from the first frame on that is not crowdgrid's."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OURS):
        tb = tb.tb_next
    return tb


def _shorten(told: traceback.TracebackException | None, seen: set[int]) -> None:
    """Take folders out of the frames of an exception and of all it came from."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    kept = [frame for frame in told.stack if not frame.filename.startswith(_OURS)]
    for frame in kept:
        frame.line  # noqa: B018 - it is read from the file, which after this has another name
        frame.filename = short_name(frame.filename)
    told.stack[:] = kept
    if getattr(told, "filename", None):  # of a SyntaxError
        told.filename = short_name(str(told.filename))
    _shorten(told.__cause__, seen)
    _shorten(told.__context__, seen)
    for part in getattr(told, "exceptions", None) or ():
        _shorten(part, seen)


@functools.lru_cache(maxsize=1024)
def short_name(filename: str) -> str:
    """A file's name as people know it: relative to where it is imported from, else without folders."""
    if not PurePath(filename).is_absolute():
        return filename
    places = sorted((entry for entry in sys.path if PurePath(entry).is_absolute()), key=len, reverse=True)
    for entry in places:
        if PurePath(filename).is_relative_to(entry):
            return PurePath(filename).relative_to(entry).as_posix()
    return PurePath(filename).name
