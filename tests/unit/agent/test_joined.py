"""What a machine was joined with holds after a restart, until it joins or leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdgrid.agent import joined
from crowdgrid.agent.settings import AgentSettings
from crowdgrid.errors import BadInput

HUB = "https://grid.example.org"


def _joining(folder: Path) -> AgentSettings:
    return AgentSettings(
        HUB,
        folder,
        invitation="cgi_x",
        cpus=2,
        memory_bytes=1 << 30,
        runtimes=("echo",),
        python=("own", "alice"),
        name="attic",
        labels=("gpu",),
        region="eu",
        ca=folder / "ca.pem",
        no_limits=True,
    )


def test_a_later_start_lends_no_more_than_the_owner_said_when_joining(tmp_path: Path) -> None:
    joined.keep(_joining(tmp_path), tmp_path)
    found = joined.complete(AgentSettings("", tmp_path), tmp_path)
    assert found == AgentSettings(
        f"{HUB}:443",
        tmp_path,
        cpus=2,
        memory_bytes=1 << 30,
        runtimes=("echo",),
        python=("own", "alice"),
        name="attic",
        labels=("gpu",),
        region="eu",
        ca=tmp_path / "ca.pem",
    )


def test_to_ignore_the_limits_and_the_invitation_are_never_kept(tmp_path: Path) -> None:
    joined.keep(_joining(tmp_path), tmp_path)
    found = joined.complete(AgentSettings("", tmp_path), tmp_path)
    assert not found.no_limits
    assert "cgi_x" not in (tmp_path / joined.FILE).read_text()


def test_what_is_given_to_a_start_goes_before_what_was_kept(tmp_path: Path) -> None:
    joined.keep(_joining(tmp_path), tmp_path)
    found = joined.complete(AgentSettings("", tmp_path, cpus=1, name="cellar", labels=("slow",)), tmp_path)
    assert (found.cpus, found.name, found.labels, found.region) == (1, "cellar", ("slow",), "eu")


def test_whose_python_runs_is_kept_and_may_be_less_this_time(tmp_path: Path) -> None:
    joined.keep(_joining(tmp_path), tmp_path)
    nobody: tuple[str, ...] = ()
    assert joined.complete(AgentSettings("", tmp_path, python=nobody), tmp_path).python == nobody
    assert joined.python_of(tmp_path) == ("own", "alice")


def test_a_change_of_mind_is_kept_and_nothing_else_of_this_start(tmp_path: Path) -> None:
    joined.keep(_joining(tmp_path), tmp_path)
    joined.keep_python((), tmp_path)
    found = joined.complete(AgentSettings("", tmp_path), tmp_path)
    assert (found.python, found.cpus, found.labels) == ((), 2, ("gpu",))


def test_before_it_has_joined_nobody_was_ever_named(tmp_path: Path) -> None:
    joined.keep_python(("own",), tmp_path)
    assert joined.python_of(tmp_path) is None
    assert not (tmp_path / joined.FILE).exists()


def test_a_machine_joined_by_an_earlier_version_trusts_nobody(tmp_path: Path) -> None:
    (tmp_path / joined.FILE).write_text('{"hub": "http://127.0.0.1:7070", "cpus": 1}')
    assert joined.complete(AgentSettings("", tmp_path), tmp_path).python is None
    assert joined.python_of(tmp_path) is None


def test_who_names_a_hub_starts_afresh(tmp_path: Path) -> None:
    joined.keep(_joining(tmp_path), tmp_path)
    fresh = AgentSettings("http://127.0.0.1:7070", tmp_path)
    assert joined.complete(fresh, tmp_path) == fresh


def test_a_machine_that_left_has_joined_nothing(tmp_path: Path) -> None:
    joined.keep(_joining(tmp_path), tmp_path)
    joined.forget(tmp_path)
    joined.forget(tmp_path)
    with pytest.raises(BadInput, match="has not joined a hub yet"):
        joined.complete(AgentSettings("", tmp_path), tmp_path)


@pytest.mark.parametrize("text", [b"{", b'{"hub": 1}', b'{"hub": "ftp://x"}', b'{"hub": "http://x", "cpus": -1}'])
def test_a_file_somebody_spoiled_is_refused_with_a_sentence(tmp_path: Path, text: bytes) -> None:
    (tmp_path / joined.FILE).write_bytes(text)
    with pytest.raises(BadInput):
        joined.complete(AgentSettings("", tmp_path), tmp_path)
