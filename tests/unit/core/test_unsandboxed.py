"""Whose Python a node runs: the rule, the plan that keeps it, and what `why` says of it."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core.effects import Explanation
from crowdgrid.core.model import UNSANDBOXED, Range
from crowdgrid.core.unsandboxed import admits, described, objection
from tests.unit.core.rig import Rig

PYTHON = ("wasm", "python", "python-pickle")


def _rejected(rig: Rig, job: int) -> dict[int, tuple[str, ...]]:
    found: Explanation = rig.reply(c.Why(job=job))
    return dict(found.rejected)


# --- the rule ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusts", "owner", "group", "python", "pickled"),
    [
        ((), "olga", "", False, False),
        (("own",), "olga", "", True, True),
        (("own",), "ada", "", False, False),
        (("ada",), "ada", "", True, False),
        (("ada",), "olga", "", False, False),
        (("olga",), "olga", "", True, False),
        (("everyone",), "ada", "", True, False),
        (("everyone",), "olga", "", True, False),
        (("everyone", "own"), "olga", "", True, True),
        (("everyone", "own"), "ada", "", True, False),
        (("group:lab",), "ada", "lab", True, False),
        (("group:lab",), "ada", "club", False, False),
        (("group:lab",), "ada", "", False, False),
        (("group:",), "ada", "", False, False),
        (("group:lab", "own"), "olga", "lab", True, True),
        (("Ada",), "ada", "", False, False),
    ],
)
def test_whose_python_a_node_of_olga_runs(
    trusts: tuple[str, ...], owner: str, group: str, python: bool, pickled: bool
) -> None:
    """Protects the machine's owner: only who was named, and pickled functions of the owner alone."""
    assert admits("python", trusts, "olga", owner, group) is python
    assert admits("python-pickle", trusts, "olga", owner, group) is pickled


def test_a_sandboxed_program_needs_nobodys_trust() -> None:
    assert admits("wasm", (), "olga", "eve", "")
    assert admits("wasm", (), "", "", "")


@pytest.mark.parametrize("name", ["own", "everyone", "group:lab", "group:"])
def test_who_is_called_like_a_word_is_not_meant_by_it(name: str) -> None:
    """A stranger must not come in by taking the name `own`."""
    if name != "everyone":
        assert not admits("python", (name,), "olga", name, "")
    assert not admits("python-pickle", (name,), "olga", name, "")


@pytest.mark.parametrize(
    "trusts", [("own",), ("everyone",), ("",), ("group:",), ("own", "everyone", "", "group:", "ada")]
)
@pytest.mark.parametrize("runtime", sorted(UNSANDBOXED))
def test_a_job_of_which_nobody_says_whose_it_is_runs_nowhere(runtime: str, trusts: tuple[str, ...]) -> None:
    """Also where the node does not know its own owner: two unknowns are not the same person."""
    assert not admits(runtime, trusts, "", "", "")
    assert not admits(runtime, trusts, "olga", "", "")
    assert not admits("python", ("own",), "", "ada", "")


def test_every_refusal_has_a_sentence_that_names_nobody() -> None:
    words = ("own", "everyone", "ada", "group:lab")
    lists = [()] + [tuple(words[: n + 1]) for n in range(4)] + [(word,) for word in words]
    said = set()
    for runtime, trusts, owner, group in product(
        ("wasm", *UNSANDBOXED), lists, ("", "olga", "ada", "eve"), ("", "lab")
    ):
        sentence = objection(runtime, trusts, "olga", owner, group)
        assert bool(sentence) is not admits(runtime, trusts, "olga", owner, group)
        said.add(sentence)
    assert len(said) == 6
    assert all(name not in sentence for sentence in said for name in ("olga", "ada", "eve", "lab"))


def test_a_nodes_owner_reads_what_it_refuses() -> None:
    assert described(()) == "It runs nobody's Python."
    assert (
        described(("own", "bob", "group:lab"))
        == "Outside any sandbox it runs Python of its own owner, bob, whoever names the group lab, also pickled functions of its own "
        "owner."
    )
    assert described(("own",), "ada").endswith("of its own owner. Its owner on this grid is ada.")
    assert "ada" not in described(("bob",), "ada")
    assert described(("everyone",)) == "Outside any sandbox it runs Python of everyone, but no pickled functions."


# --- the plan ----------------------------------------------------------------------------------------


def test_a_strangers_python_waits_beside_idle_nodes_and_why_names_each() -> None:
    rig = Rig()
    closed, own = rig.node(1, runtimes=PYTHON), rig.node(1, runtimes=PYTHON, trusts=("own",))
    job = rig.submit(runtime="python", owner="eve")
    assert rig.plan() == []
    stranger = "Its owner has not said that Python of this job's owner may run there."
    assert _rejected(rig, job) == {closed: ("It runs nobody's Python.",), own: (stranger,)}
    open_to_all = rig.node(1, runtimes=PYTHON, trusts=("everyone",))
    assert [node for node, _ in rig.leases()] == [open_to_all]


