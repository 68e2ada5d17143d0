"""What became of a class after its statement ran is what it is elsewhere, or it is refused by name."""

from __future__ import annotations

import abc
import collections
import contextlib
import enum
import functools
import operator
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pytest

from crowdgrid.client.capture import capture
from crowdgrid.errors import CannotTravel
from tests.unit.client.capture.elsewhere import call


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclass
class Point:
    x: int


class Settings:
    mode: Any = Mode.FAST
    pattern = re.compile("a+")
    plain: Any = None
    size: Any = 3
    key = operator.itemgetter(0)

    @property
    def shown(self) -> str:
        return "as written"

    @staticmethod
    def helper(x: int) -> Any:
        return x

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    def method(self) -> Any:
        return "as written"

    short: Any = lambda self: 1


def other(self: Any = None) -> str:
    return "put there"


def settings() -> tuple[Any, ...]:
    made: Any = Settings()
    return (
        made.mode.name,
        made.pattern.pattern,
        made.shown,
        made.helper(2),
        made.name(),
        made.method(),
        made.short(),
    )


def test_a_class_as_it_was_written_is_that() -> None:
    assert call(settings) == settings() == ("FAST", "a+", "as written", 2, "Settings", "as written", 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", Mode.SLOW),
        ("mode", Flags.A | Flags.B),
        ("pattern", re.compile("b+")),
        ("shown", property(other)),
        ("shown", property(lambda self: "lambda", doc="said")),
        ("shown", "a text"),
        ("helper", staticmethod(lambda x: -x)),
        ("helper", staticmethod(other)),
        ("name", classmethod(lambda cls: "other " + cls.__name__)),
        ("method", other),
        ("method", functools.partial(other)),
        ("method", lambda self: "lambda"),
        ("short", lambda self: 2),
        ("short", other),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_took_the_place_of_something_written(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings
    monkeypatch.setattr(Settings, name, value)

    def use() -> Any:
        found: Any = getattr(Settings(), name)
        return (found() if callable(found) else getattr(found, "pattern", getattr(found, "value", found))), Settings

    if name == "helper" and "x" in value.__func__.__code__.co_varnames:
        assert call(lambda: Settings.helper(5)) == -5
    else:
        assert call(lambda: use()[0]) == use()[0]
    assert before is settings


@pytest.mark.parametrize(
    "value",
    [Mode.SLOW, re.compile("c"), functools.partial(other), property(other), staticmethod(other), [other], {"a": Mode}],
    ids=lambda value: type(value).__name__,
)
def test_what_was_put_there_and_the_statement_does_not_name(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "added", value, raising=False)

    def kind() -> str:
        return type(vars(Settings)["added"]).__name__

    assert call(kind) == kind()


@pytest.mark.parametrize("name", ["added", "plain", "size", "method"])
def test_an_object_put_there_is_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, name, Point(3), raising=False)
    with pytest.raises(CannotTravel, match=rf"captures `{name}` through Settings, a .*Point, which cannot travel"):
        capture(settings)


def test_a_lock_the_statement_makes_is_made_again_and_one_put_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(lambda: Locked.lock.locked()) is False
    monkeypatch.setattr(Locked, "count", threading.Lock())
    with pytest.raises(CannotTravel, match=r"`count` through Locked"):
        capture(lambda: Locked.count)


class Locked:
    lock = threading.Lock()
    count: Any = 0


# What a statement makes in ways that are not to be seen in it is left to it.


class Described:
    """A descriptor that learns its name."""

    def __set_name__(self, owner: type, name: str) -> None:
        setattr(owner, "of_" + name, Point(1))

    def __get__(self, of: Any, kind: Any) -> str:
        return "described"


class WithHook:
    def __init_subclass__(cls) -> None:
        cls.made = Point(2)  # type: ignore[attr-defined]


class Hooked(WithHook):
    pass


class Marked(type):
    def __init__(cls, *args: Any) -> None:
        super().__init__(*args)
        cls.mark = Point(4)


class WithMeta(metaclass=Marked):
    pass


class Loose:
    first, (second, *third) = Point(1), (Point(2), Point(3))
    for looped in [Point(5)]:
        again: Any = looped
    if (walrus := Point(6)).x:
        augmented: Any = [Point(7)]
        augmented += [Point(8)]
    with contextlib.nullcontext(Point(10)) as opened:
        pass
    vars()["hidden"] = Point(9)
    described = Described()


class Abstract(abc.ABC):
    @abc.abstractmethod
    def say(self) -> str: ...


class Concrete(Abstract):
    def say(self) -> str:
        return "concrete"


@dataclass(slots=True)
class Slotted:
    x: int
    y: int = 2


class Pair(NamedTuple):
    x: int
    y: int = 2


def made_by_statements() -> list[Any]:
    loose: Any = Loose
    hooked: Any = Hooked
    return [
        [
            each.x
            for each in (
                loose.first,
                loose.second,
                *loose.third,
                loose.looped,
                loose.again,
                loose.opened,
                loose.walrus,
                *loose.augmented,
            )
        ],
        loose.hidden.x,
        loose.of_described.x,
        Loose().described,
        hooked.made.x,
        WithMeta.mark.x,
        Concrete().say(),
        Slotted(1).y,
        Pair(1).y,
    ]


def test_what_statements_make_unseen_is_made_again() -> None:
    assert call(made_by_statements) == made_by_statements()


# What a class statement does besides making a class was done here already.


ORDER: list[str] = []
COUNTS = collections.Counter[str]()
KINDS: dict[str, Any] = {}
NAMES: set[str] = set()
NESTED: dict[str, list[str]] = {"names": []}
MADE = 0


class Base:
    made: ClassVar[int] = 0
    kinds: ClassVar[list[Any]] = []

    def __init_subclass__(cls) -> None:
        global MADE
        MADE += 1
        Base.made += 1
        Base.kinds.append(cls)
        ORDER.append(cls.__name__)
        KINDS[cls.__name__] = cls
        NAMES.add(cls.__name__.lower())
        NESTED["names"].append(cls.__name__)
        COUNTS[cls.__name__] += 1


def listed(cls: Any) -> Any:
    ORDER.append("decorated " + cls.__name__)
    return cls


class Told:
    def __set_name__(self, owner: type, name: str) -> None:
        ORDER.append("named " + name)


@listed
class One(Base):
    field = Told()


class Two(Base):
    pass


def _counting() -> tuple[Callable[[Any], Any], Callable[[], int]]:
    count = 0

    def counted(cls: Any) -> Any:
        nonlocal count
        count += 1
        return cls

    return counted, lambda: count


counted, how_many = _counting()


@counted
class Three:
    pass


def what_was_done() -> list[Any]:
    Three()
    return [
        Two.made,
        MADE,
        [kind.__name__ for kind in Base.kinds],
        list(ORDER),
        {name: kind.__name__ for name, kind in KINDS.items()},
        sorted(NAMES),
        NESTED,
        dict(COUNTS),
        how_many(),
        KINDS["One"] is One,
    ]


def test_what_class_statements_did_to_others_is_not_done_twice() -> None:
    assert what_was_done()[:2] == [2, 2]
    assert call(what_was_done) == what_was_done()
