"""Functions go through capture, bytes and a fresh interpreter, and do there what they do here."""

from __future__ import annotations

import collections
import contextlib
import decimal
import enum
import functools
import itertools
import json
import logging
import math
import operator
import os.path
import random
import re
import string
import struct
import time
import types
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

import crowdgrid
from tests.unit.client.capture.elsewhere import call, call_all

RATE = 3
TABLE = {"a": [1, 2], "b": [3]}
PATTERN = re.compile(r"(\d+)", re.IGNORECASE)
LOGGER = logging.getLogger("somebody")
MISSING = object()
CALLS: list[int] = []
FIRST = operator.itemgetter(0)
HEAD = struct.Struct("<I")
GREETING = string.Template("hello $name")
SETTINGS = types.SimpleNamespace(depth=2)
GRID = np.arange(6.0).reshape(2, 3)
KIND = np.dtype("<f4")


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Point(NamedTuple):
    x: int
    y: int = 5


Pair = collections.namedtuple("Pair", "left right", defaults=[9])  # noqa: PYI024 - made by a call
Flags = enum.Flag("Flags", "A B")
ORIGIN = Point(0, 1)
FAVOURITE = Color.GREEN
BOTH = Flags.A | Flags.B


def scaled(x: int) -> int:
    return x * RATE


def calls_another(x: int) -> int:
    return scaled(x) + 1


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def is_even(n: int) -> bool:
    return n == 0 or is_odd(n - 1)


def is_odd(n: int) -> bool:
    return n != 0 and is_even(n - 1)


def everything(a: int, b: int = RATE, /, *rest: int, c: int, d: Any = TABLE, **more: int) -> tuple[Any, ...]:
    return a, b, rest, c, d, more


def with_time(at: float = time.time()) -> float:
    return at


def test_globals_and_other_functions() -> None:
    """Values as they are now; functions by their source."""
    assert call(calls_another, 5) == 16


def test_recursion() -> None:
    assert call(factorial, 20) == math.factorial(20)
    assert call(is_even, 11) is False


def test_parameters_of_every_kind() -> None:
    assert call(everything, 1, c=2) == (1, 3, (), 2, TABLE, {})
    assert call(everything, 1, 2, 3, 4, c=5, d=6, e=7) == (1, 2, (3, 4), 5, 6, {"e": 7})


def test_defaults_are_evaluated_once_and_here() -> None:
    assert call(with_time) == with_time()


def test_lambdas() -> None:
    """Several on one line are told apart, over several lines they are whole."""
    pair = (lambda x: x + 1, lambda x: x + 2)
    nested = lambda x: (lambda y: x * y)(x + 1)  # noqa: E731, PLC3002
    long = lambda x, *, by=RATE: (  # noqa: E731
        x
        # a comment with a ) in it
        + by
    )
    same = [lambda x, k=k: x * k for k in range(3)]
    assert [call(fn, 10) for fn in (*pair, nested, long, *same)] == [11, 12, 110, 13, 0, 10, 20]


def test_lambda_beside_text_that_is_not_ascii() -> None:
    """Columns count bytes of UTF-8."""
    pair = ("é→", lambda x: "ü" + x, lambda x: "→" + x)  # fmt: skip
    assert [call(pair[1], "a"), call(pair[2], "a")] == ["üa", "→a"]


def adder(by: int) -> Callable[[int], int]:
    def add(x: int) -> int:
        return x + by

    return add


def countdown() -> Callable[[int], list[int]]:
    def down(n: int) -> list[int]:
        return [n, *down(n - 1)] if n else []

    return down


def counter() -> tuple[Callable[[], int], Callable[[], int]]:
    count = 0

    def up() -> int:
        nonlocal count
        count += 1
        return count

    def look() -> int:
        return count

    return up, look


def test_closures() -> None:
    assert call(adder(7), 1) == 8
    assert call(countdown(), 3) == [3, 2, 1]


def test_functions_share_the_variables_they_shared() -> None:
    up, look = counter()

    def both() -> tuple[int, int, int]:
        return up(), up(), look()

    assert call(both) == (1, 2, 2)


def test_a_variable_that_has_no_value_yet() -> None:
    if CALLS:
        later = 1

    def use() -> int:
        try:
            return later
        except NameError:
            return -1

    assert call(use) == -1


