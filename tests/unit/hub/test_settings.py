"""Settings are checked when they are built: no hub starts half configured, or open to the world by accident."""

from __future__ import annotations

from typing import Any

import pytest

from crowdgrid.errors import BadInput
from crowdgrid.settings import HubSettings, from_options, is_loopback, parse_address


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:7070", ("127.0.0.1", 7070)),
        (":0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("grid.example:443", ("grid.example", 443)),
    ],
)
def test_addresses_are_read(text: str, found: tuple[str, int]) -> None:
    assert parse_address(text) == found


@pytest.mark.parametrize("text", ["", "7070", "127.0.0.1", "::1:80", "a:-1", "a:65536", "a:²", "a:b"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_address(text)
    assert ":7070" in refused.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_only(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", ""])
def test_everybody(host: str) -> None:
    assert not is_loopback(host)


def test_an_open_port_needs_tls_or_a_clear_word() -> None:
    """Listening beyond this machine without TLS is refused with the reason, unless asked for by name."""
    with pytest.raises(BadInput, match="in the clear") as refused:
        HubSettings(listen="0.0.0.0:7070")
    assert "--insecure" in refused.value.hint
    assert HubSettings(listen="0.0.0.0:7070", insecure=True).address == ("0.0.0.0", 7070)
    assert HubSettings(listen="0.0.0.0:7070", tls_cert="c", tls_key="k").tls


@pytest.mark.parametrize(
    "bad",
    [
        {"tls_cert": "c"},
        {"tls_key": "k"},
        {"log": "xml"},
        {"keep_jobs_seconds": -1.0},
        {"collect_seconds": -1.0},
        {"trust_least": 0.5},
        {"trust_least": 6.0, "trust_most": 5.0},
        {"trust_most": 11.0},
        {"trust_up": -0.1},
        {"trust_down": 10.5},
        {"audit_rate": 1.1},
        {"audit_rate": float("nan")},
    ],
)
def test_what_cannot_be_used_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        HubSettings(**bad)


def test_options_come_before_the_environment_and_the_environment_before_defaults() -> None:
    """An option that was not given (None) leaves the environment's word; secrets come from the environment."""
    environ = {
        "CROWDGRID_LISTEN": "127.0.0.1:1",
        "CROWDGRID_DATA": "/var/lib/grid",
        "CROWDGRID_ADMIN_TOKEN": "cg_x",
        "CROWDGRID_INVITATION": "cgi_x",
    }
    told = from_options(environ, listen="127.0.0.1:2", store=None)
    assert told.listen == "127.0.0.1:2"
    assert str(told.folder) == "/var/lib/grid/hub"
    assert told.store_url == "sqlite:////var/lib/grid/hub/grid.db"
    assert (told.admin_token, told.invitation) == ("cg_x", "cgi_x")
    assert from_options(environ).listen == "127.0.0.1:1"
    assert from_options({}).listen == "127.0.0.1:7070"
    assert from_options({}).folder.name == "hub"
