"""Classes travel by their source, with what became of them since it was run."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import threading
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import pytest

from crowdgrid.errors import CannotTravel
from tests.unit.client.capture.elsewhere import call, raised

T = TypeVar("T")
N = TypeVar("N", bound=float)
UserId = NewType("UserId", int)
Vector = list[float]
Maybe = int | None
SCALE = 10
REGISTRY: dict[str, str] = {}


def scale(x: float) -> float:
    return x * SCALE


def registered(cls: type) -> type:
    REGISTRY[cls.__name__] = describe(cls)
    return cls


def describe(cls: type) -> str:
    return f"{cls.__name__} of {cls.__mro__[1].__name__}"


@dataclass(order=True, slots=True)
class Size:
    width: float
    height: float = 2.0
    tags: list[str] = field(default_factory=lambda: [str(SCALE)])

    def area(self) -> float:
        return scale(self.width * self.height)


@dataclass(frozen=True)
class Named(Generic[T]):
    name: str
    value: T
    count: ClassVar[int] = 0


class Shape(abc.ABC):
    sides = 0

    @abc.abstractmethod
    def area(self) -> float: ...

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        cls.label = describe(cls) + str(options.get("extra", ""))  # type: ignore[attr-defined]

    @classmethod
    def make(cls, *args: Any) -> Shape:
        return cls(*args)

    @staticmethod
    def unit() -> float:
        return 1.0 * SCALE

    @property
    def twice(self) -> float:
        return 2 * self.area()


@registered
class Square(Shape, extra="!"):
    sides = 4

    def __init__(self, side: float) -> None:
        super().__init__()
        self.side = side

    def area(self) -> float:
        return self.side**2

    @functools.cached_property
    def other(self) -> Any:
        return Other(self)


class Other:
    """Refers to a class that refers to it."""

    def __init__(self, of: Square) -> None:
        self.of = of

    def back(self) -> Square:
        return Square(self.of.side + 1)


class Level(enum.IntEnum):
    LOW = enum.auto()
    HIGH = SCALE

    @property
    def label(self) -> str:
        return self.name.lower() + str(scale(1))


class Planet(enum.Enum):
    EARTH = (1.0, "blue")

    def __init__(self, mass: float, color: str) -> None:
        self.mass = scale(mass)
        self.color = color


class Row(NamedTuple):
    key: str
    value: int = SCALE

    def total(self) -> int:
        return self.value + len(self.key)


class Options(TypedDict, total=False):
    depth: int


class HasArea(Protocol):
    def area(self) -> float: ...


class Counted(type):
    def __call__(cls, *args: Any) -> Any:
        return ["made", super().__call__(*args)]


class Meta(metaclass=Counted):
    def __init__(self, x: int = 0) -> None:
        self.x = x


class Name:
    """What it makes is plain, so it can be a task."""

    def __new__(cls, text: str) -> str:  # type: ignore[misc]
        return f"<{text}>"


class BadSize(ValueError):
    def __init__(self, size: float, reason: str) -> None:
        super().__init__(f"{reason}: {size}")
        self.size = size
        self.reason = reason


class Registry:
    items: ClassVar[list[int]] = []
    limit = 3
    lock = threading.Lock()  # made anew: the statement is run again

    class Inner:
        depth = SCALE

        def say(self) -> str:
            return f"inner {self.depth}"

    @staticmethod
    def helper(x: int) -> int:
        return x + Registry.limit

    def method(self) -> str:
        return f"{type(self).__name__} {scale(1)}"

    async def waits(self) -> int:
        return 1

    def numbers(self) -> Iterator[int]:
        yield from self.items


@functools.total_ordering
class Version:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.number == other.number

    def __lt__(self, other: Version) -> bool:
        return self.number < other.number

    __hash__ = None  # type: ignore[assignment]


def dataclasses_work() -> tuple[Any, ...]:
    a, b = Size(1.0), Size(2.0, 3.0)
    named = Named("n", 3)
    return a.area(), a < b, b.tags, dataclasses.asdict(b), repr(named), dataclasses.replace(named, value=4).value


def inheritance_works() -> tuple[Any, ...]:
    square: Any = Square.make(3.0)
    try:
        Shape()  # type: ignore[abstract]
    except TypeError:
        refused = True
    else:
        refused = False
    return (
        square.area(),
        square.twice,
        square.label,
        Square.unit(),
        square.other.back().side,
        refused,
        REGISTRY,
        isinstance(square, Shape),
    )


@dataclass
class Tree:
    size: Size
    left: Tree | None = None
    label: ClassVar[str] = "t"


def hints_work() -> tuple[Any, ...]:
    hints = typing.get_type_hints(Tree)
    return sorted(hints), hints["size"] is Size, [one.name for one in dataclasses.fields(Tree)]


def enumerations_work() -> tuple[Any, ...]:
    return Level.HIGH + 1, Level(1).label, Planet.EARTH.mass, Planet["EARTH"].color, [level.name for level in Level]


def other_kinds_work() -> tuple[Any, ...]:
    made: Any = Meta(4)
    return (
        Row("abc").total(),
        Row("a")._asdict(),
        Options(depth=2),
        made[0],
        made[1].x,
        Version(2) >= Version(1),
        UserId(5),
        Vector([1.0]),
        isinstance(3, Maybe),
    )


@pytest.mark.parametrize(
    "fn",
    [dataclasses_work, inheritance_works, hints_work, enumerations_work, other_kinds_work],
    ids=lambda fn: fn.__name__,
)
def test_classes_work_as_they_do_here(fn: Callable[[], Any]) -> None:
    assert call(fn) == fn()


def test_protocols_and_aliases_are_no_obstacle() -> None:
    def area_of(shape: HasArea, to: type[HasArea] = HasArea) -> float:
        found: Vector = [shape.area()]
        return found[0] if to.__name__ == "HasArea" else 0.0

    assert call(lambda: area_of(Size(1.0))) == 20.0


def test_attributes_are_what_they_are_now() -> None:
    """What was changed after the class statement ran: a setting, a list, a method put there later."""
    Registry.items.append(7)
    Registry.limit = 5
    method = Registry.method

    def replacement(self: Registry) -> str:
        return f"replaced {self.limit} {scale(2)}"

    Registry.method = replacement  # type: ignore[method-assign]
    Registry.added = lambda self, x: x + self.limit  # type: ignore[attr-defined]

    def use() -> tuple[Any, ...]:
        made: Any = Registry()
        return list(made.numbers()), made.limit, made.method(), made.added(1), Registry.helper(1), made.lock.locked()

    try:
        assert call(use) == ([7], 5, "replaced 5 20", 6, 6, False)
    finally:
        Registry.items.clear()
        Registry.limit = 3
        Registry.method = method  # type: ignore[method-assign]
        del Registry.added  # type: ignore[attr-defined]


class Handlers:
    by_name: ClassVar[dict[str, Any]] = {}

    @classmethod
    def add(cls, fn: Callable[..., Any]) -> Callable[..., Any]:
        cls.by_name[fn.__name__] = fn
        return fn

    def twice(self) -> int:
        return 2

    def __len__(self) -> int:
        return 0


@Handlers.add
def double(x: int) -> int:
    return x * 2


def twice(self: Handlers) -> int:
    """Of the same name as the method it takes the place of."""
    return 22


def test_methods_that_took_the_place_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handlers, "twice", twice)
    monkeypatch.setattr(Handlers, "__len__", lambda self: 7)
    assert call(lambda: (Handlers().twice(), len(Handlers()), Handlers.by_name["double"](4))) == (22, 7, 8)


def test_methods_and_inner_classes_alone() -> None:
    """They come with their class, so that what they are of is one class."""
    helper, method, make, inner = Registry.helper, Registry.method, Square.make, Registry.Inner
    assert call(helper, 1) == 4
    assert call(lambda: (method(Registry()), inner().say(), inner is Registry.Inner)) == (
        "Registry 10",
        "inner 10",
        True,
    )
    assert call(lambda: make(2.0).area()) == 4.0


def test_a_class_can_be_the_task() -> None:
    assert call(Name, "a") == "<a>"
    assert call(functools.partial(str, encoding="ascii"), b"a") == "a"


def raises_own(size: float) -> None:
    raise BadSize(size, "too small")


def test_own_exceptions_come_back_as_their_class() -> None:
    error = raised(raises_own, 0.5)
    assert type(error) is BadSize
    assert (error.size, error.reason, str(error)) == (0.5, "too small", "too small: 0.5")


def test_what_an_exception_class_needs_is_not_called_here() -> None:
    """No constructor of one's own runs on the word of another machine."""
    calls = BadSize.__init__
    try:
        BadSize.__init__ = lambda *args: pytest.fail("called")  # type: ignore[method-assign]
        from crowdgrid.client.raising import to_exception
        from crowdgrid.protocol.failures import Failure

        told = Failure(f"{__name__}.BadSize", __name__, "m")
        assert type(to_exception(told, classes=[BadSize])) is BadSize
    finally:
        BadSize.__init__ = calls  # type: ignore[method-assign]


def test_a_class_made_in_a_function_is_refused() -> None:
    class Local:
        pass

    with pytest.raises(CannotTravel, match="The class Local, captured by lambda, is defined inside a function"):
        call(lambda: Local())


def test_a_class_without_source_is_refused() -> None:
    made = type("Made", (), {})
    with pytest.raises(CannotTravel, match=r"Made \(captured by lambda\) cannot travel: its source is not kept"):
        call(lambda: made())


Counter = collections.Counter


def test_installed_classes_travel_by_name() -> None:
    assert call(lambda: Counter("aab").most_common(1)) == [("a", 2)]
