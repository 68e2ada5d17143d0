"""Whose Python this machine runs: what its owner may say, over which way, and the agent's own "no"."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crowdgrid import limits
from crowdgrid.agent import trust
from crowdgrid.agent.settings import AgentSettings, hub_address
from crowdgrid.errors import BadInput, NotAllowed
from crowdgrid.protocol.messages import LeaseSpec

# --- what the owner says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ((), ()),
        (("nobody",), ()),
        (("own",), ("own",)),
        (("own", "alice", "own"), ("own", "alice")),
        (("everyone", "group:the lab"), ("everyone", "group:the lab")),
    ],
)
def test_what_an_owner_says(said: tuple[str, ...], meant: tuple[str, ...]) -> None:
    assert trust.words(said) == meant


@pytest.mark.parametrize(
    "said",
    [
        ("nobody", "own"),
        ("",),
        (" alice",),
        ("ali\nce",),
        ("\x1b[2J",),
        ("x" * (limits.NAME_CHARS + 1),),
        ("group:",),
        tuple(f"o{n}" for n in range(limits.TRUSTED + 1)),
    ],
)
def test_what_makes_no_sense_is_refused_and_nobody_is_guessed(said: tuple[str, ...]) -> None:
    with pytest.raises(BadInput) as wrong:
        trust.words(said)
    assert wrong.value.message.endswith(".")
    assert "\n" not in wrong.value.message


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://localhost:1", "ws://[::1]:7070", "http://127.9.9.9", "https://grid.example.org"],
)
def test_over_this_machine_or_tls_somebody_may_be_trusted(url: str) -> None:
    trust.check_way(("own",), hub_address(url))


@pytest.mark.parametrize(
    "url", ["http://192.168.1.5:7070", "ws://grid.example.org", "http://localhost.example.org", "http://[fe80::1]:7070"]
)
def test_beyond_this_machine_without_tls_nobody_may_be(url: str) -> None:
    """Protects against somebody on the way who sends Python in the hub's name."""
    with pytest.raises(NotAllowed, match="without TLS") as refused:
        trust.check_way(("own",), hub_address(url))
    assert "--python nobody" in refused.value.hint
    trust.check_way((), hub_address(url))


def test_a_start_is_checked_before_anything_begins() -> None:
    def start(hub: str, *python: str, runtimes: tuple[str, ...] = ("wasm",)) -> AgentSettings:
        return trust.checked(AgentSettings(hub, Path("x"), python=python or None, runtimes=runtimes))

    assert start("http://127.0.0.1:1").python == ()
    assert start("http://127.0.0.1:1", "nobody").python == ()
    assert start("http://127.0.0.1:1", "own", runtimes=("python",)).python == ("own",)
    with pytest.raises(NotAllowed):
        start("http://grid.example.org", "own")
    with pytest.raises(BadInput, match="for nobody"):
        start("http://127.0.0.1:1", runtimes=("wasm", "python"))
    with pytest.raises(BadInput):
        start("http://127.0.0.1:1", "nobody", "own")


def test_for_nobody_there_is_no_python_and_pickles_are_for_own_only() -> None:
    assert trust.runtimes(()) == ()
    assert trust.runtimes(("alice", "everyone")) == ("python",)
    assert trust.runtimes(("alice", "own")) == ("python", "python-pickle")


def test_the_label_names_this_python() -> None:
    assert "python" + ".".join(sys.version.split()[0].split(".")[:2]) == trust.LABEL


# --- each lease, looked at again ---------------------------------------------------------------------


def _spec(runtime: str = "python", owner: str = "olga", group: str = "") -> LeaseSpec:
    return LeaseSpec(
        "j", "ab" * 32, 1, runtime, (), 1000, 1 << 20, 1 << 20, 1000, "items", "square", owner=owner, group=group
    )


@pytest.mark.parametrize(
    ("spec", "trusts"),
    [
        (_spec(), ()),
        (_spec(owner="eve"), ("own", "alice")),
        (_spec(owner="own"), ("own",)),
        (_spec(owner="group:lab", group="lab"), ("own", "group:club")),
        (_spec(owner=""), ("own", "everyone")),
        (_spec("python-pickle"), ("everyone", "olga")),
        (_spec("python-pickle", "eve"), ("own", "everyone", "eve", "group:lab")),
        (_spec("python-pickle", ""), ("own", "everyone")),
    ],
)
def test_a_lease_that_should_not_have_come_is_objected_to(spec: LeaseSpec, trusts: tuple[str, ...]) -> None:
    """Protects the owner from a hub that leases what it was told not to."""
    assert trust.objection(spec, trusts, "olga").endswith(".")


@pytest.mark.parametrize(
    ("spec", "trusts"),
    [
        (_spec("wasm", "eve"), ()),
        (_spec(), ("own",)),
        (_spec("python-pickle"), ("own",)),
        (_spec(owner="eve"), ("eve",)),
        (_spec(owner="eve"), ("everyone",)),
        (_spec(owner="eve", group="lab"), ("group:lab",)),
    ],
)
def test_what_the_owner_allowed_may_come(spec: LeaseSpec, trusts: tuple[str, ...]) -> None:
    assert trust.objection(spec, trusts, "olga") == ""


def test_where_the_hub_does_not_say_whose_the_node_is_nobody_is_its_owner() -> None:
    """A hub of before does not tell: then `own` means nobody, and not everybody who has no name either."""
    assert trust.objection(_spec(owner="olga"), ("own",), "")
    assert trust.objection(_spec(owner=""), ("own",), "")
