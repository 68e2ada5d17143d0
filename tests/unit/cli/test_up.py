"""Whose Python the agent of `crowdgrid up` runs, by what was given, what was said last, and the way to the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdgrid.agent import joined
from crowdgrid.agent.settings import AgentSettings
from crowdgrid.cli.up import _trusts
from crowdgrid.errors import BadInput, NotAllowed

HERE, ELSEWHERE = "http://127.0.0.1:7070", "http://192.0.2.1:7070"


def _said(folder: Path, *python: str) -> None:
    (folder / "agent").mkdir(exist_ok=True)
    joined.keep(AgentSettings(HERE, folder / "agent", python=python), folder / "agent")


def test_at_first_it_is_ones_own_and_then_what_was_said_last(tmp_path: Path) -> None:
    assert _trusts(tmp_path, HERE, ()) == ("own",)
    _said(tmp_path, "own", "alice")
    assert _trusts(tmp_path, HERE, ()) == ("own", "alice")
    _said(tmp_path)
    assert _trusts(tmp_path, HERE, ()) == (), "nobody stays nobody"
    assert _trusts(tmp_path, HERE, ("own",)) == ("own",)


def test_over_a_way_anybody_can_speak_on_it_is_nobody_and_that_was_not_the_owners_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _trusts(tmp_path, ELSEWHERE, ()) is None
    assert "without TLS" in capsys.readouterr().err
    assert _trusts(tmp_path, ELSEWHERE, ("nobody",)) == ()
    with pytest.raises(NotAllowed):
        _trusts(tmp_path, ELSEWHERE, ("own",))
    assert _trusts(tmp_path, ELSEWHERE.replace("http:", "https:"), ()) == ("own",)


def test_what_was_said_and_cannot_be_read_is_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _said(tmp_path, "own")
    (tmp_path / "agent" / joined.FILE).write_text('{"hub": "http://127.0.0.1:7070", "python": ["nobody", "own"]}')
    assert _trusts(tmp_path, HERE, ()) is None
    (tmp_path / "agent" / joined.FILE).write_text("{")
    assert _trusts(tmp_path, HERE, ()) is None
    assert "cannot be understood" in capsys.readouterr().err
    with pytest.raises(BadInput):
        _trusts(tmp_path, HERE, ("nobody", "own"))
