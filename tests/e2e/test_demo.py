"""The demonstration: real processes, really killed, and a verdict that can be trusted."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from crowdgrid.cli.demo import cheating, primes, report, search, trees
from crowdgrid.cli.demo.kill import Kill
from crowdgrid.client.splits import Range

ROOT = Path(__file__).parents[2]
SECONDS = 240  # for the busiest of machines


@pytest.mark.timeout(2 * SECONDS)
def test_a_small_demonstration_is_right_from_beginning_to_end() -> None:
    """The same command as `make demo`, with less to do: an agent, the hub and a worker are killed, and one cheats."""
    words = ["demo", "--json", "--search-window", "1000000", "--below", str(10**9), "--files", "150"]
    done = subprocess.run(
        [sys.executable, "-m", "crowdgrid.cli", *words], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["right"]
    assert [found["found"] for found in told["searches"]] == [block.nonce for block in search.blocks()]
    assert told["count"]["answer"] == 50_847_534
    assert [kill["what"] for kill in told["count"]["kills"]] == ["agent-2", "hub"]
    assert all(kill["held"] > 0 for kill in told["count"]["kills"]), "a kill that hits no work shows nothing"
    assert sum(told["count"]["by_node"].values()) == told["count"]["tasks"]
    assert told["trees"]["files"] == 150
    assert told["trees"]["nodes"] == told["trees"]["expected"] > 100_000
    assert not told["trees"]["differing"]
    assert [kill["what"].rpartition("-")[0] for kill in told["trees"]["kills"]] == ["a worker of agent"]
    assert told["trees"]["begun"] == 2, "the file whose worker was killed is begun once more, and only once"
    assert sum(told["trees"]["by_node"].values()) == told["trees"]["tasks"]
    cheated = told["cheated"]
    assert cheated["right"]
    assert set(cheated["answers"]) == {664_579}
    assert cheated["standing"] == 0
    assert min(cheated["tried"].values()) > 0
    assert cheated["trust"][2] < cheated["trust"][1]


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
    kills = [Kill("agent-2", 0.25, 5, 1.0), Kill("hub", 0.5, 5, seconds)]
    return primes.Count(10**6, answer, 78_498, 10, 1.0, {"a": 9, "b": 1}, kills)


SAID = {deed: dict.fromkeys(sorted(verdicts)[:1], 3) for deed, (_, verdicts) in cheating.TRIED.items()}
CHEATED = cheating.Cheated(
    9, [9, 9], dict.fromkeys(cheating.TRIED, 3), SAID, 0, (1.0, 2.0, 1.0), 2, 5, 1.0, {"a": 1, "b": 1}
)
RIGHT = trees.Trees(3, 900, 900, [], 2, 1.0, 2.0, {"a": 2}, [Kill("a worker of a", 0.4, 1, 0.3)], 2)


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
    made = report.Report([_search(found)], _count(answer, seconds), RIGHT, CHEATED, 10.0)
    assert made.right is right
    made.show()
    assert ("SOMETHING IS WRONG" in capfd.readouterr().out) is not right


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": None},
        {"nodes": 899},
        {"differing": ["Name"]},
        {"begun": 1},
        {"kills": []},
        {"kills": [Kill("a worker of a", 0.4, 1)]},
        {"kills": [Kill("a worker of a", 0.4, 1, 15.1)]},
    ],
    ids=str,
)
def test_anything_wrong_with_the_syntax_trees_is_wrong(
    wrong: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    """No answer, another sum, another kind of node, a kill that hit nothing, a call that was never made good."""
    count = _count(78_498, 1.0)
    made = report.Report([], count, dataclasses.replace(RIGHT, **wrong), CHEATED, 10.0)  # type: ignore[arg-type]
    assert report.Report([], count, RIGHT, CHEATED, 10.0).right
    assert not made.right
    made.show()
    assert "SOMETHING IS WRONG" in capfd.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"answers": []},
        {"answers": [9, 8]},
        {"answers": [None]},
        {"tried": dict.fromkeys(cheating.TRIED, 3) | {"steal": 0}},
        {"said": SAID | {"steal": {"not_yours": 2, "counted": 1}}},
        {"said": SAID | {"contradict": {"counted": 3}}},
        {"said": SAID | {"forge": {}}},
        {"standing": 1},
        {"trust": (1.0, 2.0, 2.0)},
    ],
    ids=str,
)
def test_cheating_that_comes_to_anything_is_wrong(wrong: dict[str, object], capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong answer or none, something not tried or not answered, a theft that counts, a lie that stands, no loss."""
    made = report.Report([], _count(78_498, 1.0), RIGHT, dataclasses.replace(CHEATED, **wrong), 10.0)  # type: ignore[arg-type]
    assert not made.right
    made.show()
    assert "SOMETHING IS WRONG" in capfd.readouterr().out


def test_the_ledger_tells_which_worker_is_in_the_midst_of_which_file(tmp_path: Path) -> None:
    """A line that is being written is read when it is whole; what was begun again counts twice."""
    ledger = trees.Ledger(tmp_path / "ledger")
    ledger.read()
    assert ledger.under_way == {}
    with ledger.path.open("a") as book:
        book.write("7 begins 0\n8 begins 1\n7 ends 0\n7 begins 2\n9 begins 1\n9 ends 1\n7 en")
        book.flush()
        ledger.read()
        assert ledger.under_way == {7: 2, 8: 1}
        assert ledger.begun == {0: 1, 1: 2, 2: 1}
        assert ledger.ended == {0, 1}
        book.write("ds 2\n")
    ledger.read()
    assert ledger.under_way == {8: 1}
    assert ledger.ended == {0, 1, 2}


def test_what_runs_on_the_grid_counts_what_is_counted_here(tmp_path: Path) -> None:
    ledger = trees.Ledger(tmp_path / "ledger")
    source = b"x = 1\nfor y in x: print(y)\n"
    assert trees.noted(3, source, str(ledger.path)) == trees.node_kinds(source)
    assert trees.node_kinds(source)["Name"] == 5
    ledger.read()
    assert (ledger.begun, ledger.ended, ledger.under_way) == ({3: 1}, {3}, {})
