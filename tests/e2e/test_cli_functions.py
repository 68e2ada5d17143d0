"""Python functions from the terminal, against a real hub and a real agent: what is printed, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from crowdgrid.cli import root
from crowdgrid.client import background
from crowdgrid.client import local as local_module
from crowdgrid.client.grid import Connection, Grid
from crowdgrid.client.login import Login, save
from tests.e2e.grid import until

CROWDGRID = [sys.executable, "-m", "crowdgrid.cli"]
PROGRAM = '''
import pathlib, time
import crowdgrid

@crowdgrid.function(timeout=5, memory="300MB")
def square(x, bias=0):
    return x * x + bias

def picky(x):
    print("looking at", x)
    if x % 10 == 7:
        raise ValueError(f"I do not like {x}")
    return x

def mended(x, file):
    """Fails as long as there is no such file."""
    return pathlib.Path(file).read_text() if x == 2 else str(x)

def awaits(x, file):
    """Ends once there is such a file."""
    while not pathlib.Path(file).exists():
        time.sleep(0.01)
    return x

def large(x):
    return 10 ** 5000 if x == 1 else x

class Point:
    def __init__(self, x):
        self.x = x

def norm(x):
    return Point(x).x

if __name__ == "__main__":
    raise SystemExit("not to be run")
'''


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_module.LocalGrid]:
    started = local_module.LocalGrid(tmp_path_factory.mktemp("grid"), temporary=False, agents=1, cpus=2)
    connection = Connection(started.address, alive=started.check)
    with Grid(connection) as grid:
        background.run(connection.link.start(patience=30))
        assert grid.submit(abs, -4).result(60) == 4
    yield started
    started.stop()


@pytest.fixture
def folder(processes: local_module.LocalGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program, of somebody who is signed in."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CROWDGRID_URL", processes.url)
    monkeypatch.setenv("CROWDGRID_TOKEN", processes.address.token)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes.py").write_text(PROGRAM)
    (tmp_path / "numbers.jsonl").write_text("".join(f"{n}\n" for n in range(20)))
    return tmp_path


Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def crowdgrid(folder: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command line in this process: (exit code, standard output, standard error)."""

    def run(*words: str) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            root.run(list(words))
        told = capfd.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    yield run
    sys.modules.pop("shapes", None)


