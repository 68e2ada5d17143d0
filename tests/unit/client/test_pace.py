"""How long a job still takes, told from what the hub said of it."""

from __future__ import annotations

from msgspec.structs import replace

from crowdgrid.client.pace import Pace
from crowdgrid.core.model import Counts, Items, JobSpec
from crowdgrid.protocol import messages as m


def job_info() -> m.JobInfo:
    return m.JobInfo("j", "", "o", "", "open", False, "", 0, 0, 0, Counts(), JobSpec("0" * 64, Items()))


def test_the_rest_takes_as_long_as_its_share_of_what_was_done() -> None:
    pace = Pace()
    pace.saw(0, 100.0)
    pace.saw(250, 110.0)
    job = replace(job_info(), state="sealed", counts=Counts(units=1_000, units_done=250))
    assert pace.seconds_left(job) == 30.0


def test_an_open_or_paused_job_and_one_that_stands_still_have_no_end_in_sight() -> None:
    pace = Pace()
    pace.saw(0, 100.0)
    job = replace(job_info(), state="sealed", counts=Counts(units=10, units_done=0))
    assert pace.seconds_left(job) is None
    pace.saw(0, 105.0)
    assert pace.seconds_left(job) is None
    pace.saw(5, 110.0)
    assert pace.seconds_left(replace(job, state="open")) is None
    assert pace.seconds_left(replace(job, paused=True)) is None


def test_only_the_last_half_minute_counts() -> None:
    pace = Pace()
    for second in range(100):
        pace.saw(second, float(second))
    for second in range(100, 140):
        pace.saw(99 + (second - 99) * 10, float(second))
    left = pace.seconds_left(replace(job_info(), state="sealed", counts=Counts(units=599, units_done=499)))
    assert left is not None
    assert 9.5 < left < 10.5


def test_units_opened_again_begin_the_measure_anew() -> None:
    pace = Pace()
    pace.saw(0, 0.0)
    pace.saw(100, 10.0)
    pace.saw(50, 11.0)
    assert pace.seconds_left(replace(job_info(), state="sealed", counts=Counts(units=100, units_done=50))) is None