def traced(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ("traced", fn(*args, **kwargs))

    return wrapper


def repeated(times: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> Any:
            return [fn(*args) for _ in range(times)]

        return wrapper

    return decorate


@traced
@repeated(2)
def decorated(x: int) -> int:
    """Says what it does."""
    return x + RATE


def tells_itself() -> tuple[Any, ...]:
    wrapped: Any = decorated
    return (
        wrapped.__name__,
        wrapped.__qualname__,
        wrapped.__doc__,
        wrapped.__module__,
        wrapped.__wrapped__.__wrapped__(1),
        adder(1).__qualname__,
    )


@contextlib.contextmanager
def announced(log: list[str]) -> Iterator[int]:
    log.append("in")
    yield RATE
    log.append("out")


def uses_a_context() -> tuple[int, list[str]]:
    log: list[str] = []
    with announced(log) as value:
        log.append("within")
    return value, log


@functools.lru_cache(maxsize=10, typed=True)
def slow(x: int) -> int:
    CALLS.append(x)
    return x * 2


@functools.singledispatch
def kind_of(x: Any) -> str:
    return "something"


@kind_of.register
def _(x: int) -> str:
    return f"a number, {RATE}"


def dispatched() -> list[str]:
    return [kind_of(1), kind_of("a"), kind_of(True)]


def cached() -> tuple[int, int, Any]:
    return slow(4) + slow(4), len(CALLS), slow.cache_parameters()


def test_decorators_have_run_once_and_here() -> None:
    assert call(decorated, 1) == ("traced", [4, 4])
    assert call(tells_itself) == tells_itself()
    assert call(uses_a_context) == (3, ["in", "within", "out"])


def test_caches() -> None:
    assert call(cached) == (16, 1, {"maxsize": 10, "typed": True})
    assert call(slow, 21) == 42


def test_generic_functions() -> None:
    assert call(dispatched) == dispatched() == ["a number, 3", "something", "a number, 3"]


def test_submodules_behind_a_variable_of_a_closure() -> None:
    def make() -> Callable[[], Any]:
        import xml as package
        import xml.etree.ElementTree as _  # noqa: F401

        return lambda: package.etree.ElementTree.fromstring("<b/>").tag  # noqa: S314

    assert call(make()) == "b"


def test_partials() -> None:
    assert call(partial(everything, 1, c=partial(scaled, 2)()), 4) == (1, 4, (), 6, TABLE, {})
    assert call(partial(partial(pow, 2), 10)) == 1024

    def twice(fn: Callable[[int], int]) -> int:
        return fn(fn(1))

    assert call(partial(twice, scaled)) == 9


def test_functions_in_containers() -> None:
    table: Any = {"scale": [scaled, (len, math.sqrt)], Color.RED: {scaled}, "plain": TABLE}
    table["self"] = table

    def use(x: int) -> tuple[Any, ...]:
        scale, (length, root) = table["scale"]
        (same,) = table[Color.RED]
        return scale(x), length("abc"), root(16), same is scale, table["self"] is table, table["plain"]

    assert call(use, 2) == (6, 3, 4.0, True, True, TABLE)


def test_what_was_shared_is_shared() -> None:
    """A list two functions know is one list there."""
    shared = [1]
    holder: list[Any] = [shared, scaled]

    def use() -> tuple[bool, bool, list[int]]:
        holder[0].append(2)
        return holder[0] is shared, holder[1] is scaled, shared

    assert call(use) == (True, True, [1, 2])


def constants() -> tuple[Any, ...]:
    return (
        PATTERN.findall("a1B22"),
        LOGGER.name,
        FIRST([7, 8]),
        HEAD.pack(1),
        GREETING.substitute(name="you"),
        SETTINGS.depth,
        MISSING is [MISSING][0],
        GRID.sum(),
        KIND.itemsize,
        ORIGIN.y,
        Pair(1).right,
        FAVOURITE is Color(2),
        (BOTH & Flags.A) is Flags.A,
        Point(3).y,
    )


def test_constants_that_are_objects() -> None:
    assert call(constants) == constants()


def installed() -> tuple[Any, ...]:
    return (
        math.floor(2.5),
        os.path.join("a", "b"),  # noqa: PTH118 - a name in a module of another name
        xml.etree.ElementTree.fromstring("<a>1</a>").text,  # noqa: S314 - it is ours
        json.dumps({"a": 1}),
        decimal.Decimal("1.5"),
        list(itertools.chain([1], [2])),
        np.sin(np.float64(0.0)),
        np.linalg.norm([3.0, 4.0]),
        random.Random(3).random(),
        isinstance(random.random(), float),
        collections.Counter("aab"),
    )


def test_installed_code_travels_by_name() -> None:
    assert call(installed) == installed()


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (int, ("12",)),
        (str.upper, ("abc",)),
        (", ".join, (["a", "b"],)),
        ({"a": 1}.get, ("a",)),
        (math.sqrt, (16,)),
        (np.sum, ([1, 2],)),
        (np.sin, (0.0,)),
        (operator.add, (1, 2)),
        (operator.itemgetter(1), ([5, 6],)),
        (os.path.basename, ("a/b",)),
        (decimal.Decimal, ("1",)),
        (dict.fromkeys, (["a"],)),
        (Color, (1,)),
        (functools.partial(max, key=abs), ([1, -5, 3],)),
        (json.loads, ("[1]",)),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_what_is_no_def_can_be_a_task(fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    def at_most(value: Any) -> Any:
        return value.value if isinstance(value, Color) else value

    result = call(lambda *given: at_most(fn(*given)), *args)
    assert result == at_most(fn(*args))
    if fn is not Color:
        assert call(fn, *args) == fn(*args)


def test_bound_functions_of_modules() -> None:
    """`random.choice` is a method of an object nobody can name; its name leads to it all the same."""
    assert call(random.choice, [4]) == 4
    assert 0 <= call(random.random) < 1


def imports_inside(x: int) -> Any:
    import fractions
    from textwrap import dedent as cut

    return cut("  a"), fractions.Fraction(x, 2)


def test_imports_inside_functions() -> None:
    assert call(imports_inside, 3) == imports_inside(3)


def makes_a_class(x: int) -> str:
    class Local:
        rate = RATE
        name = __name__

        def say(self) -> str:
            return f"{self.rate * x} {type(self).__qualname__}"

    return Local().say()


def test_classes_and_functions_made_inside() -> None:
    assert call(makes_a_class, 2) == makes_a_class(2) == "6 makes_a_class.<locals>.Local"


def uses_walrus(data: list[int]) -> Any:
    return [y for x in data if (y := x * RATE) > 3], {k: v + 1 for k, v in zip("ab", data)}, sum(x for x in data)


def uses_match(value: Any) -> str:
    match value:
        case [int(x), *_] if x > RATE:
            return f"{x!r:>5}"
        case {"a": Point(x=1)}:
            return "point"
        case Color.RED:
            return "red"
    return "none"


def test_statements_of_every_kind() -> None:
    assert call(uses_walrus, [1, 2]) == uses_walrus([1, 2])
    assert call_all(uses_match, ([7],), (1,)) == ["    7", "none"]


def deletes() -> int:
    global CALLS
    CALLS.append(1)
    found = len(CALLS)
    del CALLS
    return found


def test_a_global_that_is_only_deleted() -> None:
    assert call(deletes) == 1
    assert CALLS == []


@crowdgrid.function(timeout=5)
def remote(x: int) -> int:
    return x * RATE


def calls_remote(x: int) -> int:
    return remote(x) + 1


def test_remote_functions_travel_as_plain_ones() -> None:
    assert call(remote, 2) == 6
    assert call(calls_remote, 2) == 7


def keeps_count() -> int:
    keeps_count.calls += 1  # type: ignore[attr-defined]
    return keeps_count.calls  # type: ignore[attr-defined]


keeps_count.calls = 4  # type: ignore[attr-defined]


def test_attributes_of_functions() -> None:
    assert call_all(keeps_count, (), ()) == [5, 6]


class Private:
    __secret = 4

    @staticmethod
    def reveal() -> Callable[[], int]:
        return lambda: Private.__secret  # a name that is another one outside of the class


def test_private_names() -> None:
    assert call(Private.reveal()) == 4


def test_a_long_chain_of_functions_is_no_depth() -> None:
    """A program of thousands of functions that call one another is captured and made without recursion."""
    lines = [f"def f{n}(x): return f{n + 1}(x)" if n % 50 else f"def f{n}(x): return x + {n}" for n in range(1, 1500)]
    module = _module("long_chain", "\n".join([*lines, "ALL = [" + ", ".join(f"f{n}" for n in range(1, 1500)) + "]"]))
    use = _module("uses_chain", "def use(x):\n    return [f(x) for f in ALL[:3]]")
    use.ALL = module.ALL
    assert call(use.use, 0) == [50, 50, 50]


def _module(name: str, text: str) -> Any:
    """A module whose source `linecache` knows."""
    import linecache

    made = types.ModuleType(name)
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), vars(made))  # noqa: S102
    return made