def test_pickled_functions_go_to_nodes_of_their_own_owner_only() -> None:
    rig = Rig()
    rig.node(1, runtimes=PYTHON, trusts=("own", "everyone", "ada"), owner="bob")
    rig.submit(Range(0, 1, 1), runtime="python-pickle", owner="ada")
    assert rig.plan() == []
    mine = rig.node(1, runtimes=PYTHON, trusts=("own",), owner="ada")
    assert [node for node, _ in rig.leases()] == [mine]


def test_sandboxed_jobs_of_all_owners_share_a_pool_and_python_is_kept_apart_by_owner() -> None:
    """Protects the plan: a pool for each owner would cost each offer a look at every owner."""
    rig = Rig()
    for owner in ("ada", "bob", "eve"):
        rig.submit(owner=owner)
    assert len(rig.engine.state.pools) == 1
    for owner in ("ada", "bob", "ada"):
        rig.submit(owner=owner, runtime="python")
    assert len(rig.engine.state.pools) == 3


def test_python_of_one_owner_does_not_hide_behind_anothers() -> None:
    """A trusted owner's job is found although a stranger's, first in line, waits for the same kind of node."""
    rig = Rig("fifo")
    rig.submit(runtime="python", owner="eve")
    job = rig.submit(Range(0, 1, 1), runtime="python", owner="ada")
    rig.node(3, runtimes=PYTHON, trusts=("ada",))
    assert rig.plan() == [(job, 0, 0)]


def test_a_hub_that_starts_again_still_knows_whom_a_node_trusts() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 4, 1), runtime="python", owner="ada")
    node = rig.node(1, runtimes=PYTHON, trusts=("own", "ada"))
    (key,) = rig.plan()
    rig.restart()
    assert rig.record(node).trusts == ("own", "ada")
    rig.connect(node)
    rig.fetch(node, 1)
    eve = rig.submit(runtime="python", owner="eve", priority=9)
    assert rig.plan() == [(job, 1, 0)]
    assert node in _rejected(rig, eve)
    assert rig.report(node, key) == ["counted"]


# --- a change of mind --------------------------------------------------------------------------------


def test_an_owner_who_narrows_gets_no_more_of_a_stranger_and_no_less_of_others() -> None:
    rig = Rig()
    node = rig.node(1, runtimes=PYTHON, trusts=("everyone",))
    eve = rig.submit(runtime="python", owner="eve", priority=1)
    other = rig.submit(owner="eve")
    assert rig.plan() == [(eve, 0, 0)]
    rig.sessions += 1
    rig.do(c.Connect(msgspec.structs.replace(rig.record(node), trusts=()), rig.sessions, news=True))
    rig.do(c.Decline(node, ((eve, 0, 0),), "It runs nobody's Python."))
    rig.fetch(node, 1)
    assert rig.plan() == [(other, 0, 0)]
    assert rig.record(node).trusts == ()


def test_an_owner_who_widens_is_asked_at_once_about_what_the_node_declined() -> None:
    """A declined job is not offered for half a minute; a change of mind must not have to wait for that."""
    rig = Rig()
    node = rig.node(1, runtimes=PYTHON, trusts=("ada",))
    job = rig.submit(runtime="python")
    rig.do(c.Decline(node, tuple(rig.plan())))
    for news, leased in ((False, 0), (True, 1)):
        rig.sessions += 1
        rig.do(c.Connect(rig.record(node), rig.sessions, news))
        rig.fetch(node, 1)
        assert len(rig.plan()) == leased
    assert rig.run(job).declined == {}


def test_an_operators_change_does_not_undo_the_owners() -> None:
    """Draining a node writes the record somebody read before: whom the node trusts by then must survive it."""
    rig = Rig()
    node = rig.node(1, runtimes=PYTHON, trusts=("everyone",))
    before = rig.record(node)
    rig.sessions += 1
    rig.do(c.Connect(msgspec.structs.replace(before, trusts=("own",)), rig.sessions, news=True))
    rig.do(c.Update(msgspec.structs.replace(before, name="renamed")))
    assert (rig.record(node).name, rig.record(node).trusts) == ("renamed", ("own",))
    rig.submit(runtime="python", owner="eve")
    rig.fetch(node, 1)
    assert rig.plan() == []


def test_why_of_a_node_says_whose_python_it_runs() -> None:
    rig = Rig()
    node = rig.node(1, runtimes=PYTHON, trusts=("own",))
    rig.submit(runtime="python", owner="eve")
    found: Explanation = rig.reply(c.Why(node=node))
    said = [reason.text for reason in found.reasons]
    assert described(("own",)) in said
    refusal = "Its owner has not said that Python of this job's owner may run there."
    assert f"Somebody else's job: {refusal}" in said


def test_declines_are_forgotten_after_half_a_minute_as_before() -> None:
    rig = Rig()
    node = rig.node(1, runtimes=PYTHON, trusts=("ada",))
    rig.submit(runtime="python")
    rig.do(c.Decline(node, tuple(rig.plan())))
    rig.fetch(node, 1)
    assert rig.plan() == []
    rig.now += limits.DECLINED_MS
    assert len(rig.plan()) == 1
