"""What cannot travel is refused before anything is sent, by its name and with what to do about it."""

from __future__ import annotations

import asyncio
import io
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdgrid import limits
from crowdgrid.client.capture import capture
from crowdgrid.errors import BadInput, CannotTravel, TooLarge

LOCK = threading.Lock()
LARGE = b"x" * (limits.CAPTURE_BYTES + 1)


class Model:
    def __init__(self) -> None:
        self.weight = 2

    def predict(self, x: int) -> int:
        return x * self.weight

    def __call__(self, x: int) -> int:
        return x


MODEL = Model()


def uses_lock(x: int) -> int:
    with LOCK:
        return x


def through_another(x: int) -> int:
    return uses_lock(x) + 1


def uses_model(x: int) -> int:
    return MODEL.predict(x)


def uses_large() -> int:
    return len(LARGE)


async def coroutine(x: int) -> int:
    await asyncio.sleep(0)
    return x


def generator(x: int) -> Iterator[int]:
    yield x


async def asynchronous_generator(x: int) -> AsyncIterator[int]:
    yield x


def with_default(x: int, lock: Any = LOCK) -> int:
    return x


def capturing(value: Any) -> Callable[[], Any]:
    def square() -> Any:
        return value

    return square


def refused(fn: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(CannotTravel) as info:
        capture(fn, **options)
    return info.value.message, info.value.hint


def test_the_sentence_names_who_captures_what() -> None:
    assert refused(uses_lock)[0] == "uses_lock captures `LOCK`, a _thread.lock, which cannot travel."
    assert refused(with_default)[0] == "with_default captures `lock`, a _thread.lock, which cannot travel."
    assert refused(through_another)[0] == (
        "through_another captures `LOCK` through uses_lock, a _thread.lock, which cannot travel."
    )
    assert refused(capturing({"a": [1, LOCK]}))[0] == (
        "square captures `value` with a _thread.lock in it, which cannot travel."
    )


@pytest.mark.parametrize(
    ("make", "said", "hint"),
    [
        (threading.Lock, "a _thread.lock", "remove it or make it inside"),
        (threading.Event, "a threading.Event", "remove it or make it inside"),
        (threading.Thread, "a threading.Thread", "start it inside the function"),
        (random.Random, "a random.Random", "from a seed that is an argument"),
        (np.random.default_rng, "a numpy.random._generator.Generator", "from a seed that is an argument"),
        (io.StringIO, "an _io.StringIO", "open it inside the function"),
        (lambda: generator(1), "a generator", "Pass a list of what it yields"),
        (lambda: iter([1]), "a list_iterator", "Pass a list of what it yields"),
        (Model, f"a {__name__}.Model", "Make it inside the function, or pass what it is made of as an argument"),
        (lambda: np.array([object()]), "a numpy.ndarray", "Make it inside the function"),
        (lambda: MODEL.predict, "a method", "Send a function that makes the object itself"),
    ],
)
def test_every_kind_has_its_hint(make: Callable[[], Any], said: str, hint: str) -> None:
    message, told = refused(capturing(make()))
    assert message == f"square captures `value`, {said}, which cannot travel."
    assert hint in told


def test_methods_of_plain_values_are_no_obstacle() -> None:
    assert capture(capturing([3, 1].index)).current()


def test_a_socket_and_an_open_file(tmp_path: Path) -> None:
    with socket.socket() as connection:
        assert "open it inside the function" in refused(capturing(connection))[1]
    with (tmp_path / "file").open("w") as file:
        message, hint = refused(capturing(file))
    assert message == "square captures `value`, an _io.TextIOWrapper, which cannot travel."
    assert "open it inside the function" in hint


def test_tasks_that_are_no_plain_functions() -> None:
    assert refused(coroutine)[0] == "coroutine is an async function, and a task is a plain one."
    assert refused(generator)[0] == "generator is a generator function, and a task returns once."
    assert refused(asynchronous_generator)[0].startswith("asynchronous_generator is an async function")
    assert refused(MODEL.predict)[0] == "predict is a method, which cannot travel."
    assert refused(MODEL)[0] == f"Model is a {__name__}.Model, which cannot travel."
    assert refused(3)[0] == "int is no function, so it cannot be sent as one."


def test_what_is_too_large_is_an_argument() -> None:
    message, hint = refused(uses_large)
    size = f"{limits.CAPTURE_BYTES + 1 + 5:,}"
    assert message == (
        f"uses_large captures `LARGE`, which takes {size} bytes; "
        f"at most {limits.CAPTURE_BYTES:,} travel with a function."
    )
    assert hint == "Pass it as an argument."


def test_a_function_that_is_too_large_together() -> None:
    parts = [bytes([n]) * limits.CAPTURE_BYTES for n in range(5)]
    a, b, c, d, e = (part[:-10] for part in parts)
    with pytest.raises(TooLarge, match=r"lambda is [0-9,]+ bytes with all it captures; the limit is"):
        capture(lambda: len(a) + len(b) + len(c) + len(d) + len(e))


def test_a_container_that_holds_itself_in_a_way_nobody_can_make() -> None:
    inner: list[Any] = []
    outer = (inner, LOCK.acquire, generator)
    inner.append(outer)
    assert "which cannot travel" in refused(capturing(outer))[0]


def test_containers_without_an_end() -> None:
    value: Any = [generator]
    for _ in range(5_000):
        value = [value]
    assert refused(capturing(value))[0] == "square captures containers that are nested too deeply."


def test_a_class_built_on_an_earlier_one_of_its_name() -> None:
    assert refused(lambda: Twice)[0] == (
        "lambda uses Twice, which is built on something of the same name or on itself."
    )


class Twice:
    """The first of two."""


class Twice(Twice):  # type: ignore[no-redef]
    """The second."""


def test_there_is_no_third_codec() -> None:
    with pytest.raises(BadInput, match="There is no codec 'json'"):
        capture(uses_model, codec="json")


def test_what_is_refused_by_source_can_be_pickled() -> None:
    """Objects of one's own travel among machines of one's own."""
    assert refused(uses_model)[0] == f"uses_model captures `MODEL`, a {__name__}.Model, which cannot travel."
    assert capture(uses_model, codec="pickle").program
    with pytest.raises(CannotTravel, match=r"square cannot be pickled: cannot pickle '_thread\.lock' object"):
        capture(capturing(LOCK), codec="pickle")
