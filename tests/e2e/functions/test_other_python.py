"""Client and agent with different minor versions of Python: source travels, and what cannot is said.

The other Python is a newer one, in the environment `scripts/setup-other-python` makes. Agents run by it serve this
process; a client run by it is served by agents of this process's Python.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import crowdgrid as cg
from crowdgrid.client.login import Login, save
from crowdgrid.errors import BadProgram
from tests.e2e.grid import SECONDS, TOKEN, Grid, until

SETUP: Final = "scripts/setup-other-python"
OTHER: Final = Path(__file__).parents[3] / ".venv-other" / "bin" / "python"
HERE: Final = (sys.version_info.major, sys.version_info.minor)
OWN: Final = ("--python", "own")

# Functions only a newer Python reads: the version that began to, the line an older one stops at, and all lines.
NEWER: Final = {
    "alias": ((3, 12), "    type Number = int", "@cg.function\ndef alias(x):\n{}\n    return x\n"),
    "generic": ((3, 12), "def generic[T](x: T) -> T:", "@cg.function\n{}\n    return x\n"),
    "quoted": ((3, 12), """    return f"{x["key"]}\"""", "@cg.function\ndef quoted(x):\n{}\n"),
    "boxed": ((3, 12), "class Box[T]:", "{}\n    pass\n\n\n@cg.function\ndef boxed(x):\n    return Box.__name__\n"),
    "preset": ((3, 13), "def preset[T = int](x: T) -> T:", "@cg.function\n{}\n    return x\n"),
}
CLIENT: Final = """
import json, sys
import crowdgrid as cg
import own

FACTOR = 3


def helper(x):
    return x * FACTOR


@cg.function
def plain(x):
    return [helper(y) for y in range(x)], sys.version_info[:2]


@cg.function
def modular(x):
    return own.twice(x)

"""
ASK: Final = """
said = {}
with cg.connect(sys.argv[1], sys.argv[2]) as grid:
    said["plain"] = plain.remote(3)
    for name in sys.argv[3:]:
        try:
            said[name] = globals()[name].submit(1).result(60)
        except cg.CrowdgridError as error:
            said[name] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def other() -> tuple[int, int]:
    """The other Python's version."""
    told = "import sys, crowdgrid; print(*sys.version_info[:2])"
    done = subprocess.run([OTHER, "-c", told], capture_output=True, text=True) if OTHER.exists() else None
    if done is None or done.returncode:
        missing = f"there is no other Python: {SETUP} makes .venv-other"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    major, minor = map(int, done.stdout.split())
    assert (major, minor) > HERE, f"{SETUP} makes an environment of a newer Python"
    return major, minor