def _json(ran: Ran) -> Any:
    assert ran[0] == 0, ran
    return json.loads(ran[1])


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def started(*words: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A command that does not outlive its test, however that ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how
    with subprocess.Popen([*CROWDGRID, *words], **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


# --- in and out ----------------------------------------------------------------------------------


def test_a_map_prints_a_line_for_each_call_and_nothing_else(crowdgrid: Run) -> None:
    """It is made to be piped."""
    assert crowdgrid("map", "shapes.py:square", "--range", "0:5") == (0, "0\n1\n4\n9\n16\n", "")
    assert crowdgrid("map", "shapes:square", "--in", "numbers.jsonl", "--set", "bias=1")[1].splitlines()[:3] == [
        "1",
        "2",
        "5",
    ]


def test_lines_are_arguments_as_asked(crowdgrid: Run, folder: Path) -> None:
    file = folder / "in.jsonl"
    file.write_text('{"x": 3, "bias": 1}\n{"bias": 2, "x": 4}\n')
    for words in (["--kwargs"], ["--field", "x", "--field", "bias"]):
        assert crowdgrid("map", "shapes.py:square", "--in", str(file), *words) == (0, "10\n18\n", "")
    file.write_text("[3, 1]\n[4]\n")
    assert crowdgrid("map", "shapes.py:square", "--in", str(file), "--star") == (0, "10\n16\n", "")
    file.write_text("ab\n\nc\n")
    assert crowdgrid("map", "builtins:len", "--lines", str(file)) == (0, "2\n0\n1\n", "")


def test_results_go_to_a_file_or_come_as_they_are_done(crowdgrid: Run, folder: Path) -> None:
    assert crowdgrid("map", "shapes.py:square", "--range", "0:3", "--out", "out.jsonl") == (0, "", "")
    assert (folder / "out.jsonl").read_text() == "0\n1\n4\n"
    code, told, _ = crowdgrid("map", "shapes.py:square", "--range", "0:50", "--unordered")
    found = _lines(told)
    assert code == 0
    assert sorted(each["index"] for each in found) == list(range(50))
    assert all(each["value"] == each["index"] ** 2 for each in found)


def test_nothing_in_is_nothing_out(crowdgrid: Run) -> None:
    assert crowdgrid("map", "shapes.py:square", "--range", "5:5") == (0, "", "")


def test_a_pipe_may_go_on_for_ever(folder: Path) -> None:
    """Each line is answered while the next one is not there yet."""
    with started("map", "shapes.py:square", "--in", "-") as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for number in range(3):
            running.stdin.write(f"{number}\n")
            running.stdin.flush()
            assert json.loads(running.stdout.readline()) == number**2
        out, err = running.communicate("7\n8\n", timeout=60)
        assert (running.returncode, out, err) == (0, "49\n64\n", "")


def test_whoever_has_seen_enough_ends_it(folder: Path, crowdgrid: Run) -> None:
    """`| head`: a source without end is read no further than its results are taken, and the job is cancelled."""
    source, sink = os.pipe()
    written = 0

    def endless() -> None:
        nonlocal written
        try:
            while True:
                written += os.write(sink, b"1\n" * 1000) // 2
        except BrokenPipeError:
            os.close(sink)

    with started("map", "shapes.py:square", "--in", "-", "--set", "bias=99", stdin=source) as running:
        os.close(source)
        writer = threading.Thread(target=endless)
        writer.start()
        assert running.stdout is not None
        assert [running.stdout.readline() for _ in range(3)] == ["100\n"] * 3
        running.stdout.close()
        assert running.wait(60) == 0
        writer.join(60)
        assert running.stderr is not None
        assert running.stderr.read() == ""
    assert written < 1_000_000
    assert _json(crowdgrid("jobs", "ls", "--limit", "1", "--json"))["jobs"][0]["state"] == "cancelled"


def test_a_full_disk_is_said(folder: Path) -> None:
    with started("map", "shapes.py:square", "--range", "0:3", "--out", "/dev/full") as running:
        assert "cannot be written: no space left" in running.communicate(timeout=60)[1]
    assert running.returncode == 1


# --- what fails ----------------------------------------------------------------------------------


def test_failed_calls_are_told_and_the_others_go_on(crowdgrid: Run) -> None:
    code, out, err = crowdgrid("map", "shapes.py:picky", "--in", "numbers.jsonl")
    assert code == 1
    assert _lines(out) == [n for n in range(20) if n % 10 != 7]
    assert "Call 7 failed: ValueError: I do not like 7\n" in err
    assert 'raise ValueError(f"I do not like {x}")' in err
    assert "looking at 7" in err
    assert "Error: 2 of 20 calls failed." in err
    assert crowdgrid("map", "shapes.py:picky", "--in", "numbers.jsonl", "--partial")[0] == 0


def test_failed_calls_can_stand_in_their_place_or_elsewhere(crowdgrid: Run, folder: Path) -> None:
    _, out, _ = crowdgrid("map", "shapes.py:picky", "--in", "numbers.jsonl", "--keep-errors")
    found = _lines(out)
    assert len(found) == 20
    assert (found[17]["index"], found[17]["type"]) == (17, "ValueError")
    assert found[17]["error"] == "ValueError: I do not like 17"
    assert "picky" in found[17]["traceback"]
    _, out, err = crowdgrid("map", "shapes.py:picky", "--in", "numbers.jsonl", "--errors-to", "failed.jsonl")
    assert len(_lines(out)) == 18
    assert _lines((folder / "failed.jsonl").read_text()) == [found[7], found[17]]
    assert "Call 7" not in err


def test_many_failed_calls_stop_it(crowdgrid: Run) -> None:
    code, _, err = crowdgrid("map", "shapes.py:picky", "--range", "0:100000", "--max-errors", "4")
    assert code == 1
    assert "The map ended early: The program made 4 errors" in err
    assert "counted only" in err


def test_a_value_that_json_cannot_say_is_named(crowdgrid: Run) -> None:
    code, out, err = crowdgrid("map", "shapes.py:large", "--range", "0:3")
    assert (code, out) == (1, "0\n2\n")
    assert "The value of call 1 cannot be written as JSON" in err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["shapes.py:nothing", "--range", "0:5"], 2, "It has square, awaits"),
        (["nowhere.py:f", "--range", "0:5"], 2, "is not there"),
        (["shapes.py:square"], 2, "exactly one input"),
        (["shapes.py:square", "--range", "0:5", "--lines", "-"], 2, "exactly one input"),
        (["shapes.py:square", "--range", "0:5", "--star"], 2, "without --in"),
        (["shapes.py:square", "--in", "numbers.jsonl", "--star", "--kwargs"], 2, "together"),
        (["shapes.py:square", "--in", "nowhere.jsonl"], 2, "no such file"),
        (["shapes.py:square", "--in", "shapes.py"], 2, "Line 2 of shapes.py is no JSON"),
        (["shapes.py:square", "--in", "numbers.jsonl", "--star"], 2, "Line 1 of numbers.jsonl is no list"),
        (["shapes.py:square", "--in", "numbers.jsonl", "--set", "bais=3"], 2, "square(x, bias=0) cannot be called"),
        (["shapes.py:square", "--in", "numbers.jsonl", "--out", "numbers.jsonl"], 2, "is the input"),
        (["shapes.py:square", "--in", "numbers.jsonl", "--out", "nowhere/x"], 2, "cannot be written"),
        (["shapes.py:square", "--range", "0:5", "--timeout", "soon"], 2, "no duration"),
        (["shapes.py:square", "--range", "0:5", "--codec", "pickle"], 2, "not one of your own"),
        (["shapes.py:square", "--range", "0:5", "--hub", "127.0.0.1:1"], 3, "nothing listens"),
        (["shapes.py:square", "--range", "0:5", "--local", "--detach"], 2, "goes with none of"),
    ],
)
def test_every_way_to_fail_has_its_code_and_sentence(crowdgrid: Run, words: list[str], code: int, says: str) -> None:
    ended, out, err = crowdgrid("map", *words)
    assert (ended, out, says in err) == (code, "", True), err


