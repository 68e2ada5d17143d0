"""The documents say what is: their links lead somewhere, their commands exist, nothing names one machine."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from crowdgrid.cli import endings
from crowdgrid.cli.root import root
from tests.architecture.tree import ROOT, files, name

MARKDOWN = [path for path in files(suffix=".md") if "hypothesis" not in path.parts]
TEXT = (
    ".c",
    ".cfg",
    ".css",
    ".h",
    ".html",
    ".json",
    ".lock",
    ".md",
    ".mjs",
    ".proto",
    ".py",
    ".svg",
    ".toml",
    ".txt",
    ".yml",
    "Makefile",
)


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    """A link to a file that moved is a dead end for a newcomer."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    local = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_make_commands_exist(path: Path) -> None:
    """Every `make …` a document tells people to type is a target of the Makefile."""
    text = path.read_text()
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    told = {target for part in code for target in re.findall(r"^make ([a-z][a-z-]*)", part, re.MULTILINE)}
    assert told - _targets() == set()


def test_the_makefile_has_its_habits() -> None:
    """The targets people and CI call by name; .ci/run calls the same ones."""
    wanted = {
        "help",
        "demo",
        "test",
        "lint",
        "type",
        "bench",
        "contract",
        "docs",
        "lock",
        "kernels",
        "kernels-check",
        "clean",
    }
    assert wanted <= _targets()
    (called,) = re.findall(r"for target in ([a-z ]+);", (ROOT / ".ci/run").read_text())
    assert set(called.split()) <= _targets()


def test_the_newcomers_two_commands_are_in_the_readme() -> None:
    """`make demo` and `make test` are what the README promises."""
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme


def test_nothing_names_one_machine_or_an_index() -> None:
    """A clone works anywhere: no absolute path of somebody's disk, no address of a package index."""
    somewhere = re.compile(
        r"/(?:root|work|home/\w+|Users/\w+)/|[A-Z]:\\\\Users|"
        + "|".join(
            [
                "pypi" + r"\.org",
                "python" + r"hosted\.org",
                r"https?://\S+/simple\b",
                r"--(?:extra-)?index-url[ =]\S",
            ]
        )
    )
    found = [
        f"{name(path)}:{number}: {line.strip()[:80]}"
        for path in files()
        if path.name.endswith(TEXT) or path.parent.name in {"scripts", ".ci"}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if somewhere.search(line) and path != Path(__file__)
    ]
    assert found == []


def test_every_decision_has_its_three_parts() -> None:
    """A decision record says what forced it, what was decided and what it costs."""
    for path in files(ROOT / "docs" / "adr", ".md"):
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings[:3] == ["Context", "Decision", "Consequences"], name(path)
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name), name(path)


def _told_commands() -> list[tuple[str, str]]:
    """(document, command line) of every `crowdgrid …` people are told to type."""
    told = []
    for path in MARKDOWN:
        text = path.read_text()
        code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
        lines = [
            line for part in code for line in part.splitlines() if re.match(r"(?:\.venv/bin/)?crowdgrid [a-z]", line)
        ]
        told += [(name(path), line.split("  ")[0]) for line in lines]
    return told


@pytest.mark.parametrize(("document", "line"), _told_commands())
def test_crowdgrid_commands_exist(document: str, line: str) -> None:
    """A verb or an option that is written down is there, spelled like this."""
    del document
    words = [word for word in line.split("|", maxsplit=1)[0].split()[1:] if word != "…"]
    command: click.Command = root
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z]+", words[0]):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found, line
        command = found
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} - {*options, "--help", "--"} == set()


def test_exit_codes_are_documented() -> None:
    """docs/operations.md has the exit codes `crowdgrid --help` names, in the same words."""
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert rows == re.findall(r"^ +(\d+) +(.+)$", endings.TABLE, re.MULTILINE)
