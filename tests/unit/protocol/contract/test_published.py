"""docs/protocol is what this version publishes: committed as generated, and every field has its words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from crowdgrid.protocol.contract import BASELINE, files, words
from crowdgrid.protocol.contract.shapes import contract

FOLDER = Path(__file__).parents[4] / "docs" / "protocol"
CONTRACT = contract()
FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_the_committed_file_is_this_versions(name: str) -> None:
    """Others build on these files: a change of the messages is a change of them."""
    assert (FOLDER / name).read_bytes() == FILES[name], "run: make contract"


def test_nothing_else_is_published() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*FILES, BASELINE, "index.md"}


def test_every_struct_and_field_says_what_it_is() -> None:
    """By its docstring, a comment behind it, or `words.VOCABULARY`."""
    silent = [
        f"{shape.name}.{each.name}" for shape in CONTRACT.shapes.values() for each in shape.fields if not each.doc
    ]
    assert silent == []
    assert [name for name, shape in CONTRACT.shapes.items() if not shape.doc] == []


def test_the_vocabulary_has_no_word_nobody_uses() -> None:
    used = {each.doc for shape in CONTRACT.shapes.values() for each in shape.fields}
    assert [key for key, told in words.VOCABULARY.items() if told not in used] == []


def test_the_command_writes_them_and_the_baseline_only_for_a_release(tmp_path: Path) -> None:
    """`make contract` must not move what this version is compared with."""
    command = [sys.executable, "-m", "crowdgrid.protocol.contract", str(tmp_path)]
    subprocess.run(command, check=True)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    subprocess.run([*command, "--release"], check=True)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, BASELINE}


def test_the_bytes_in_the_guide_are_golden() -> None:
    """Every long run of hex in index.md stands in vectors.json."""
    golden = FILES["vectors.json"].decode()
    shown = re.findall(r"\b[0-9a-f]{16,}\b", (FOLDER / "index.md").read_text())
    assert len(shown) >= 10
    assert [each for each in shown if each not in golden] == []
