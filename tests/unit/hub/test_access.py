"""The one rule of who may do what, and the memory of tokens and invitations."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from crowdgrid.core.model import Counts, Invitation, Job, JobSpec, JobState, Node, Range, Token
from crowdgrid.errors import Busy, NotAllowed, NotFound, NotSignedIn
from crowdgrid.hub.access import (
    ADDRESSES_KEPT,
    FAILURES_MAX,
    ROLES,
    Access,
    Place,
    Principal,
    Thing,
    Verb,
    authorize,
    new_secret,
    secret_hash,
)

JOB = Job(1, "ada", "", "", "", 0, JobState.OPEN, JobSpec("0" * 64, Range(0, 1)), Counts())
NODE = Node(number=1, key=bytes(32), owner="ada", group="", name="n", created_at=0)
TOKEN = Token(1, secret_hash("cg_a"), "ada", "submitter", "", 0)
INVITATION = Invitation(1, secret_hash("cgi_a"), "ada", "lab", 0, 2)
RECORDS: list[Thing] = [JOB, NODE, TOKEN, INVITATION]


def allowed(principal: Principal, verb: Verb, thing: Thing) -> str:
    try:
        authorize(principal, verb, thing)
    except NotFound:
        return "not there"
    except NotAllowed:
        return "no"
    return "yes"


def test_the_whole_rule() -> None:
    """Every role, verb and thing at once: admins everything; others' records never exist; readers only look."""
    things: list[Thing] = [*RECORDS, *Place]
    for role, verb, thing in itertools.product(ROLES, Verb, things):
        own = allowed(Principal("ada", role), verb, thing)
        other = allowed(Principal("bob", role), verb, thing)
        record = not isinstance(thing, Place)
        if role == "admin":
            assert (own, other) == ("yes", "yes")
        elif record:
            assert other == "not there"
            assert own == ("yes" if role == "submitter" or verb is Verb.READ else "no")
        else:
            grid_change = thing is Place.GRID and verb is not Verb.READ
            assert own == other
            assert own == ("yes" if verb is Verb.READ or (role == "submitter" and not grid_change) else "no")


class Clocked:
    """Access with a clock a test moves."""

    def __init__(self, **change: Any) -> None:
        self.now = 1000
        self.access = Access(lambda: self.now)
        self.access.load([msgspec.structs.replace(TOKEN, **change)], [INVITATION])


def test_a_token_stands_for_its_owner() -> None:
    found = Clocked().access.principal("Bearer cg_a")
    assert (found.owner, found.role, found.scope) == ("ada", "submitter", "ada")
    assert Principal("root", "admin").scope == ""


def test_a_token_ends_at_its_time() -> None:
    clocked = Clocked(expires_at=2000)
    assert clocked.access.principal("Bearer cg_a").owner == "ada"
    clocked.now = 2000
    with pytest.raises(NotSignedIn):
        clocked.access.principal("Bearer cg_a")


def test_a_committed_revocation_counts_at_once() -> None:
    clocked = Clocked()
    clocked.access.saw([msgspec.structs.replace(TOKEN, revoked_at=1)])
    with pytest.raises(NotSignedIn):
        clocked.access.principal("Bearer cg_a")
    assert not clocked.access.has_admin()


def test_wrong_secrets_are_bounded_per_address_and_forgiven_with_time() -> None:
    """One address's guesses do not slow another's, and a minute later it may try again."""
    clocked = Clocked()
    for _ in range(FAILURES_MAX):
        with pytest.raises(NotSignedIn):
            clocked.access.principal("Bearer cg_b", "10.0.0.1")
    with pytest.raises(Busy):
        clocked.access.principal("Bearer cg_b", "10.0.0.1")
    with pytest.raises(NotSignedIn):
        clocked.access.principal("Bearer cg_b", "10.0.0.2")
    assert clocked.access.principal("Bearer cg_a", "10.0.0.1").owner == "ada"
    clocked.now += 60_000
    with pytest.raises(NotSignedIn):
        clocked.access.principal("Bearer cg_b", "10.0.0.1")


def test_addresses_that_fail_cost_bounded_memory() -> None:
    clocked = Clocked()
    for number in range(ADDRESSES_KEPT + 100):
        with pytest.raises(NotSignedIn):
            clocked.access.principal("Bearer cg_b", f"address {number}")
    assert len(clocked.access._failures._buckets) == ADDRESSES_KEPT


def test_a_late_commit_does_not_give_uses_back() -> None:
    """Two joins took two uses; the first one's commit, with one use left, arrives after: nothing is left still."""
    clocked = Clocked()
    first = clocked.access.take_invitation("cgi_a")
    second = clocked.access.take_invitation("cgi_a")
    assert (first.uses_left, second.uses_left) == (1, 0)
    clocked.access.saw([first])
    with pytest.raises(NotAllowed):
        clocked.access.take_invitation("cgi_a")


def test_a_rebuilt_engine_starts_from_what_the_store_holds() -> None:
    clocked = Clocked()
    clocked.access.take_invitation("cgi_a")
    clocked.access.load([], [INVITATION])
    assert clocked.access.take_invitation("cgi_a").uses_left == 1
    with pytest.raises(NotSignedIn):
        clocked.access.principal("Bearer cg_a")


def test_a_secret_is_long_and_never_twice_the_same() -> None:
    made = {new_secret("cg_") for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith("cg_") and len(secret) >= 43 for secret in made)
