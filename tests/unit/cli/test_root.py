"""The terminal's manners: help everywhere, exit codes as documented, sentences instead of tracebacks."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from crowdgrid import errors
from crowdgrid.cli import endings, root


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None
            yield from _commands(child, (*path, name))


ALL = list(_commands(root.root))


@pytest.mark.parametrize(
    ("path", "command"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_and_option_says_what_it_does(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    silent = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help and not option.hidden
    ]
    explained_by_name = {"listen", "tls_cert", "tls_key", "reduce", "role", "limit"}
    assert set(silent) <= explained_by_name, f"crowdgrid {' '.join(path)}"


def test_every_reading_verb_speaks_json() -> None:
    reading = {"ls", "show", "logs", "results", "why", "status", "limits", "doctor", "whoami", "version", "run"}
    silent = [
        path
        for path, command in ALL
        if path
        and path[-1] in reading
        and path != ("agent", "run")
        and not any(option.name == "as_json" for option in command.params)
    ]
    assert silent == []


def test_the_root_help_names_every_command_and_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        root.run(["--help"])
    assert ended.value.code == 0
    told = capfd.readouterr().out
    assert all(re.search(rf"^  {name} ", told, re.MULTILINE) for name in root.COMMANDS)
    assert all(
        f"  {code} " in told
        for code in (endings.FAILED, endings.USAGE, endings.NO_HUB, endings.NOT_ALLOWED, endings.TIMED_OUT)
    )


def test_help_loads_neither_a_database_nor_a_web_framework() -> None:
    """Help that takes a second is not asked for."""
    code = (
        "import sys\nfrom crowdgrid.cli.root import root\n"
        "root.main(['--help'], standalone_mode=False)\n"
        "heavy = {'sqlalchemy', 'starlette', 'uvicorn', 'wasmtime', 'httpx', 'websockets', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_crowdgrid_loads_next_to_nothing() -> None:
    code = "import sys, crowdgrid\nsys.exit(str({'msgspec', 'asyncio', 'httpx'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadInput("x"), 2),
        (errors.BadProgram("x"), 2),
        (errors.NotFound("x"), 2),
        (errors.Conflict("x"), 2),
        (errors.Unavailable("x"), 3),
        (errors.Busy("x"), 3),
        (errors.NotAllowed("x"), 4),
        (errors.NotSignedIn("x"), 4),
        (errors.TimedOut("x"), 5),
        (errors.JobFailed("x"), 1),
        (errors.CrowdgridError("x"), 1),
    ],
)
def test_errors_end_with_the_documented_code_and_a_sentence(
    error: errors.CrowdgridError, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    assert endings.status_of(fails) == code
    told = capfd.readouterr().err
    assert told.startswith("Error: x\n")
    assert "Traceback" not in told


def test_a_mistake_of_ours_is_one_sentence_too(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROWDGRID_DEBUG", raising=False)
    assert endings.status_of(lambda: dict[str, int]()["nothing"]) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_ctrl_c_ends_with_130() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert endings.status_of(interrupted) == 130


def test_a_mistyped_command_is_guessed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        root.run(["job"])
    assert ended.value.code == 2
    assert "Did you mean 'jobs'?" in capfd.readouterr().err


def test_options_that_do_not_fit_are_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["run"],
        ["run", "x.wasm"],
        ["run", "x.wasm", "--range", "0:5", "--items", "-"],
        ["hub", "--listen", "x"],
    ):
        with pytest.raises(SystemExit) as ended:
            root.run(words)
        assert ended.value.code == 2, words
        assert "Error: " in capfd.readouterr().err
