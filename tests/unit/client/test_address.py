"""An address means the hub a person had in mind, and every closed way says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crowdgrid.client import login
from crowdgrid.client.address import Address, NoHub, from_response
from crowdgrid.errors import BadInput, NotSignedIn, Unavailable


@pytest.mark.parametrize(
    ("text", "url", "link"),
    [
        ("localhost", "http://localhost:7070", "ws://localhost:7070/v1/client"),
        ("10.0.0.2:80", "http://10.0.0.2:80", "ws://10.0.0.2:80/v1/client"),
        ("https://grid.example.org", "https://grid.example.org:443", "wss://grid.example.org:443/v1/client"),
        ("wss://grid.example.org/a/", "https://grid.example.org:443/a", "wss://grid.example.org:443/a/v1/client"),
        ("http://[::1]:7070", "http://[::1]:7070", "ws://[::1]:7070/v1/client"),
    ],
)
def test_an_address_is_read_as_it_was_meant(text: str, url: str, link: str) -> None:
    found = Address.parse(text)
    assert (found.url, found.link) == (url, link)


@pytest.mark.parametrize("text", ["", "ftp://x", "http://", "http://x:port", "http://x:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        Address.parse(text)


def test_a_token_is_not_shown() -> None:
    """Addresses end up in logs and tracebacks."""
    assert "secret" not in repr(Address("http://x:1", "secret"))


def test_a_refusal_keeps_the_hubs_own_words() -> None:
    body = json.dumps({"code": "not_signed_in", "detail": "Who?", "hint": "Say it."}).encode()
    error = from_response(Address("http://x:1"), 401, body)
    assert type(error) is NotSignedIn
    assert (error.message, error.hint) == ("Who?", "Say it.")


def test_something_else_at_the_address_is_told_from_a_hub_in_trouble() -> None:
    """The first is a wrong address and never mends; the second does."""
    assert type(from_response(Address("http://x:1"), 200, b"<html>")) is NoHub
    assert type(from_response(Address("http://x:1"), 502, b"<html>")) is Unavailable


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CROWDGRID_URL", "CROWDGRID_TOKEN", "CROWDGRID_CA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_saved_login_is_readable_by_its_owner_only(config: Path) -> None:
    path = login.save(login.Login("http://h:1", "cg_x"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert login.saved() == login.Login("http://h:1", "cg_x")


def test_a_saved_token_goes_to_its_own_hub_only(config: Path) -> None:
    """Naming another hub must not hand it the token of the first."""
    login.save(login.Login("http://h:1", "cg_x"))
    assert login.address().token == "cg_x"
    assert login.address("h:1").token == "cg_x"
    assert login.address("http://elsewhere:1").token == ""


def test_what_is_given_goes_before_the_environment_and_that_before_the_login(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login.save(login.Login("http://h:1", "cg_x"))
    monkeypatch.setenv("CROWDGRID_URL", "http://e:2")
    monkeypatch.setenv("CROWDGRID_TOKEN", "cg_env")
    assert login.address().url == "http://e:2"
    assert login.address("http://g:3", "cg_given") == Address("http://g:3", "cg_given")
    assert login.address().token == "cg_env"


def test_a_damaged_login_says_which_file_to_remove(config: Path) -> None:
    path = login.save(login.Login("http://h:1"))
    path.write_text("{")
    with pytest.raises(BadInput) as caught:
        login.address()
    assert str(path) in str(caught.value)
