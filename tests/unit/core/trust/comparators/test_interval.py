"""Means agree when chance explains their difference, and no error, however false, agrees with everybody."""

from __future__ import annotations

import io
import json
import math
import random
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.trust.comparators import Content, choose
from crowdgrid.core.trust.comparators.interval import Interval
from crowdgrid.protocol.values import pack_value

Z3 = Interval(z=3.0, ratio=2.0)


def printed(one: str, other: str, how: Interval = Z3) -> bool:
    forward = how.agree(one.encode(), other.encode(), Content.OUTPUT)
    assert forward == how.agree(other.encode(), one.encode(), Content.OUTPUT)
    return forward


def returned(one: Any, other: Any, how: Interval = Z3) -> bool:
    a, b = pack_value(one), pack_value(other)
    forward = how.agree(a, b, Content.VALUE)
    assert forward == how.agree(b, a, Content.VALUE)
    return forward


def test_the_standard_error_of_the_difference_decides() -> None:
    """Errors of 3 and 4 make 5, so that means up to 15 apart agree at z = 3; overlapping intervals would allow 21."""
    assert printed("100 ± 3", "115 ± 4")
    assert not printed("100 ± 3", "115.1 ± 4")
    assert printed("100 ± 3", "104.9 ± 4", Interval(z=1.0, ratio=2.0))
    assert not printed("100 ± 3", "105.1 ± 4", Interval(z=1.0, ratio=2.0))


@pytest.mark.parametrize(
    "form",
    [
        "{} ± {}",
        "{} +- {}",
        "{} {}\n",
        "pi = {} (error {})\n",
        "[{}, {}]",
        ' {{"error": {1}, "mean": {0}}}\n',
        '{{"mean": {}, "error": {}}}',
        "[[{}, {}], [1.5, 0.5]]",
        '[{{"mean": {}, "error": {}}}]',
        "1 ± 0.1\n{} ± {}\n",
    ],
)
def test_however_it_is_printed(form: str) -> None:
    assert printed(form.format(3.14, 0.01), form.format(3.15, 0.012))
    assert not printed(form.format(3.14, 0.01), form.format(3.24, 0.01))
    assert not printed(form.format(3.14, 0.01), form.format(3.14, 0.03))
    assert not printed(form.format(3.14, 0.01), form.format(3.14, -0.01))
    assert not printed(form.format(3.14, 0.01), "3.14;0.01")
    assert Z3.problem(form.format(3.14, 0.01).encode(), Content.OUTPUT) == ""


@pytest.mark.parametrize(
    "form",
    [
        lambda m, e: [m, e],
        lambda m, e: (m, e),
        lambda m, e: {"mean": m, "error": e},
        lambda m, e: {"error": e, "mean": m},
        lambda m, e: (np.float64(m), np.float64(e)),
        lambda m, e: np.array([m, e]),
        lambda m, e: np.array([[m, e], [1.0, 0.5]], dtype="f4"),
        lambda m, e: [(m, e), (2, 1)],
        lambda m, e: ({"mean": m, "error": e}, [2, 1]),
        lambda m, e: [np.array([m, e])],
    ],
    ids=range(10),
)
def test_however_it_is_returned(form: Any) -> None:
    assert returned(form(3.14, 0.01), form(3.15, 0.012))
    assert not returned(form(3.14, 0.01), form(3.24, 0.01))
    assert not returned(form(3.14, 0.01), form(3.14, 0.03))
    assert not returned(form(3.14, 0.01), form(math.nan, 0.01))
    assert not returned(form(3.14, 0.01), [(3.14, 0.01)] * 3)
    assert Z3.problem(pack_value(form(3.14, 0.01)), Content.VALUE) == ""


def test_an_array_may_be_printed_too() -> None:
    def saved(array: Any) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()

    one, other, far = (saved(np.array([[3.14 + by, 0.01]])) for by in (0, 0.02, 0.2))
    assert Z3.agree(one, other, Content.OUTPUT)
    assert not Z3.agree(one, far, Content.OUTPUT)
    assert not Z3.agree(saved(np.array([3.14, 0.01])), one, Content.OUTPUT)
    for none in (np.zeros((2, 3)), np.zeros((0, 2)), np.zeros(3), np.array([1j, 1]), np.array(["a", "b"])):
        assert not Z3.agree(saved(none), saved(none) + b" ", Content.OUTPUT)
        assert Z3.problem(saved(none), Content.OUTPUT)


# --- what a liar may send ----------------------------------------------------------------------

HONEST = ["3.14 ± 0.010", "3.15 ± 0.012", "3.13 ± 0.009"]
LIES = ["inf", "Infinity", "nan", "-1", "-inf", "-nan", "1e300", "1e308", "1e999", "1e-320", "0", "0.1", "9" * 400]


