"""Python values as JSON says them.

What JSON has a form for takes it: tuples, sets and arrays are lists; dates, decimals, fractions and paths are text;
keys are text. What it has no form for becomes an object whose one key names it: `{"base64": "…"}` for bytes,
`{"float": "nan"}`, `{"complex": [re, im]}`, `{"pairs": [[key, value], …]}` for a dict whose keys are no text.
Anything else is refused rather than guessed.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
from collections import deque
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from crowdgrid import limits
from crowdgrid.cli.showing import escaped
from crowdgrid.errors import CannotTravel
from crowdgrid.protocol.forms import type_name

_AS_TEXT: Final = (Decimal, Fraction, UUID, PurePath, tzinfo)
_AS_LIST: Final = (list, tuple, set, frozenset, deque)


def text(value: Any) -> str:
    """One line of JSON.

    Raises:
        CannotTravel: JSON cannot say it; the message is the end of a sentence about it.
    """
    try:
        line = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
        line.encode()
    except UnicodeEncodeError:  # half a character
        return json.dumps(plain(value), allow_nan=False)
    except ValueError as error:  # an integer of more digits than Python writes
        raise CannotTravel(f"cannot be written as JSON: {error}") from None
    return escaped(line)


def plain(value: Any, depth: int = 0) -> Any:  # noqa: C901 — one line a type is the clear form
    """The value in what `json` writes. Raises CannotTravel."""
    if value is None or (isinstance(value, bool | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if depth > limits.VALUE_DEPTH:
        raise CannotTravel(f"holds more than {limits.VALUE_DEPTH} containers in one another, or itself")
    if isinstance(value, dict):
        return _object(value, depth + 1)
    if isinstance(value, _AS_LIST):
        return [plain(each, depth + 1) for each in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"complex": [plain(value.real), plain(value.imag)]}
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, range | slice):
        return {type(value).__name__: [plain(each) for each in (value.start, value.stop, value.step)]}
    return _made_by_others(value, depth + 1)


def _object(value: dict[Any, Any], depth: int) -> Any:
    if not all(isinstance(key, str | int | float | bool | date | time | UUID | None) for key in value):
        return {"pairs": [[plain(key, depth), plain(item, depth)] for key, item in value.items()]}
    keys = [key if isinstance(key, str) else _key(key) for key in value]
    if len(set(keys)) < len(keys):  # 1 and "1"
        return {"pairs": [[plain(key, depth), plain(item, depth)] for key, item in value.items()]}
    return {key: plain(item, depth) for key, item in zip(keys, value.values())}


def _key(key: Any) -> str:
    said = plain(key)
    return said if isinstance(said, str) else json.dumps(said) if not isinstance(said, dict) else said["float"]


def _made_by_others(value: Any, depth: int) -> Any:
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and hasattr(value, "tolist"):
        listed = value.tolist()
        if type(listed) is not type(value):
            return plain(listed, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), depth) for field in dataclasses.fields(value)}
    raise CannotTravel(f"is, or holds, a value of type {type_name(value)}, which JSON cannot say")
