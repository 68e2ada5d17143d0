"""What an agent is told at its start is checked before anything begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crowdgrid.agent.settings import AgentSettings, hub_address
from crowdgrid.errors import BadInput


@pytest.mark.parametrize(
    ("text", "websocket"),
    [
        ("http://127.0.0.1:7070", "ws://127.0.0.1:7070/v1/node"),
        ("127.0.0.1:7070", "ws://127.0.0.1:7070/v1/node"),
        ("https://grid.example.org", "wss://grid.example.org:443/v1/node"),
        ("wss://grid.example.org/below/", "wss://grid.example.org:443/below/v1/node"),
        ("ws://[::1]:7070", "ws://[::1]:7070/v1/node"),
        ("http://grid.example.org", "ws://grid.example.org:80/v1/node"),
    ],
)
def test_addresses_people_write(text: str, websocket: str) -> None:
    assert hub_address(text).websocket == websocket


@pytest.mark.parametrize("text", ["ftp://x", "http://", "http://a:b@host", "http://host:99999", "http://h/?x=1", "://"])
def test_what_is_no_address_says_how_one_looks(text: str) -> None:
    with pytest.raises(BadInput) as wrong:
        hub_address(text)
    assert "http://127.0.0.1:7070" in wrong.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"hub": "ftp://x"},
        {"cpus": -1},
        {"cpus": 10_000},
        {"memory_bytes": 5},
        {"runtimes": ()},
        {"drain_seconds": -1.0},
        {"cache_bytes": 1},
    ],
)
def test_settings_out_of_bounds_cannot_be_made(wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"hub": "", "data": Path("x"), **wrong}
    with pytest.raises(BadInput):
        AgentSettings(**fields)


def test_by_default_everything_this_process_may_use_is_lent_but_a_quarter_of_memory() -> None:
    settings = AgentSettings("", Path("x"))
    assert settings.cores >= 1
    assert settings.memory >= 1 << 20
    assert AgentSettings("", Path("x"), cpus=3, memory_bytes=1 << 30).cores == 3
