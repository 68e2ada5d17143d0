"""Signing in, and a grid of one's own: what `login` and `up` save, and whose Python `up` lets in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crowdgrid.cli import endings
from tests.e2e.grid import COMMAND, SECONDS, TOKEN, Grid, free_port


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(tmp_path_factory.mktemp("grid")) as found:
        found.start_hub()
        yield found


class User:
    """Somebody with a folder for settings and one for data, and no word of crowdgrid in the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config" / "crowdgrid" / "login.json"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
        self.environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "CROWDGRID_DATA": str(folder / "data")}

    def run(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, *words], env=self.environ, input=said, capture_output=True, text=True, timeout=SECONDS
        )
        assert "Traceback" not in done.stderr
        return done

    @property
    def login(self) -> Any:
        return json.loads(self.file.read_text()) if self.file.exists() else None

    @contextmanager
    def up(self, *words: str) -> Iterator[str]:
        """`crowdgrid up` until the end of the block: what it printed until it was ready."""
        command = [str(COMMAND), "up", "--cpus", "1", *words]
        with subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=SECONDS)
                assert process.returncode == 0
            finally:
                process.kill()


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


# --- login -------------------------------------------------------------------------------------------


def test_a_token_is_read_checked_and_saved_for_this_user_only(grid: Grid, user: User) -> None:
    done = user.run("login", grid.url, said=f"{TOKEN}\n")
    assert (done.returncode, done.stdout.startswith(f"Signed in to {grid.url} as admin (admin)")) == (0, True)
    assert user.login == {"url": grid.url, "token": TOKEN, "own": False}
    assert user.file.stat().st_mode & 0o777 == 0o600
    assert "admin" in user.run("token", "whoami").stdout
    assert TOKEN not in done.stdout + done.stderr


def test_a_token_comes_from_a_file_and_the_hub_from_before(grid: Grid, user: User, tmp_path: Path) -> None:
    file = tmp_path / "token.txt"
    file.write_text(f"\n  {TOKEN}\n")
    assert user.run("login", grid.url, "--token-file", str(file)).returncode == 0
    assert user.run("login", "--forget").returncode == 0
    assert not user.file.exists()
    assert user.run("login", grid.url, "--token-file", "-", said=TOKEN).returncode == 0
    assert user.run("login", "--token-file", str(file)).returncode == 0, "the hub signed in to before"
    assert user.login["url"] == grid.url


@pytest.mark.parametrize(
    ("said", "code", "sentence"),
    [
        ("cg_wrong\n", endings.NOT_ALLOWED, "does not know this token"),
        ("\n", endings.USAGE, "That is no token."),
        ("", endings.USAGE, "That is no token."),
        ("two words\n", endings.USAGE, "That is no token."),
        ("cg_\x1b[2J\n", endings.USAGE, "That is no token."),
    ],
)
def test_what_does_not_open_the_hub_is_not_saved(grid: Grid, user: User, said: str, code: int, sentence: str) -> None:
    done = user.run("login", grid.url, said=said)
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert user.login is None


def test_a_file_that_cannot_be_read_and_words_that_do_not_fit_are_said(grid: Grid, user: User, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    for file, why in (("nowhere", "No such file"), (str(tmp_path / "noise"), "it is not text")):
        done = user.run("login", grid.url, "--token-file", file)
        assert (done.returncode, why in done.stderr) == (endings.USAGE, True)
    assert user.run("login", grid.url, "--forget").returncode == endings.USAGE
    assert user.run("login", "http://127.0.0.1:1", said=TOKEN).returncode == endings.NO_HUB
    assert user.login is None


def test_signing_out_forgets_and_may_be_done_twice(grid: Grid, user: User) -> None:
    user.run("login", grid.url, said=TOKEN)
    assert "Signed out" in user.run("login", "--forget").stdout
    assert "No login is saved" in user.run("login", "--forget").stdout
    assert user.login is None


def test_the_names_of_before_still_work(grid: Grid, user: User) -> None:
    assert user.run("token", "login", grid.url, said=TOKEN).returncode == 0
    assert user.login["token"] == TOKEN
    assert user.run("token", "logout").returncode == 0
    assert user.login is None


# --- up ----------------------------------------------------------------------------------------------


def test_a_grid_of_ones_own_is_found_without_a_word_and_runs_ones_own_python(user: User) -> None:
    """`connect()` needs no arguments after `crowdgrid up`, the login is marked as this user's own hub, and stays so
    when the same token is given again."""
    url = f"http://127.0.0.1:{free_port()}"
    with user.up("--listen", url.removeprefix("http://")) as told:
        assert "Python of its own owner" in told
        assert user.login["own"] is True
        program = (
            "import time, crowdgrid as cg\nwith cg.connect() as grid:\n    while not grid.nodes():\n        time.sleep(0.05)\n"
            "    (node,) = grid.nodes()\n    print(node['trusts'])"
        )  # the agent is online a moment after `up` has said where the hub is
        done = subprocess.run(
            [COMMAND.with_name("python"), "-c", program], env=user.environ, capture_output=True, text=True
        )
        assert done.stdout == "['own']\n", done.stderr
        assert user.run("login", said=user.login["token"]).returncode == 0
        assert user.login["own"] is True
        assert "Outside any sandbox it runs Python of its own owner" in user.run("agent", "status").stdout
        assert "nobody's" in user.run("agent", "python", "nobody").stdout
        (finding,) = [
            each for each in json.loads(user.run("doctor", "--json").stdout) if "Python prog" in each["subject"]
        ]
        assert "It runs nobody's Python." in finding["text"]
    with user.up("--listen", url.removeprefix("http://")) as told:
        assert "It runs nobody's Python." in told, "what the owner said last holds"
        assert json.loads(user.run("nodes", "ls", "--json").stdout)["nodes"][0]["trusts"] == []
    with user.up("--listen", url.removeprefix("http://"), "--python", "own", "--python", "alice") as told:
        assert "its own owner, alice" in told


def test_who_is_signed_in_elsewhere_stays_so_unless_he_says_otherwise(grid: Grid, user: User) -> None:
    user.run("login", grid.url, said=TOKEN)
    listen = f"127.0.0.1:{free_port()}"
    with user.up("--listen", listen, "--python", "nobody") as told:
        assert "It runs nobody's Python." in told
        assert (user.login["url"], user.login["own"]) == (grid.url, False)
    with user.up("--listen", listen, "--login"):
        assert (user.login["url"], user.login["own"]) == (f"http://{listen}", True)


def test_words_that_make_no_sense_start_nothing(user: User) -> None:
    for words in (("--python", "nobody", "--python", "own"), ("--python", "own", "--no-agent"), ("--python", "")):
        done = user.run("up", *words)
        assert done.returncode == endings.USAGE, done.stderr
    assert not (user.folder / "data" / "hub" / "grid.db").exists()
    done = user.run("up", "--listen", "192.0.2.1:7070", "--insecure", "--python", "own")
    assert (done.returncode, "without TLS" in done.stderr) == (endings.NOT_ALLOWED, True)
