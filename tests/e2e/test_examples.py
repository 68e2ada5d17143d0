"""The examples run as they stand, on this machine's own grid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTS = {
    "primes": "50,847,534 primes",
    "nonces": "nonce 2,083,236,893 ",
    "pi": "785,403,013 of 1,000,000,000",
    "sweep": "model --rate 1.0 --depth 4",
    "words": "lines went out and came back",
}


def test_every_example_is_run_here_and_named_in_the_readme() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")} - {"where"}
    readme = (EXAMPLES / "README.md").read_text()
    assert found == set(PRINTS)
    assert all(f"`{name}.py`" in readme for name in found)


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_it_promises(name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, timeout=100, cwd=EXAMPLES
    )
    assert done.returncode == 0, done.stderr
    assert PRINTS[name] in done.stdout
