"""The examples run as they stand, on this machine's own grid, and what they print is right."""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import crowdgrid as cg

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES_MAX = 60
SECONDS = 240  # for the busiest of machines
FUNCTIONS = ("etl", "executor", "options", "pi", "search", "sklearn_grid", "sweep", "syntax_trees")
PROGRAMS = {
    "primes": "50,847,534 primes",
    "nonces": "nonce 2,083,236,893 ",
    "pi": "785,403,013 of 1,000,000,000",
    "sweep": "model --rate 1.0 --depth 4",
    "words": "lines went out and came back",
}


pytestmark = pytest.mark.timeout(2 * SECONDS + 60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home without a login, so that examples use a grid of this machine."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def grid() -> Iterator[cg.Grid]:
    with cg.local(agents=2, cpus=1) as started:
        yield started


def run(home: Path, script: str, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CROWDGRID_", "XDG_"))}
    return subprocess.run(
        [sys.executable, EXAMPLES / script, *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=clean | {"HOME": str(home)} | environ,
    )


@functools.cache
def printed(home: Path, script: str, **environ: str) -> str:
    done = run(home, script, **environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- all of them -------------------------------------------------------------------------------


def test_every_example_is_run_here_named_in_the_readme_and_short() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    functions = {path.stem for path in EXAMPLES.glob("*.py")}
    programs = {path.stem for path in (EXAMPLES / "programs").glob("*.py")} - {"where"}
    assert (functions, programs) == (set(FUNCTIONS), set(PROGRAMS))
    assert all(f"`{name}.py`" in readme for name in functions)
    assert all(f"`programs/{name}.py`" in readme for name in programs)
    long = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > LINES_MAX} == {}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_of_programs_prints_what_it_promises(home: Path, name: str) -> None:
    assert PROGRAMS[name] in printed(home, f"programs/{name}.py")


@pytest.mark.parametrize("name", ["pi", "options", "etl", "sweep"])
def test_an_example_prints_the_same_again_on_the_grid_one_is_signed_in_to(home: Path, grid: cg.Grid, name: str) -> None:
    """Chance is seeded and sums are taken in order, so it does not matter where, or how often, a call was run."""
    address = grid.connection.address
    elsewhere = printed(home, f"{name}.py", CROWDGRID_URL=address.url, CROWDGRID_TOKEN=address.token)
    assert elsewhere == printed(home, f"{name}.py")


# --- right answers -----------------------------------------------------------------------------


def test_syntax_trees_are_counted_as_they_are_here(home: Path) -> None:
    told = printed(home, "syntax_trees.py")
    assert told.endswith("The grid and this machine agree.\n")
    assert re.search(r"[\d,]{7,}  Name\n", told), "there are many names in any library"


def test_pi_lies_within_its_error_bar_and_the_error_bar_is_what_theory_expects(home: Path) -> None:
    told = re.match(r"pi = ([\d.]+) ± ([\d.]+), from ([\d,]+) points", printed(home, "pi.py"))
    assert told is not None
    pi, error, points = float(told[1]), float(told[2]), int(told[3].replace(",", ""))
    assert abs(pi - math.pi) < 4 * error
    assert error == pytest.approx(math.sqrt(math.pi * (4 - math.pi) / points), rel=0.2)


def test_an_option_costs_what_the_formula_and_an_integral_say(home: Path) -> None:
    told = re.match(r"([\d.]+) ± ([\d.]+) from [\d,]+ samples; the formula says ([\d.]+)", printed(home, "options.py"))
    assert told is not None
    price, error, exact = map(float, told.groups())
    step = 0.001
    steps = [step * at for at in range(-8_000, 8_001)]
    paid = [max(100 * math.exp(0.03 - 0.02 + 0.2 * z) - 105, 0) * math.exp(-z * z / 2) for z in steps]
    assert exact == pytest.approx(math.exp(-0.03) * math.fsum(paid) * step / math.sqrt(2 * math.pi), abs=1e-4)
    assert 0 < error < 0.01
    assert abs(price - exact) < 4 * error


def test_a_sweep_finds_the_damping_that_theory_names(home: Path) -> None:
    told = printed(home, "sweep.py")
    assert "damping ratio 0.8, 0.8, 0.8, 0.8" in told
    (critical,) = re.findall(r"^ *1\.0 +([\d.]+) s", told, re.MULTILINE)
    assert (1 + float(critical)) * math.exp(-float(critical)) == pytest.approx(0.02, abs=2e-4)


def test_an_etl_sums_what_is_clean_and_names_the_lines_that_are_not(home: Path, tmp_path: Path) -> None:
    sales = tmp_path / "sales.csv"
    sales.write_text("region;pieces;price\n north;2;1,50\nNORTH;1;0.25\nsouth;x;1.00\nsouth;3;2\n;1;1\neast;1\n")
    done = run(home, "etl.py", sales)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "region,revenue\nNorth,3.25\nSouth,6\n"
    assert [int(line) for line in re.findall(r"line (\d+) left out: ValueError", done.stderr)] == [4, 6, 7]


def test_an_etl_of_made_up_rows_loses_none(home: Path) -> None:
    """The revenue is that of one loop over the same rows in one process."""
    done = run(home, "etl.py")
    assert done.returncode == 0, done.stderr
    revenue = {region: Decimal(sum_) for region, sum_ in re.findall(r"^(\w+),([\d.]+)$", done.stdout, re.MULTILINE)}
    expected = {"North": Decimal("36790.00"), "South": Decimal("37663.70"), "West": Decimal("36606.30")}
    assert revenue == expected
    assert [int(line) for line in re.findall(r"line (\d+) left out", done.stderr)] == list(range(501, 5_002, 500))


def test_a_search_finds_the_parameters_that_are_found_here_alone(home: Path) -> None:
    told = printed(home, "search.py")
    assert "best of 21: 9 neighbours, euclidean metric, accuracy 93.0%" in told
    assert told.endswith("\nthe same as here alone\n")


def test_an_executor_does_what_a_pool_of_processes_does(home: Path) -> None:
    told = printed(home, "executor.py").splitlines()
    assert [line.split(": ")[1] for line in told[:6]] == ["True", "True", "True", "True", "True", "False"]
    assert told[6] == "168 primes below 1,000"
    assert told[7].startswith("a bad call: TypeError: ")


def test_scikit_learn_gives_the_same_scores_as_alone(home: Path) -> None:
    told = printed(home, "sklearn_grid.py")
    assert told.startswith("best of 9: {'C': ")
    assert told.endswith("\nthe same as here alone\n")


def test_without_scikit_learn_the_example_says_what_it_needs(home: Path, tmp_path: Path) -> None:
    (tmp_path / "sklearn.py").write_text("raise ImportError\n")
    done = run(home, "sklearn_grid.py", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "This example needs scikit-learn: pip install scikit-learn\n"
