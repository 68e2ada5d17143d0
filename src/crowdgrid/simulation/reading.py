"""Scenario files: TOML, read into `scenario.Scenario`, or one sentence about what is wrong where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from crowdgrid.errors import BadInput
from crowdgrid.simulation.scenario import Scenario

FOLDER: Final = Path(__file__).parent / "scenarios"
_WHERE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$?(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def names() -> list[str]:
    """The scenarios that come with crowdgrid."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def found(word: str) -> Path:
    """A file by its path, or one that comes with crowdgrid by its name. Raises BadInput."""
    path = Path(word)
    if path.suffix == ".toml" or path.exists():
        return path
    if word in names():
        return FOLDER / f"{word}.toml"
    raise BadInput(f"There is no scenario {word!r}.", hint=f"Give a .toml file, or one of {', '.join(names())}.")


def read(path: Path, changes: Sequence[str] = ()) -> Scenario:
    """The scenario in a file, with some of its keys changed.

    Args:
        path: of the file. changes: `key=value` each, as in TOML: `network.loss=0.01`, `crowd.0.count=50`.

    Raises:
        BadInput: one sentence with the file, the key, and what is allowed there.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}.") from None
    for change in changes:
        _change(given, change)
    try:
        return msgspec.convert(given, Scenario)
    except msgspec.ValidationError as error:
        raise BadInput(f"{path}: {_said(str(error), given)}") from None


def _change(given: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    try:
        value = tomllib.loads(f"value = {text}")["value"] if equals else None
    except tomllib.TOMLDecodeError:
        value = text
    *way, last = key.strip().split(".")
    at: Any = given
    try:
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        if not equals or value is None:
            raise KeyError
        at[int(last) if isinstance(at, list) else last] = value
    except (LookupError, ValueError, TypeError, AttributeError):
        raise BadInput(
            f"{change!r} changes nothing in a scenario.", hint="Write key=value, such as network.loss=0.01."
        ) from None


# --- what is wrong -------------------------------------------------------------------------------


def _said(message: str, given: dict[str, Any]) -> str:
    """msgspec's message as a sentence that names the key and what is allowed."""
    match = _WHERE.match(message)
    assert match is not None
    what, steps = match["what"], _steps(match["path"] or "")
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown:
        place = _key(steps)
        allowed = _fields(steps, given)
        close = get_close_matches(unknown[1], allowed, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        return f"{place or 'the file'} has no key {unknown[1]!r}; it may have {', '.join(allowed)}.{meant}"
    missing = re.search(r"missing required field `(.+)`", what)
    if missing:
        return f"{_key(steps) or 'the file'} lacks {missing[1]!r}, which has no default."
    wrong = re.search(r"Invalid (?:enum )?value (.+)", what)
    if wrong:
        return f"{_key(steps)} is {wrong[1]}; it may be {', '.join(_choices(steps, given))}."
    return f"{_key(steps)}: {what[:1].lower()}{what[1:]}."


def _steps(path: str) -> list[str]:
    return [name or index for name, index in _STEP.findall(path)]


def _key(steps: Sequence[str]) -> str:
    """`crowd.0.count`, as `--set` writes it."""
    return ".".join(steps)


def _type_at(steps: Sequence[str], given: Any) -> inspect.Type:
    at: Any = inspect.type_info(Scenario)
    for step in steps:
        at = _plain(at)
        given = _within(given, step)
        if isinstance(at, inspect.StructType):
            at = next((field.type for field in at.fields if field.encode_name == step), at)
        elif isinstance(at, inspect.VarTupleType):
            at = at.item_type
        at = _plain(at)
        if isinstance(at, inspect.UnionType) and isinstance(given, dict):
            at = next((each for each in at.types if getattr(each, "tag", None) == given.get("kind")), at)
    found_type: inspect.Type = _plain(at)
    return found_type


def _plain(at: Any) -> Any:
    while isinstance(at, inspect.Metadata):
        at = at.type
    return at


def _within(given: Any, step: str) -> Any:
    if isinstance(given, dict):
        return given.get(step)
    return given[int(step)] if isinstance(given, list) and step.isdigit() and int(step) < len(given) else None


def _fields(steps: Sequence[str], given: Any) -> list[str]:
    at = _type_at(steps, given)
    if not isinstance(at, inspect.StructType):
        return []
    return [*([str(at.tag_field)] if at.tag_field else []), *(field.encode_name for field in at.fields)]


def _choices(steps: Sequence[str], given: Any) -> list[str]:
    if steps and steps[-1] == "kind":
        at = _type_at(steps[:-1], None)
        return [str(getattr(each, "tag", "")) for each in at.types] if isinstance(at, inspect.UnionType) else []
    at = _type_at(steps, given)
    return [str(each) for each in at.values] if isinstance(at, inspect.LiteralType) else []
