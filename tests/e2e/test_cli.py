"""The terminal against a real hub and a real agent: what each command prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import crowdgrid as cg
from crowdgrid.agent.trust import LABEL
from crowdgrid.cli import root
from crowdgrid.client import local as local_module
from crowdgrid.client.grid import Connection, Grid

PRIMES = str(cg.kernels.path("primes"))
ECHO = str(cg.kernels.path("echo"))
CROWDGRID = [sys.executable, "-m", "crowdgrid.cli"]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_module.LocalGrid]:
    folder = tmp_path_factory.mktemp("grid")
    started = local_module.LocalGrid(folder, temporary=False, agents=1, cpus=2)
    connection = Connection(started.address, alive=started.check)
    with Grid(connection) as grid:
        from crowdgrid.client import background

        background.run(connection.link.start(patience=30))
        assert grid.run(PRIMES, split=cg.Range(0, 10), reduce="sum").result(30) == 4
    yield started
    started.stop()


@pytest.fixture
def environ(
    processes: local_module.LocalGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> local_module.LocalGrid:
    """As a signed-in user, with a config folder of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("CROWDGRID_URL", processes.url)
    monkeypatch.setenv("CROWDGRID_TOKEN", processes.address.token)
    return processes


Ran = tuple[int, str, str]


