"""The experiment on real processes, as `make experiments` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.vote import HONEST, LIARS, SETTINGS, vote


def test_the_published_vote_through_rest_with_real_agents(tmp_path: Path) -> None:
    found = vote(SETTINGS[0], tmp_path)
    assert found.before == dict.fromkeys(HONEST, 7.0) | dict.fromkeys(LIARS, 3.0)
    assert (found.state, found.answer) == ("validated", "42")
    assert found.confidence == pytest.approx(14 / 23, abs=1e-12)
    assert found.after == dict.fromkeys(HONEST, 7.1) | dict.fromkeys(LIARS, 2.5)
    told = "\n".join(found.why)
    assert told.count("Its answer is another one.") == len(LIARS)
    assert told.count("It is the same answer as the one that stands, byte for byte.") == 1
    assert told.count("It is the answer that stands.") == 1
    assert "Of the trust of those who voted, 0.6087 gave this answer (trust score 6.1); 0.6 were needed." in told