def test_a_line_in_the_middle_that_is_no_json_ends_it_by_its_number(crowdgrid: Run, folder: Path) -> None:
    with (folder / "numbers.jsonl").open("a") as file:
        file.write("oh\n")
    code, _, err = crowdgrid("map", "shapes.py:square", "--in", "numbers.jsonl")
    assert code == 2
    assert "Line 21 of numbers.jsonl is no JSON" in err
    assert _json(crowdgrid("jobs", "ls", "--limit", "1", "--json"))["jobs"][0]["state"] == "cancelled"


# --- jobs ----------------------------------------------------------------------------------------


def test_options_are_the_functions_unless_the_line_says_otherwise(crowdgrid: Run) -> None:
    crowdgrid("map", "shapes.py:square", "--range", "0:2", "--name", "options", "--timeout", "7", "--priority", "3")
    spec = _json(crowdgrid("jobs", "show", "options", "--json"))["spec"]
    assert (spec["timeout_ms"], spec["memory_bytes"], spec["priority"]) == (7_000, 300_000_000, 3)
    told = crowdgrid("jobs", "show", "options")[1]
    assert "function  square" in told
    assert "runtime   python" in told


def test_a_detached_map_is_found_and_fetched(crowdgrid: Run) -> None:
    code, told, hint = crowdgrid("map", "shapes.py:square", "--range", "0:4", "--name", "later", "--detach")
    assert code == 0
    assert "crowdgrid jobs results later --wait" in hint
    assert crowdgrid("jobs", "results", "later", "--wait", "60s") == (0, "0\n1\n4\n9\n", "")
    assert _json(crowdgrid("jobs", "results", told.strip(), "--json")) == [0, 1, 4, 9]


