"""The demonstration: real processes, really killed, and a verdict that can be trusted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crowdgrid.cli.demo import primes, report, search
from crowdgrid.client.splits import Range

ROOT = Path(__file__).parents[2]


def test_a_small_demonstration_is_right_from_beginning_to_end() -> None:
    """The same command as `make demo`, with smaller windows: an agent and the hub are killed on the way."""
    words = ["demo", "--json", "--search-window", "1000000", "--below", str(10**9)]
    done = subprocess.run([sys.executable, "-m", "crowdgrid.cli", *words], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["right"]
    assert [found["found"] for found in told["searches"]] == [block.nonce for block in search.blocks()]
    assert told["count"]["answer"] == 50_847_534
    assert [kill["what"] for kill in told["count"]["kills"]] == ["agent-2", "hub"]
    assert all(kill["held"] > 0 for kill in told["count"]["kills"]), "a kill that hits no work shows nothing"
    assert sum(told["count"]["by_node"].values()) == told["count"]["tasks"]


def test_the_blocks_in_the_package_are_those_of_the_examples() -> None:
    """One of the two copies may not be changed alone."""
    assert (ROOT / "src/crowdgrid/cli/demo/bitcoin_headers.json").read_bytes() == (
        ROOT / "examples/data/bitcoin_headers.json"
    ).read_bytes()


@pytest.mark.parametrize("block", search.blocks(), ids=lambda block: str(block.height))
def test_known_nonces_make_known_hashes(block: search.Block) -> None:
    """What the demonstration compares with is itself computed from the header."""
    assert search.hash_of(block.header, block.nonce) == block.hash
    window = search.window_of(block.nonce, 10**8)
    assert window.start <= block.nonce < window.stop
    assert window.start % 10**8 == 0, "the window must not be laid around the winner"


def _search(found: int | None) -> search.Search:
    block = search.blocks()[0]
    made = search.hash_of(block.header, found) if found is not None else ""
    return search.Search(block, Range(0, 1), found, made, 1, {"a": 1}, 1.0, 0.0)


def _count(answer: int, seconds: float) -> primes.Count:
    kills = [primes.Kill("agent-2", 0.25, 5, 1.0), primes.Kill("hub", 0.5, 5, seconds)]
    return primes.Count(10**6, answer, 78_498, 10, 1.0, {"a": 9, "b": 1}, kills)


@pytest.mark.parametrize(
    ("found", "answer", "seconds", "right"),
    [
        (2_083_236_893, 78_498, 14.9, True),
        (2_083_236_894, 78_498, 14.9, False),
        (None, 78_498, 14.9, False),
        (2_083_236_893, 78_497, 14.9, False),
        (2_083_236_893, 78_498, 15.1, False),
        (2_083_236_893, 78_498, -1.0, False),
    ],
)
def test_anything_wrong_is_wrong(
    found: int | None, answer: int, seconds: float, right: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong or missing nonce, a wrong count, a recovery that took too long or never came."""
    made = report.Report([_search(found)], _count(answer, seconds), 10.0)
    assert made.right is right
    made.show()
    assert ("SOMETHING IS WRONG" in capfd.readouterr().out) is not right
