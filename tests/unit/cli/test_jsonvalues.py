"""Every value is strict JSON, says what it was, or is refused by name."""

from __future__ import annotations

import enum
import json
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid.cli.jsonvalues import text
from crowdgrid.errors import CannotTravel
from crowdgrid.protocol.values import pack_value


@dataclass
class Point:
    x: int
    y: Any = None


class Colour(enum.Enum):
    RED = "red"


def _never(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((1, "a", None, True, 2.5), [1, "a", None, True, 2.5]),
        ({2}, [2]),
        (frozenset(), []),
        (deque([1, 2]), [1, 2]),
        (b"\x00\xff", {"base64": "AP8="}),
        (bytearray(b"a"), {"base64": "YQ=="}),
        (float("nan"), {"float": "nan"}),
        (-float("inf"), {"float": "-inf"}),
        (1j, {"complex": [0.0, 1.0]}),
        (range(0, 10**12, 3), {"range": [0, 10**12, 3]}),
        (slice(1, None), {"slice": [1, None, None]}),
        (date(2026, 2, 3), "2026-02-03"),
        (datetime(2026, 2, 3, 4, 5, tzinfo=UTC), "2026-02-03T04:05:00+00:00"),
        (time(4, 5), "04:05:00"),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        (Decimal("0.10"), "0.10"),
        (Fraction(1, 3), "1/3"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("a/b"), "a/b"),
        (ZoneInfo("UTC"), "UTC"),
        (10**30, 10**30),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(int, x=1), {"x": 1}),
        ({1: "a", None: "b", date(2026, 1, 1): "c", 1.5: "d"}, {"1": "a", "null": "b", "2026-01-01": "c", "1.5": "d"}),
        ({(1, 2): "a"}, {"pairs": [[[1, 2], "a"]]}),
        ({1: "a", "1": "b"}, {"pairs": [[1, "a"], ["1", "b"]]}),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([1.5, np.nan]), [1.5, {"float": "nan"}]),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), ["2026-01-01"]),
        (Point(1, (2,)), {"x": 1, "y": [2]}),
        (Colour.RED, "red"),
        ("half \ud800", "half \ud800"),
    ],
)
def test_what_python_has_json_says(value: Any, said: Any) -> None:
    line = text(value)
    assert "\n" not in line
    assert json.loads(line, parse_constant=_never) == said


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "type object"),
        ([{"a": lambda: 0}], "type function"),
        (Point, "type type"),
        ([10**5000], "cannot be written as JSON"),
        (np.array([object()]), "type object"),
    ],
)
def test_what_json_cannot_say_is_refused_by_name(value: Any, says: str) -> None:
    with pytest.raises(CannotTravel, match=says):
        text(value)


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CannotTravel, match="or itself"):
        text(endless)


def test_what_a_terminal_would_obey_is_escaped() -> None:
    """Also where JSON itself would let it be: C1 controls, and marks that turn the direction of what follows."""
    said = "\x1b[2J \x07 \x7f \x9b2J \u202e é 漢 \U0001f600"
    line = text({said: said})
    assert json.loads(line) == {said: said}
    assert line.isprintable()
    assert "é 漢 \U0001f600" in line


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals()
KEYS = st.text() | st.integers() | st.binary() | st.tuples(st.integers())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner), max_leaves=20
)


@settings(deadline=None)
@given(VALUES)
def test_whatever_can_travel_is_one_line_of_strict_json(value: Any) -> None:
    """A program that reads the lines must never meet one it cannot parse."""
    pack_value(value)
    line = text(value)
    assert "\n" not in line
    json.loads(line.encode(), parse_constant=_never)