def test_what_failed_can_be_seen_mended_and_run_again(crowdgrid: Run, folder: Path) -> None:
    words = ["--range", "0:4", "--set", f"file={folder / 'later.txt'}", "--piece", "1"]
    code, _, err = crowdgrid("map", "shapes.py:mended", *words, "--name", "mended")
    assert code == 1
    assert "crowdgrid jobs retry mended" in err
    code, out, err = crowdgrid("jobs", "results", "mended")
    assert (code, out) == (1, '"0"\n"1"\n"3"\n')
    assert "1 of 4 calls failed" in err
    assert "FileNotFoundError" in crowdgrid("jobs", "logs", "mended", "--errors")[1]
    (folder / "later.txt").write_text("two")
    assert crowdgrid("jobs", "retry", "mended")[1] == "Retrying mended: 1 error.\n"
    assert crowdgrid("jobs", "results", "mended", "--wait")[1] == '"0"\n"1"\n"two"\n"3"\n'
    assert crowdgrid("jobs", "retry", "mended")[1] == "Nothing of mended failed.\n"
    assert crowdgrid("jobs", "cancel", "mended")[1] == "mended had ended before: it is final.\n"
    code, out, err = crowdgrid("jobs", "resume", "mended")
    assert (code, out) == (2, "")
    assert "The job 'mended' has ended: it is final" in err
    assert "crowdgrid jobs retry" in err


def test_logs_are_what_was_printed_and_what_was_raised(crowdgrid: Run) -> None:
    crowdgrid("map", "shapes.py:picky", "--range", "0:20", "--piece", "1", "--name", "logs")
    told = crowdgrid("jobs", "logs", "logs", "--limit", "100")[1]
    assert "    looking at 3\n" in told
    assert told.index("looking at 16") < told.index("ValueError: I do not like 17") < told.index("looking at 18")
    page = _json(crowdgrid("jobs", "logs", "logs", "--json", "--limit", "100"))
    assert [error["unit"] for error in page["errors"]] == [7, 17]
    assert len(page["logs"]) == 20
    code, told, more = crowdgrid("jobs", "logs", "logs", "--limit", "8")
    assert (code, "looking at 8" in told) == (0, False)
    after = more.split()[-1]
    assert crowdgrid("jobs", "logs", "logs", "--limit", "8", "--after", after)[1].startswith("task 8, unit 8 ")
    assert crowdgrid("jobs", "logs", "logs", "--follow")[1].count("looking at") == 20


def test_logs_tell_task_and_place_in_the_input_apart(crowdgrid: Run) -> None:
    """Of a task of several calls one's output is kept, so its header names them all, and each error its own."""
    crowdgrid("map", "shapes.py:picky", "--range", "0:20", "--piece", "10", "--name", "tens")
    told = crowdgrid("jobs", "logs", "tens")[1]
    assert re.findall(r"^(task .*?) on node .*?( printed:|: ValueError)", told, re.MULTILINE) == [
        ("task 0, units 0 to 9", " printed:"),
        ("task 0, unit 7", ": ValueError"),
        ("task 1, units 10 to 19", " printed:"),
        ("task 1, unit 17", ": ValueError"),
    ]
    assert told.count("looking at") == 2
    assert told.index("looking at 7") < told.index("looking at 17")


def test_logs_are_followed_to_the_end(folder: Path, crowdgrid: Run) -> None:
    words = ["--range", "0:2", "--set", f"file={folder / 'go'}", "--name", "followed", "--detach"]
    crowdgrid("map", "shapes.py:awaits", *words)
    with started("jobs", "logs", "followed", "--follow") as running:
        (folder / "go").touch()
        assert running.communicate(timeout=60) == ("", "")
    assert running.returncode == 0