@pytest.mark.parametrize("error", LIES)
@pytest.mark.parametrize("mean", ["3.14", "0", "nan", "inf", "1e308", "-1e308"])
def test_no_false_error_agrees_with_honest_ones(mean: str, error: str) -> None:
    for honest in HONEST:
        assert not printed(f"{mean} ± {error}", honest)
        m, e = honest.split(" ± ")
        assert not printed(f"[{mean}, {error}]", f"[{m}, {e}]")
        with_values = (float(mean), float(error)), (float(m), float(e))
        assert not returned(*with_values)


def test_a_liar_with_a_large_error_wins_nothing() -> None:
    """Without a bound on errors its group would be everybody, and as the first vote it would be delivered."""
    votes = ["0 ± 1e300", *HONEST]
    groups = [tuple(j for j, b in enumerate(votes) if a is b or printed(a, b)) for a in votes]
    assert groups[0] == (0,)
    won = choose(groups, [1.0] * len(votes))
    assert won is not None
    assert won.vote == 1
    assert won.group == (1, 2, 3)


@given(st.floats(0, 1e6), st.floats(0, 1e3))
def test_how_far_a_lie_can_be(mean: float, error: float) -> None:
    """Whoever agrees with 0 ± 1 is within z·√(1 + ratio²) of it, whatever error it claims."""
    if returned((0.0, 1.0), (mean, error)):
        assert mean <= 3 * math.sqrt(5) * (1 + 1e-12)


def test_an_error_of_zero_agrees_with_zero_only() -> None:
    assert printed("5 ± 0", "5.0 ± 0.0")
    assert not printed("5 ± 0", "5 ± 0.001")
    assert not printed("5 ± 0", "5.1 ± 0")


def test_numbers_at_the_edge_of_floats_do_not_overflow_into_agreement() -> None:
    assert not printed("1e308 ± 1e308", "-1e308 ± 1e308")
    assert printed("1e308 ± 1e307", "1.1e308 ± 1e307")
    assert not printed("1e-320 ± 0", "2e-320 ± 0")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"3.14",
        b"3.14 +- 0.01 0.02",
        b"no number",
        b"[1]",
        b"[]",
        b"[[]]",
        b"[1, 2, 3]",
        b"[1, 2, 3, 4]",
        b"[true, 1]",
        b'["1", "2"]',
        b'{"mean": 1}',
        b'{"mean": 1, "error": 2, "n": 3}',
        b'{"mean": 1, "error": null}',
        b'{"mean": 1, "mean": 2}',
        b'{"mean": [1, 2], "error": 1}',
        b"[[[1, 2]]]",
        b"[" * 100_000,
        b"[1, " * 100_001,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b"9" * (limits.INTERVALS_BYTES + 1),
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_what_is_no_mean_with_its_error_agrees_with_nothing_and_says_so(payload: bytes) -> None:
    for content in Content:
        assert "only the same bytes agree" in Z3.problem(payload, content)
        assert not Z3.agree(payload, payload, content)  # equal bytes are not asked here, see `same`
        assert not Z3.agree(payload, payload + b" ", content)
        assert not Z3.agree(b"1 1", payload, content)


@given(st.binary(max_size=60))
def test_any_bytes_can_be_compared(data: bytes) -> None:
    for content in Content:
        for other in (data, data + b"1", b"[1,2]", pack_value((1.0, 2.0))):
            assert Z3.agree(data, other, content) == Z3.agree(other, data, content)
        Z3.problem(data, content)


numbers = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)


@given(numbers, st.floats(0, 1e3), numbers, st.floats(0, 1e3))
def test_all_forms_say_the_same(a: float, ea: float, b: float, eb: float) -> None:
    forms = {
        returned([a, ea], [b, eb]),
        returned({"mean": a, "error": ea}, {"mean": b, "error": eb}),
        printed(f"{a!r} ± {ea!r}", f"{b!r} ± {eb!r}"),
        printed(json.dumps([a, ea]), json.dumps([b, eb])),
    }
    assert len(forms) == 1
    assert printed(f"{a!r} ± {ea!r}", f"{a!r} ± {ea!r}")


def test_honest_nodes_agree_as_often_as_the_docstring_says() -> None:
    """Means of 30 samples: at z = 3 and ratio 2, at most 1 in 100 pairs of honest ones is taken for different."""
    chance = random.Random(1)

    def sampled() -> tuple[float, float]:
        draws = [chance.gauss(0, 1) for _ in range(30)]
        return statistics.fmean(draws), statistics.stdev(draws) / math.sqrt(len(draws))

    assert sum(not returned(sampled(), sampled()) for _ in range(2000)) <= 20
