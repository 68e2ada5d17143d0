"""The same commands at the same times give the same effects: in another engine, in another process, after a restart."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.engine import saved
from crowdgrid.core.model import Chunk, Invitation, Items, Outcome, Range, Token
from crowdgrid.errors import CrowdgridError
from tests.unit.core.memory_grid import small_limits
from tests.unit.core.rig import Rig, of
from tests.unit.core.test_random_histories import WEIGHTS
from tests.unit.core.world import World

_HISTORY = "from tests.unit.core.test_replay import history; print(history(7))"


def history(seed: int) -> str:
    """A digest of everything the engine wanted done in a random life of 800 events."""
    digest = hashlib.sha256()

    class Written(World):
        def handle(self, command: c.Command) -> list[e.Effect]:
            effects = super().handle(command)
            digest.update(msgspec.msgpack.encode([msgspec.structs.astuple(effect) for effect in effects]))
            return effects

    with small_limits():
        dice = random.Random(seed)
        world = Written()
        for name in dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=800):
            getattr(world, f"do_{name}")(dice.getrandbits(48))
    return digest.hexdigest()


@pytest.mark.parametrize("seed", [1, 2])
def test_two_engines_give_the_same_effects_byte_by_byte(seed: int) -> None:
    assert history(seed) == history(seed)


def test_another_process_with_another_hash_seed_gives_the_same_effects() -> None:
    """Protects replay: nothing depends on the order of a set or on the hash of a text."""
    expected = history(7)
    for hash_seed in ("1", "4242"):
        found = subprocess.run(
            [sys.executable, "-c", _HISTORY],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert found.stdout.strip() == expected


def test_a_restart_gives_back_what_was_saved() -> None:
    rig = Rig()
    rig.submit(name="a", key="k", priority=3)
    items = rig.submit(Items(), owner="bob")
    rig.append(items, 0, 5)
    node = rig.node(4)
    rig.report(node, *rig.plan()[:2])
    before = saved(rig.engine)
    rig.restart()
    after = saved(rig.engine)
    assert msgspec.structs.replace(after, grid=before.grid) == before
    assert rig.submit(name="x", key="k") == 1, "the key is still taken"


def test_what_is_known_of_an_owners_use_begins_with_what_is_under_way() -> None:
    """Protects fair share after a restart: leases that go on count, and are given back once."""
    rig = Rig()
    rig.submit(target_ms=1_000)
    node = rig.node(3)
    keys = rig.plan()
    rig.restart()
    assert rig.engine.state.use_of("ada").under_way == 3_000
    rig.connect(node)
    rig.report(node, *keys)
    assert rig.engine.state.use_of("ada").under_way == 0


def test_each_open_lease_begins_anew_after_a_restart() -> None:
    rig = Rig()
    rig.submit()
    rig.node(1)
    keys = rig.plan()
    rig.now += 3_600_000
    rig.restart()
    rig.wait(59_000)
    assert list(rig.engine.state.leases) == keys
    rig.wait(1_000)
    assert not rig.engine.state.leases


def test_nodes_that_hold_nothing_do_not_stay_in_memory_after_a_restart() -> None:
    rig = Rig()
    rig.submit(Range(0, 4, 1), reduce="first", final_after_ms=9_000)
    node = rig.node(2)
    rig.report(node, rig.plan()[0], hit=True)
    rig.restart()
    assert not rig.engine.state.nodes


def test_a_refused_command_changes_nothing_and_the_next_one_goes_on() -> None:
    rig = Rig()
    job = rig.submit(Items())
    before = saved(rig.engine)
    for command in (c.Append(Chunk(job, 5, 1, 1, b"x")), c.Pause(99), c.Why(job=99), c.Retry(99)):
        with pytest.raises(CrowdgridError):
            rig.engine.handle(command, rig.now)
        assert saved(rig.engine) == before
    assert rig.append(job, 0, 1).units == 1


def test_tokens_and_invitations_are_numbered_and_their_numbers_outlive_a_restart() -> None:
    rig = Rig()
    token = Token(0, "h" * 64, "ada", "admin", "first", 1)
    assert rig.reply(c.Put(token)).number == 1
    rig.restart()
    assert rig.reply(c.Put(msgspec.structs.replace(token, secret_hash="i" * 64))).number == 2
    revoked = msgspec.structs.replace(token, number=1, revoked_at=5)
    assert rig.reply(c.Put(revoked)) == revoked
    assert rig.reply(c.Put(Invitation(0, "h" * 64, "ada", "", 1, 5))).number == 1


def test_effects_come_with_one_change_a_job_at_their_end() -> None:
    rig = Rig()
    job = rig.submit()
    node = rig.node(5)
    keys = rig.plan()
    effects = rig.do(c.Report(node, tuple(c.Reported(key, Outcome.OK, b"d" * 32) for key in keys)))
    changes = of(e.JobChanged, effects)
    assert [change.job for change in changes] == [rig.job(job)]
    assert changes[0].job.counts.validated == 5