@pytest.fixture(scope="module")
def there(other: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[cg.Grid]:
    """A grid whose only agent is run by the other Python."""
    with Grid(tmp_path_factory.mktemp("other") / "grid") as processes:
        processes.start_hub()
        processes.start_agents(1, cpus=2, options=OWN, python=OTHER)
        with processes.connect() as connected:
            yield connected


# --- source ------------------------------------------------------------------------------------

FACTOR = 3


def helper(x: int) -> int:
    return x * FACTOR


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 4

    def length(self) -> float:
        return float((self.x**2 + self.y**2) ** 0.5)


class Color(enum.Enum):
    RED = 1


class Base:
    def name(self) -> str:
        return "base"


class Derived(Base):
    def name(self) -> str:
        return super().name() + " and more"


class Trouble(Exception):
    """Travels with the function that raises it."""


def version() -> tuple[int, ...]:
    return tuple(sys.version_info[:2])


def nested(x: int) -> list[int]:
    def add(y: int) -> int:
        return helper(y) + x

    odd: Callable[[int], int] = lambda z: z % 2  # noqa: E731 - a lambda inside a function
    return [add(y) for y in range(x) if not odd(y)]


def classes(x: int) -> tuple[Any, ...]:
    return Point(x).length(), Color(1).name, Derived().name()


def inverse(x: int) -> float:
    return 1 / x


def troubled() -> None:
    raise Trouble("mine", 7)


def counter(start: int) -> Callable[[int], int]:
    count = start

    def up(by: int) -> int:
        nonlocal count
        count += by
        return count

    return up


def test_functions_run_on_another_python_with_all_they_refer_to(there: cg.Grid, other: tuple[int, int]) -> None:
    assert there.submit(version).result(SECONDS) == other
    assert there.submit(nested, 3).result(SECONDS) == nested(3) == [3, 9]
    assert there.submit(classes, 3).result(SECONDS) == classes(3) == (5.0, "RED", "base and more")
    assert there.submit(counter(40), 2).result(SECONDS) == 42
    assert there.submit(lambda x: helper(x) + 1, 2).result(SECONDS) == 7


def test_a_map_runs_on_another_python(there: cg.Grid) -> None:
    tripled = there.function(helper)
    assert list(tripled.map(range(500))) == [x * 3 for x in range(500)]


def test_what_is_raised_there_names_the_node_and_the_line(there: cg.Grid) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        there.submit(inverse, 0).result(SECONDS)
    trace = str(caught.value.__cause__)
    assert f'File "{Path(__file__).name}", line {inverse.__code__.co_firstlineno + 1}, in inverse' in trace
    assert "return 1 / x" in trace
    assert any("call 0 on node" in note for note in caught.value.__notes__)
    with pytest.raises(Trouble) as own:
        there.submit(troubled).result(SECONDS)
    assert own.value.args == ("mine", 7)


def lacking() -> str:
    return pytest.__name__


def test_why_says_what_a_node_lacks(there: cg.Grid) -> None:
    """As it is with a module of the standard library that a newer Python has no more."""
    job = there.function(lacking, piece=1).spawn_map([()], name="lacking")

    def said() -> str:
        return json.dumps(job.why())

    until(lambda: "It declined this job: " in said(), "it is said why it does not run")
    assert "pytest" in said()
    job.cancel()


def test_a_call_nobody_can_run_fails_with_what_the_node_lacks(there: cg.Grid) -> None:
    with pytest.raises(cg.RemoteError, match=r"The module 'pytest' is not installed on this node\.") as caught:
        there.submit(lacking).result(SECONDS)
    assert any("call 0 on node" in note for note in caught.value.__notes__)


# --- pickles -----------------------------------------------------------------------------------


def test_a_pickle_waits_for_its_own_python_and_says_so(
    other: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No other Python is given it, nor can one be asked for; why is said, and with a node of this Python it runs."""
    here, theirs = ("{}.{}".format(*each) for each in (HERE, other))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with Grid(tmp_path / "grid") as processes:
        processes.start_hub()
        processes.start_agents(1, options=OWN, python=OTHER)
        save(Login(processes.url, TOKEN, own=True))
        with cg.connect() as grid:
            asked = grid.function(version, codec="pickle", where=f"label:python{theirs}")
            with pytest.raises(BadProgram, match=rf"A pickle of Python {here} can be read by no other Python"):
                asked.submit().result(SECONDS)

            future = grid.function(version, codec="pickle").submit()
            until(lambda: "Nothing has begun yet" in caplog.text, "it is said that nothing begins")
            assert f"It lacks the label python{here}." in caplog.text
            assert f"pickled by Python {here}, and no other Python reads them" in caplog.text
            (job,) = processes.get("/v1/jobs")["jobs"]
            assert f"It lacks the label python{here}." in processes.command("why", job["id"]).stdout
            assert grid.submit(version).result(SECONDS) == other  # source runs meanwhile
            assert not future.done()

            processes.start_agents(1, options=OWN)
            assert future.result(SECONDS) == HERE


# --- syntax ------------------------------------------------------------------------------------


def test_what_only_a_newer_python_reads_fails_where_it_is_sent_and_names_both(
    other: tuple[int, int], tmp_path: Path
) -> None:
    """The client is the newer one here. What both read runs; the rest says which Python wrote it, which cannot, and where."""
    here, theirs = ("{}.{}".format(*each) for each in (HERE, other))
    newer = {
        name: (line, text.replace("{}", line)) for name, (since, line, text) in NEWER.items() if HERE < since <= other
    }
    assert newer, "there is syntax only the other Python reads"
    client = tmp_path / "client.py"
    client.write_text(CLIENT + "\n\n".join(text for _, text in newer.values()) + ASK)
    lines = client.read_text().splitlines()
    (tmp_path / "own.py").write_text(
        "import crowdgrid as cg\n\n\ndef twice(x):\n    return 2 * x\n\n\n" + next(iter(newer.values()))[1]
    )
    with Grid(tmp_path / "grid") as processes:
        processes.start_hub()
        processes.start_agents(1, options=OWN)
        words = [str(OTHER), str(client), processes.url, TOKEN, "modular", *newer]
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("plain") == [[0, 3, 6], list(HERE)]
    module = said.pop("modular")
    assert f"written for Python {theirs} with syntax that Python {here} cannot read (own.py, line" in module
    assert said.keys() == newer.keys()
    for name, sentence in said.items():
        told = f"This function was written for Python {theirs} and uses syntax that Python {here} cannot read: line "
        assert sentence.startswith(told), sentence
        line = lines[int(sentence.removeprefix(told).rstrip(".")) - 1]
        assert line == newer[name][0], name
