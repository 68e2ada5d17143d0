"""What a function asks of the grid: checked when it is said."""

from __future__ import annotations

from typing import Any

import pytest

from crowdgrid import limits
from crowdgrid.client.codec import Plain
from crowdgrid.client.options import CALL_TARGET_MS, EPHEMERAL_MS, Options, consensus_fields
from crowdgrid.core.model import Items
from crowdgrid.errors import BadInput

DIGEST = "0" * 64


def test_defaults_ask_for_one_core_anywhere() -> None:
    request = Options().request(DIGEST, "python", (), one_by_one=False)
    assert (request.milli_cpus, request.labels, request.region, request.split) == (1000, (), "", Items(0))
    assert request.max_errors == limits.JOB_ITEMS


def test_words_of_people_become_numbers() -> None:
    options = Options(cpus=0.5, memory="1GB", timeout="2m", output="1MiB", priority=5, where=["region:eu", "label:gpu"])
    request = options.request(DIGEST, "python", ("python3.11",), one_by_one=True, name="n")
    assert (request.milli_cpus, request.memory_bytes, request.timeout_ms) == (500, 10**9, 120_000)
    assert (request.output_bytes, request.priority, request.name) == (1 << 20, 5, "n")
    assert (request.region, request.labels) == ("eu", ("gpu", "python3.11"))
    assert request.target_ms == CALL_TARGET_MS


def test_a_map_is_asked_for_the_same_way_wherever_it_comes_from() -> None:
    """Its piece and abandoned calls were once forgotten in one of the places that asked."""
    kept = Options(piece=7).map_request(Plain(), name="n", key="k", kept=True)
    assert (kept.runtime, kept.name, kept.key, kept.keep_ms) == ("python", "n", "k", 0)
    assert (kept.split, kept.allow_abandoned, kept.target_ms) == (Items(7), True, 1000)
    ours, others = (Options().map_request(Plain(), kept=False) for _ in range(2))
    assert ours.keep_ms == EPHEMERAL_MS
    assert ours.key != others.key != ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replicas": 26}, "replicas"),
        ({"replicas": "two"}, "replicas"),
        ({"replicas": 2, "error_bound": 1e-3}, "two ways"),
        ({"error_bound": -1e-3}, "error_bound"),
        ({"error_bound": 1.0}, "error_bound"),
        ({"error_bound": 1e-3, "codec": "pickle"}, "one vote"),
        ({"codec": "json"}, "codec"),
        ({"where": "mars"}, "mars"),
        ({"where": ["region:eu", "region:us"]}, "region:us"),
        ({"memory": "much"}, "much"),
        ({"timeout": "soon"}, "soon"),
    ],
)
def test_what_cannot_be_used_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Options().change(dict(wrong))


@pytest.mark.parametrize(
    ("asked", "consensus", "overlap", "error_bound"),
    [
        ({}, "single", 1, 1e-3),
        ({"replicas": 1}, "single", 1, 1e-3),
        ({"replicas": 2}, "majority", 2, 1e-3),
        ({"replicas": 3}, "majority", 4, 1e-3),
        ({"error_bound": 1e-6}, "bounded_error", 1, 1e-6),
    ],
)
def test_replicas_and_error_bounds_are_asked_for(
    asked: dict[str, object], consensus: str, overlap: int, error_bound: float
) -> None:
    """Of an overlap of 2n − 2 nodes n are a majority; what several owners' nodes run is never a pickle."""
    options = Options().change(dict(asked))
    request = options.map_request(Plain(), kept=True)
    assert (request.consensus, request.overlap, request.error_bound) == (consensus, overlap, error_bound)
    assert options.codec == ("auto" if consensus == "single" else "msgpack")


def test_an_unknown_option_names_the_one_that_is_meant() -> None:
    with pytest.raises(BadInput, match="memroy") as caught:
        Options().change({"memroy": 3})
    assert "memory" in caught.value.hint


@pytest.mark.parametrize("bound", [0, 0.0, "1e-6", 1, -1e-3, float("nan")])
def test_an_error_bound_that_is_none_is_told_and_not_taken_for_no_bound(bound: Any) -> None:
    with pytest.raises(BadInput, match="is no chance of a wrong answer"):
        Options(error_bound=bound)


def test_what_a_consensus_does_not_look_at_is_refused() -> None:
    """Whoever asks for an error bound believes it holds."""
    for consensus, field in (("single", "error_bound"), ("majority", "threshold"), ("bounded_error", "overlap")):
        with pytest.raises(BadInput, match=f"does not look at {field}"):
            consensus_fields(consensus, **{field: 0.5})


def test_a_consensus_asks_for_what_is_usual_where_nothing_is_said() -> None:
    assert consensus_fields("single") == {"consensus": "single"}
    assert consensus_fields("majority", overlap=None) == {"consensus": "majority", "overlap": 3}
    assert consensus_fields("trust_weighted", threshold=0.8) == {
        "consensus": "trust_weighted", "overlap": 3, "threshold": 0.8,
    }  # fmt: skip
    assert consensus_fields("bounded_error", error_bound=1e-6) == {"consensus": "bounded_error", "error_bound": 1e-6}