@pytest.fixture
def crowdgrid(environ: local_module.LocalGrid, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command line in this process: (exit code, standard output, standard error)."""

    def run(*words: str) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            root.run(list(words))
        told = capfd.readouterr()
        assert "Traceback" not in told.err
        return int(ended.value.code or 0), told.out, told.err

    return run


def _json(ran: Ran) -> Any:
    assert ran[0] == 0, ran
    return json.loads(ran[1])


# --- run and jobs --------------------------------------------------------------------------------


def test_run_prints_the_answer_and_nothing_else(crowdgrid: Callable[..., Ran]) -> None:
    """It is made to be piped."""
    assert crowdgrid("run", PRIMES, "--range", "0:10**6", "--reduce", "sum") == (0, "78498\n", "")


def test_run_reads_lines_items_and_grids(crowdgrid: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    file.write_text("a\nb\n")
    assert crowdgrid("run", ECHO, "--lines", str(file)) == (0, "a\nb\n", "")
    assert _json(crowdgrid("run", ECHO, "--items", str(file), "--json")) == ["a", "b"]
    assert crowdgrid("run", ECHO, "--grid", "x=1,2", "--", "-v")[1] == "-v --x 1\n-v --x 2\n"


def test_counters_are_merged_by_the_name_the_help_gives(crowdgrid: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "counts.txt"
    file.write_text('{"a": 1}\n{"a": 2, "b": 1}\n')
    told = crowdgrid("run", ECHO, "--items", str(file), "--reduce", "merge-counters", "--json")
    assert _json(told) == {"a": 3, "b": 1}


def test_a_detached_job_is_found_followed_and_fetched(crowdgrid: Callable[..., Ran]) -> None:
    code, told, hint = crowdgrid("run", PRIMES, "--range", "0:1000", "--reduce", "sum", "--name", "d", "--detach")
    assert code == 0
    assert "crowdgrid jobs show d" in hint
    assert crowdgrid("jobs", "results", "d", "--wait", "30s") == (0, "168\n", "")
    shown = _json(crowdgrid("jobs", "show", "d", "--follow", "--json"))
    assert (shown["id"], shown["state"]) == (told.strip(), "final")
    assert "units" in crowdgrid("jobs", "show", "d")[1]
    assert "d" in [job["name"] for job in _json(crowdgrid("jobs", "ls", "--json"))["jobs"]]
    assert told.strip() in crowdgrid("jobs", "ls")[1]


def test_lists_say_that_there_is_more(crowdgrid: Callable[..., Ran]) -> None:
    """A silently cut list is a lie."""
    for name in ("m1", "m2"):
        crowdgrid("run", PRIMES, "--range", "0:10", "--reduce", "sum", "--name", name)
    code, _, err = crowdgrid("jobs", "ls", "--limit", "1")
    more = re.search(r"--before (\S+)", err)
    assert code == 0
    assert more
    assert crowdgrid("jobs", "ls", "--limit", "1", "--before", more[1])[0] == 0


def test_steering_is_heard(crowdgrid: Callable[..., Ran]) -> None:
    crowdgrid(
        "run", PRIMES, "--range", "0:10**14", "--reduce", "sum", "--name", "s", "--detach", "--label", "none such"
    )
    for verb, state in (("pause", True), ("resume", False)):
        assert crowdgrid("jobs", verb, "s")[0] == 0
        assert _json(crowdgrid("jobs", "show", "s", "--json"))["paused"] is state
    assert "none such" in crowdgrid("why", "s")[1]
    assert crowdgrid("jobs", "results", "s")[0] == 5
    assert crowdgrid("jobs", "cancel", "s")[0] == 0
    code, _, err = crowdgrid("jobs", "results", "s")
    assert code == 1
    assert "Cancelled" in err


def test_what_has_ended_is_not_shown_as_paused(crowdgrid: Callable[..., Ran]) -> None:
    words = ("--reduce", "sum", "--name", "ended", "--detach", "--label", "none such")
    crowdgrid("run", PRIMES, "--range", "0:10", *words)
    crowdgrid("jobs", "pause", "ended")
    assert re.search(r"^state +sealed, paused$", crowdgrid("jobs", "show", "ended")[1], re.MULTILINE)
    crowdgrid("jobs", "cancel", "ended")
    assert re.search(r"^state +cancelled$", crowdgrid("jobs", "show", "ended")[1], re.MULTILINE)


def test_what_went_wrong_is_in_the_logs(crowdgrid: Callable[..., Ran]) -> None:
    """primes without its range: exit code 2 and a line on stderr."""
    code, out, err = crowdgrid("run", PRIMES, "--grid", "x=1", "--name", "broken")
    assert (code, out) == (1, "")
    assert "exit" in err
    assert "usage: primes" in err, "the end of its standard error is where programs say what is wrong"
    assert "jobs logs broken" in err
    assert "exit" in crowdgrid("jobs", "logs", "broken")[1]
    assert crowdgrid("why", "broken")[1].startswith("It is final.\n  · Of its runs 1 failed")
    assert crowdgrid("jobs", "results", "broken", "--partial") == (0, "", "")
    assert _json(crowdgrid("jobs", "logs", "broken", "--json"))["errors"][0]["unit"] == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run", "/nowhere.wasm", "--range", "0:5"], 2, "no such file"),
        (["run", PRIMES, "--range", "5:0"], 2, "before it starts"),
        (["run", PRIMES], 2, "exactly one input"),
        (["run", PRIMES, "--lines", "/nowhere"], 2, "no such file"),
        (["run", PRIMES, "--range", "0:10**14", "--reduce", "sum", "--label", "x", "--wait", "100ms"], 5, "not ready"),
        (["jobs", "show", "never"], 2, "no job"),
        (["nodes", "show", "never"], 2, "no node"),
        (["why", "never"], 2, "never"),
        (["jobs", "ls", "--token", "cg_wrong"], 4, "does not know this token"),
        (["jobs", "ls", "--hub", "127.0.0.1:1"], 3, "nothing listens"),
        (["run", PRIMES, "--range", "0:5", "--hub", "127.0.0.1:1"], 3, "nothing listens"),
        (["jobs", "ls", "--hub", "ftp://x"], 2, "not the address"),
    ],
)
def test_every_way_to_fail_has_its_code_and_sentence(
    crowdgrid: Callable[..., Ran], words: list[str], code: int, says: str
) -> None:
    ended, _, err = crowdgrid(*words)
    assert (ended, says in err) == (code, True), err


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(
    environ: local_module.LocalGrid, crowdgrid: Callable[..., Ran]
) -> None:
    words = ["run", PRIMES, "--range", "0:10**14", "--reduce", "sum", "--name", "interrupted", "--label", "none"]
    with started([*CROWDGRID, *words], stderr=subprocess.PIPE, text=True) as running:
        _until(lambda: crowdgrid("jobs", "show", "interrupted")[0] == 0)
        running.send_signal(signal.SIGINT)
        err = running.communicate(timeout=30)[1]
    assert running.returncode == 130
    assert "crowdgrid jobs show interrupted" in err
    assert _json(crowdgrid("jobs", "show", "interrupted", "--json"))["state"] == "sealed"
    crowdgrid("jobs", "cancel", "interrupted")


@contextmanager
def started(words: list[str], **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its test, however that ends."""
    with subprocess.Popen(words, **how) as process:
        try:
            yield process
        finally:
            process.kill()


def _until(true: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


# --- nodes, tokens -------------------------------------------------------------------------------


def test_nodes_are_listed_shown_drained_and_explained(crowdgrid: Callable[..., Ran]) -> None:
    (node,) = _json(crowdgrid("nodes", "ls", "--json"))["nodes"]
    assert (node["name"], node["online"]) == ("local-1", True)
    assert "local-1" in crowdgrid("nodes", "ls")[1]
    letters = node["id"].removeprefix("did:key:z6Mk")[:8]
    for called in ("local-1", node["id"], letters):
        assert node["id"] in crowdgrid("nodes", "show", called)[1]
    assert crowdgrid("nodes", "drain", "local-1")[0] == 0
    assert "drain" in crowdgrid("why", "local-1")[1]
    assert crowdgrid("nodes", "activate", "local-1")[0] == 0
    assert _json(crowdgrid("nodes", "show", "local-1", "--json"))["state"] == "active"


def test_a_token_is_made_used_listed_and_revoked(crowdgrid: Callable[..., Ran]) -> None:
    made = _json(crowdgrid("token", "create", "--owner", "ada", "--name", "laptop", "--json"))
    secret, number = made["secret"], str(made["token"]["number"])
    assert _json(crowdgrid("token", "whoami", "--token", secret, "--json"))["owner"] == "ada"
    assert crowdgrid("nodes", "drain", "local-1", "--token", secret)[0] == 2  # what is not hers is not there
    listed = crowdgrid("token", "ls")[1]
    assert "laptop" in listed
    assert secret not in listed
    assert crowdgrid("token", "revoke", number)[0] == 0
    assert crowdgrid("token", "whoami", "--token", secret)[0] == 4


def test_a_login_is_checked_before_it_is_saved_and_found_afterwards(
    crowdgrid: Callable[..., Ran], environ: local_module.LocalGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROWDGRID_URL")
    monkeypatch.delenv("CROWDGRID_TOKEN")
    file = tmp_path / "crowdgrid" / "login.json"
    assert crowdgrid("token", "login", environ.url, "--token", "cg_wrong")[0] == 4
    assert not file.exists()
    assert crowdgrid("token", "login", environ.url, "--token", environ.address.token)[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert "admin" in crowdgrid("token", "whoami")[1]
    assert crowdgrid("token", "logout")[0] == 0
    assert not file.exists()


# --- machines ------------------------------------------------------------------------------------


def test_the_owner_sees_pauses_limits_and_resumes(
    crowdgrid: Callable[..., Ran], environ: local_module.LocalGrid
) -> None:
    data = ("--data", str(environ.folder / "agent-1"))
    status = _json(crowdgrid("agent", "status", "--json", *data))
    assert status["linked"] is True
    assert "local-1" in crowdgrid("agent", "status", *data)[1]
    assert _json(crowdgrid("agent", "limits", "--cpu-share", "50%", "--json", *data))["cpu_share"] == 0.5
    assert "50%" in crowdgrid("agent", "limits", *data)[1]
    assert crowdgrid("agent", "limits", "--cpu-share", "400%", *data)[0] == 2
    assert crowdgrid("agent", "pause", *data)[0] == 0
    _until(lambda: _json(crowdgrid("agent", "status", "--json", *data))["action"] == "finish_current")
    assert re.search(r"^because +Its owner paused it\b", crowdgrid("agent", "status", *data)[1], re.MULTILINE)
    assert crowdgrid("agent", "resume", *data)[0] == 0
    assert crowdgrid("agent", "limits", "--cpu-share", "100%", *data)[0] == 0
    _until(lambda: _json(crowdgrid("agent", "status", "--json", *data))["action"] == "run")


def test_where_no_agent_runs_that_is_said(crowdgrid: Callable[..., Ran], tmp_path: Path) -> None:
    code, _, err = crowdgrid("agent", "status", "--data", str(tmp_path))
    assert code == 3
    assert "No agent runs" in err


def test_an_invited_machine_joins_comes_back_as_it_was_and_leaves(
    crowdgrid: Callable[..., Ran], tmp_path: Path
) -> None:
    code, told, _ = crowdgrid("token", "invite")
    assert code == 0
    words = told.split()[1:]
    data = ("--data", str(tmp_path / "agent"))
    with started(
        [*CROWDGRID, *words, *data, "--name", "invited", "--label", "attic", "--cpus", "1", "--no-limits"],
        stderr=subprocess.PIPE,
        text=True,
    ) as agent:
        _until(lambda: "invited" in crowdgrid("nodes", "ls")[1])
        _ended(agent)
    with started([*CROWDGRID, "agent", "run", *data, "--no-limits"], stderr=subprocess.PIPE, text=True) as agent:
        _until(lambda: _json(crowdgrid("nodes", "show", "invited", "--json"))["online"])
        node = _json(crowdgrid("nodes", "show", "invited", "--json"))
        assert (node["milli_cpus"], node["labels"]) == (1000, ["attic", LABEL])  # as when joining
        assert (node["runtimes"], node["trusts"]) == (["wasm"], [])  # nobody's Python unless somebody is named
        assert crowdgrid("agent", "leave", *data)[0] == 0
        agent.communicate(timeout=30)
    assert agent.returncode == 0
    assert crowdgrid("agent", "run", *data)[0] == 2  # it has joined nothing any more


def _ended(agent: subprocess.Popen[str]) -> None:
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=30)


def test_an_invitation_is_used_once(crowdgrid: Callable[..., Ran], tmp_path: Path) -> None:
    """And whoever comes second is told so, instead of waiting for ever."""
    words = crowdgrid("token", "invite")[1].split()[1:]
    codes = []
    for name in ("guest-1", "guest-2"):
        with started(
            [*CROWDGRID, *words, "--data", str(tmp_path / name), "--name", name, "--with-parent", "--no-limits"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as agent:
            if name == "guest-1":
                _until(lambda: "guest-1" in crowdgrid("nodes", "ls")[1])
            err = agent.communicate(timeout=30)[1] if name == "guest-1" else _wait(agent)
            codes.append((agent.returncode, "used up" in err))
    assert codes == [(0, False), (4, True)]


def _wait(agent: subprocess.Popen[str]) -> str:
    agent.wait(timeout=30)
    assert agent.stderr is not None
    return agent.stderr.read()


def test_the_doctor_looks_at_the_machine_and_the_way_to_the_hub(crowdgrid: Callable[..., Ran]) -> None:
    found = {each["subject"]: each for each in _json(crowdgrid("doctor", "--json"))}
    wanted = {"software", "machine", "WASM programs", "Python programs", "data folder"}
    assert wanted | {"hub", "clock", "store", "login"} <= set(found)
    assert found["Python programs"]["text"].startswith("of Python 3.")
    assert found["login"]["text"] == "admin (admin)"
    told = crowdgrid("doctor", "--token", "cg_wrong")[1]
    assert re.search(r"^✗ login +The hub does not know this token\.$", told, re.MULTILINE)
    code, told, _ = crowdgrid("doctor", "--hub", "127.0.0.1:1")
    assert code == 1
    assert "nothing listens" in told


def test_up_is_a_whole_grid_until_ctrl_c(tmp_path: Path) -> None:
    """Hub, agent, saved login and an invitation; everything ends with it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
    environ |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "CROWDGRID_DATA": str(tmp_path / "data")}
    words = ["up", "--listen", f"127.0.0.1:{_free_port()}", "--cpus", "1"]
    with started([*CROWDGRID, *words], env=environ, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        told = "".join(iter(up.stdout.readline, "Ctrl-C ends it.\n"))
        assert re.search(r"crowdgrid join http://127\.0\.0\.1:\d+ cgi_", told)
        answer = subprocess.run(
            [*CROWDGRID, "run", PRIMES, "--range", "0:1000", "--reduce", "sum", "--wait", "60"],
            env=environ, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert (answer.returncode, answer.stdout) == (0, "168\n"), answer.stderr
        again = subprocess.run([*CROWDGRID, *words], env=environ, capture_output=True, text=True, timeout=60)
        assert (again.returncode, again.stdout) == (3, "")
        assert "Does a hub run here already?" in again.stderr
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=30)
    assert up.returncode == 0


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
