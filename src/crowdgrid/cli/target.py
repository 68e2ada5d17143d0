"""The function a person means by `FILE.py:FUNCTION` or `module:FUNCTION`: found, loaded, named in clear words if not.

A file is loaded as a module under its own name, with its folder first on the import path as `python FILE.py` would
have it, and its `if __name__ == "__main__":` part left out. What it prints meanwhile goes to standard error: standard
output is for results.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from crowdgrid.errors import BadInput

NAMES_SHOWN: Final = 20
FORM: Final = "Write it like square.py:square, or package.module:square for a module that can be imported."


def load(target: str) -> tuple[Callable[..., Any], str]:
    """(the function, its name).

    Raises:
        BadInput: there is no such file, module or function, or it cannot be loaded.
    """
    place, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    module = _file(Path(place)) if _is_path(place) else _module(place)
    shown = Path(place).name if _is_path(place) else place
    if not name:
        raise BadInput(f"Which function of {shown}? {_there_are(module)}", hint=FORM)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            close = get_close_matches(name, _functions(module), n=1)
            hint = f"Did you mean {place}:{close[0]}?" if close else FORM
            raise BadInput(f"{shown} has no function {name!r}. {_there_are(module)}", hint=hint) from None
    if not callable(found):
        raise BadInput(f"{name!r} in {shown} is a {type(found).__name__}, no function. {_there_are(module)}", hint=FORM)
    return found, name


def _is_path(place: str) -> bool:
    return place.endswith(".py") or os.sep in place or not place


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise BadInput(f"The file {str(path)!r} {what}.", hint=FORM)
    path = path.resolve()
    sys.path[:] = [str(path.parent), *(entry for entry in sys.path if entry != str(path.parent))]
    name = _name_for(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"The file {path.name!r} is no Python file.", hint=FORM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _loading(path.name, lambda: loader.exec_module(module))
    return module


def _name_for(path: Path) -> str:
    """The module's name: the file's, unless a module that is something else has it."""
    name = re.sub(r"\W", "_", path.stem)
    known = sys.modules.get(name)
    try:
        spec = known.__spec__ if known is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    taken = known is not None or spec is not None
    same = spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path
    return name if same or not taken else f"{name}_program"


def _module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadInput(f"{name!r} is neither a Python file nor the name of a module.", hint=FORM)
    loaded: list[ModuleType] = []
    _loading(name, lambda: loaded.append(importlib.import_module(name)))
    return loaded[0]


def _loading(shown: str, load: Callable[[], None]) -> None:
    """Run somebody's module. Raises BadInput with what it raised, and where."""
    try:
        with redirect_stdout(sys.stderr):
            load()
    except ModuleNotFoundError as error:
        if error.name and (shown == error.name or shown.startswith(f"{error.name}.")):
            hint = f"For a file: ./{shown}.py:FUNCTION." if Path(f"{shown}.py").exists() else FORM
            raise BadInput(f"There is no module {shown!r}.", hint=hint) from None
        raise BadInput(
            f"{shown} cannot be loaded: {error}{_where(error)}.", hint="Install what it imports where crowdgrid is."
        ) from None
    except SyntaxError as error:
        raise BadInput(f"{shown} cannot be loaded: {error.msg} (line {error.lineno} of {_base(error)}).") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 — anything may be in there
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hint = "Relative imports need the package: use package.module:FUNCTION." if "relative import" in told else ""
        raise BadInput(
            f"{shown} cannot be loaded: {told}{_where(error)}.",
            hint=hint or 'What is not to run when it is loaded belongs below `if __name__ == "__main__":`.',
        ) from None


def _where(error: BaseException) -> str:
    """The line that raised, in the last file that is not Python's own importing."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    if len(frames) < 3:  # only ours
        return ""
    return f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})"


def _base(error: SyntaxError) -> str:
    return Path(error.filename or "it").name


def _functions(module: ModuleType) -> list[str]:
    """Functions of the module, those it made for the grid first."""
    own = [
        (not getattr(value, "_crowdgrid_function", False), name)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or getattr(value, "_crowdgrid_function", False))
        and getattr(value, "__module__", None) == module.__name__
    ]
    return [name for _, name in sorted(own)]


def _there_are(module: ModuleType) -> str:
    names = _functions(module)
    if not names:
        return "It has none."
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return f"It has {', '.join(names[:NAMES_SHOWN])}{more}."