# --- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["map", "shapes.py:square", "--in", "-"], ["run", "echo", "--items", "-"]])
def test_ctrl_c_while_a_pipe_is_read_ends_at_once(folder: Path, words: list[str]) -> None:
    """A thread waits for the next line then; Python must not wait for it."""
    with started(*words) as running:
        assert running.stdin is not None
        running.stdin.write("1\n")
        running.stdin.flush()
        if words[0] == "map":
            assert running.stdout is not None
            assert running.stdout.readline() == "1\n"
        else:
            until(lambda: _connected(running.pid), "it has a link")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Fatal" not in err


def _connected(pid: int) -> bool:
    return len(psutil.Process(pid).net_connections()) > 0


@pytest.mark.parametrize("named", [False, True])
def test_ctrl_c_cancels_a_map_unless_it_can_be_found_again(folder: Path, crowdgrid: Run, named: bool) -> None:
    name = ["--name", "interrupted"] if named else []
    words = ["shapes.py:awaits", "--range", "0:3", "--set", f"file={folder / 'go'}", *name]
    before = _json(crowdgrid("jobs", "ls", "--limit", "1", "--json"))["jobs"][0]["id"]

    def newest() -> dict[str, Any]:
        found: dict[str, Any] = _json(crowdgrid("jobs", "ls", "--limit", "1", "--json"))["jobs"][0]
        return found

    with started("map", *words) as running:
        until(lambda: newest()["id"] != before and newest()["counts"]["in_progress"], "the map runs")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert newest()["state"] == ("sealed" if named else "cancelled")
    assert ("crowdgrid jobs results interrupted --wait" in err) is named
    assert "Task was destroyed" not in err
    (folder / "go").touch()
    if named:
        assert crowdgrid("jobs", "results", "interrupted", "--wait", "60s") == (0, "0\n1\n2\n", ""), newest()


# --- pickles -------------------------------------------------------------------------------------


def test_pickles_are_opened_only_from_machines_of_ones_own(
    crowdgrid: Run, processes: local_module.LocalGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saved login says that this hub is the user's own; without it the same results stay closed."""
    save(Login(processes.url, processes.address.token, own=True))
    words = ["map", "shapes.py:norm", "--range", "0:3", "--codec", "pickle", "--name", "pickles"]
    assert crowdgrid(*words)[:2] == (0, "0\n1\n2\n")
    assert crowdgrid("jobs", "results", "pickles")[:2] == (0, "0\n1\n2\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", "nowhere")
    code, out, err = crowdgrid("jobs", "results", "pickles")
    assert (code, out) == (4, "")
    assert "pickles" in err
    assert "not one of your own" in err
    (node,) = _json(crowdgrid("nodes", "ls", "--json"))["nodes"]
    assert crowdgrid("jobs", "results", "pickles", "--trust", node["id"])[:2] == (0, "0\n1\n2\n")


# --- a person looks ------------------------------------------------------------------------------


def test_on_a_terminal_there_is_a_bar_and_the_results_stay_clean(folder: Path) -> None:
    there, here = pty.openpty()
    words = ["shapes.py:awaits", "--range", "0:3", "--set", f"file={folder / 'go'}"]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with started("map", *words, stderr=here, env=environ) as running:
        os.close(here)
        screen = b""
        while b"running" not in screen:
            screen += os.read(there, 4096)
        (folder / "go").touch()
        try:
            while piece := os.read(there, 4096):
                screen += piece
        except OSError:  # the other end of a terminal is gone
            pass
        os.close(there)
        assert running.communicate(timeout=60)[0] == "0\n1\n2\n"
    assert running.returncode == 0
    assert "awaits" in screen.decode()
    assert "3 of 3" in screen.decode()
