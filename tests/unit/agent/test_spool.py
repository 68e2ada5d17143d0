"""The spool: what was finished outlives the process, a cut record, a full disk; what was judged does not come back."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crowdgrid.agent.spool import EMPTY_BYTES, Spool
from crowdgrid.core.model import Outcome
from crowdgrid.errors import Unavailable
from crowdgrid.protocol.messages import ResultEntry


def entry(number: int, payload: bytes = b"42", blob: str = "") -> ResultEntry:
    return ResultEntry(number.to_bytes(16, "big"), Outcome.OK, bytes(32), payload, blob)


def keep(spool: Spool, number: int, payload: bytes = b"42") -> int:
    return spool.keep((entry(number, payload),), bytes(32), bytes(64)).number


def size_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_is_kept_is_there_after_a_restart_as_it_was_signed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    batch = spool.keep((entry(1), entry(2, b"x" * 1000)), b"l" * 64, b"s" * 64)
    spool.close()
    assert Spool(tmp_path).batches == {batch.number: batch}


def test_it_is_on_disk_without_being_closed(tmp_path: Path) -> None:
    """`kill -9` right after a batch was kept loses nothing: a real process is killed here."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.agent.test_spool import keep\n"
        "from crowdgrid.agent.spool import Spool\n"
        f"spool = Spool(Path({str(tmp_path)!r}))\n"
        "for number in range(50): keep(spool, number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], check=False).returncode == -9
    assert len(Spool(tmp_path).batches) == 50


def test_what_was_judged_does_not_come_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first, second = keep(spool, 1), keep(spool, 2)
    spool.forget(first)
    spool.close()
    assert list(Spool(tmp_path).batches) == [second]


def test_numbers_are_not_used_twice_while_something_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    keep(spool, 1)
    second = keep(spool, 2)
    spool.close()
    assert keep(Spool(tmp_path), 3) > second


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_record_that_was_cut_by_a_crash_hides_nothing_before_it(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path)
    first = keep(spool, 1)
    keep(spool, 2, b"p" * 100)
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    os.truncate(path, path.stat().st_size - cut)
    again = Spool(tmp_path)
    assert list(again.batches) == [first]
    third = keep(again, 3)
    again.close()
    assert list(Spool(tmp_path).batches) == [first, third]


def test_damage_is_noticed_and_never_delivered(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first = keep(spool, 1)
    keep(spool, 2, b"secret answer")
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    path.write_bytes(path.read_bytes().replace(b"secret answer", b"secret anSwer"))
    assert list(Spool(tmp_path).batches) == [first]


def test_files_that_are_no_spool_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "00000007.spool").write_bytes(os.urandom(5000))
    (tmp_path / "notes.spool").write_bytes(b"\xff\xff\xff\xff" * 9)
    spool = Spool(tmp_path)
    assert spool.batches == {}
    keep(spool, 1)
    spool.close()
    assert len(Spool(tmp_path).batches) == 1


def test_the_folder_stays_small_however_many_went_through(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=20_000)
    for number in range(5_000):
        spool.forget(keep(spool, number))
    assert size_on_disk(tmp_path) <= 20_000 + EMPTY_BYTES


def test_one_batch_that_stays_does_not_hold_up_those_around_it(tmp_path: Path) -> None:
    """A result nobody judges for long must not keep every segment since."""
    spool = Spool(tmp_path, segment_bytes=20_000)
    stuck = [keep(spool, 1)]
    for number in range(2, 3_000):
        done = keep(spool, number)
        if number % 500 == 0:
            stuck.append(done)
        else:
            spool.forget(done)
    assert size_on_disk(tmp_path) < 60_000
    spool.close()
    assert sorted(Spool(tmp_path).batches) == stuck


def test_a_full_disk_keeps_results_in_memory_says_so_and_writes_them_when_there_is_room(tmp_path: Path) -> None:
    """The limit on a file's size stands in for a full disk: the kernel refuses the write the same way."""
    script = f"""
import resource, signal
from pathlib import Path
from tests.unit.agent.test_spool import keep, entry
from crowdgrid.agent.spool import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path({str(tmp_path)!r}))
kept = [keep(spool, n) for n in range(10)]
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
kept += [keep(spool, n, b"p" * 700) for n in range(10, 20)]
spool.keep_payload("ab" * 32, b"x" * 5000)
assert "cannot be written" in spool.problem, spool.problem
assert spool.payload("ab" * 32) == b"x" * 5000
assert list(spool.batches) == kept
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
spool.keep((entry(99, b"", "ab" * 32),), bytes(32), bytes(64))
spool.tidy()
assert spool.problem == ""
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == 0
    again = Spool(tmp_path)
    assert len(again.batches) == 21
    assert again.payload("ab" * 32) == b"x" * 5000
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1500


def test_a_large_payload_lives_as_long_as_its_batch(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    digest = "cd" * 32
    spool.keep_payload(digest, b"large")
    number = spool.keep((entry(1, b"", digest),), bytes(32), bytes(64)).number
    spool.keep_payload("ef" * 32, b"of a batch that was never written")
    spool.close()
    again = Spool(tmp_path)
    assert again.payload(digest) == b"large"
    assert again.payload("ef" * 32) is None
    again.forget(number)
    assert again.payload(digest) is None


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="spool"):
        Spool(tmp_path / "file" / "spool")


class SpoolMachine(RuleBasedStateMachine):
    """The spool against a plain dictionary, through restarts and crashes."""

    @initialize(folder=st.uuids())
    def begin(self, folder: object) -> None:
        import tempfile

        self.folder = Path(tempfile.mkdtemp())
        self.spool = Spool(self.folder, segment_bytes=600)
        self.kept: dict[int, bytes] = {}
        self.judged: set[int] = set()
        self.count = 0

    @rule(payload=st.binary(max_size=200))
    def keep_one(self, payload: bytes) -> None:
        self.count += 1
        self.kept[keep(self.spool, self.count, payload)] = payload

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def forget_one(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.kept)))
        self.spool.forget(number)
        del self.kept[number]
        self.judged.add(number)

    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.spool = Spool(self.folder, segment_bytes=600)

    @rule()
    def crash(self) -> None:
        """Nothing put off is written: what was judged may come back, what was not is all there."""
        os.close(self.spool._file)
        self.spool = Spool(self.folder, segment_bytes=600)
        for number in list(self.spool.batches):
            if number not in self.kept:
                assert number in self.judged
                self.spool.forget(number)

    @rule()
    def tidy(self) -> None:
        self.spool.tidy()

    @invariant()
    def holds_what_it_should(self) -> None:
        if hasattr(self, "spool"):
            assert {number: batch.results[0].payload for number, batch in self.spool.batches.items()} == self.kept

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            import shutil

            os.close(self.spool._file)
            shutil.rmtree(self.folder)


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSpoolAgainstADictionary = SpoolMachine.TestCase
