"""The kernels give known answers, whole and in pieces, and say clearly what they were asked wrongly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid import kernels
from crowdgrid.errors import NotFound
from crowdgrid.runtimes import Finished, Limits, Outcome, Run
from crowdgrid.runtimes.sandbox import Program, WasmKind

ROOT = Path(__file__).parents[2]
BLOCKS = json.loads((ROOT / "examples" / "data" / "bitcoin_headers.json").read_text())["blocks"]
LIMITS = Limits(60_000, 64 << 20, 1 << 20)


def _floods(finished: Finished | None) -> NoReturn:
    raise AssertionError(finished)


@cache
def _kernel(name: str) -> Program:
    path = kernels.path(name)
    return WasmKind(_floods, "").program(sha256(path.read_bytes()).hexdigest(), str(path))


@pytest.fixture(autouse=True, scope="module")
def _unloaded() -> Iterator[None]:
    """wasmtime's objects must go before the interpreter does."""
    yield
    _kernel.cache_clear()


def finished(name: str, *argv: object, stdin: bytes = b"") -> Finished:
    return _kernel(name).run(Run(tuple(str(each) for each in argv), stdin, LIMITS))


def answer(name: str, *argv: object, stdin: bytes = b"") -> str:
    result = finished(name, *argv, stdin=stdin)
    assert result.outcome is Outcome.OK, (result.error, result.stderr)
    return result.stdout.decode()


def number(name: str, *argv: object) -> int:
    return int(answer(name, *argv))


def pieces(start: int, stop: int, count: int) -> Iterable[tuple[int, int]]:
    return pairwise(start + (stop - start) * index // count for index in range(count + 1))


@cache
def primes_below(stop: int) -> list[int]:
    sieve = bytearray([1]) * stop
    sieve[:2] = b"\0\0"
    for p in range(2, int(stop**0.5) + 1):
        if sieve[p]:
            sieve[p * p :: p] = bytes(len(range(p * p, stop, p)))
    return [n for n in range(stop) if sieve[n]]


def count_primes(start: int, stop: int) -> int:
    """By trial of all primes up to the root: slow, simple, and nothing like the kernel."""
    window = bytearray([1]) * (stop - start)
    for p in primes_below(1_000_100):
        if p * p >= stop:
            break
        first = max(p * p, -(-start // p) * p)
        window[first - start :: p] = bytes(len(range(first, stop, p)))
    return sum(window)


# --- primes ---


def test_primes_below_a_million() -> None:
    assert number("primes", 0, 10**6) == 78_498


def test_primes_below_ten_million_in_uneven_pieces() -> None:
    bounds = [0, 1, 2, 3, 7, 40, 41, 42, 1_000, 999_983, 999_984, 7_864_320, 7_864_321, 10**7]
    assert sum(number("primes", *pair) for pair in pairwise(bounds)) == 664_579


@pytest.mark.parametrize("start", [10**10 - 200_000, 10**10, 10**12 - 70_000])
def test_primes_in_windows_far_up(start: int) -> None:
    assert number("primes", start, start + 150_001) == count_primes(start, start + 150_001)


def test_primes_of_a_window_over_several_segments_add_up() -> None:
    start, stop = 10**9 + 13, 10**9 + 30_000_000
    assert number("primes", start, stop) == sum(number("primes", *piece) for piece in pieces(start, stop, 7))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_primes_in_any_small_window(start: int, size: int) -> None:
    expected = sum(start <= p < start + size for p in primes_below(6_000))
    assert number("primes", start, start + size) == expected


# --- nonces ---


@pytest.mark.parametrize("block", BLOCKS, ids=[str(block["height"]) for block in BLOCKS])
@pytest.mark.parametrize("before", [0, 1, 2, 3, 50_000])
def test_the_winning_nonce_of_a_real_block_is_found(block: dict[str, object], before: int) -> None:
    nonce = int(str(block["nonce"]))
    assert answer("nonces", block["header"], nonce - before, nonce + 1) == f"{nonce}\n"


@pytest.mark.parametrize("block", BLOCKS, ids=[str(block["height"]) for block in BLOCKS])
def test_a_window_without_a_winner_gives_nothing_at_all(block: dict[str, object]) -> None:
    nonce = int(str(block["nonce"]))
    assert answer("nonces", block["header"], nonce - 5_001, nonce) == ""
    assert answer("nonces", block["header"], nonce + 1, nonce + 5_000) == ""
    assert answer("nonces", block["header"], nonce, nonce) == ""


def test_the_header_given_may_hold_any_nonce() -> None:
    block = BLOCKS[1]
    header = block["header"][:152] + "00000000"
    assert number("nonces", header, block["nonce"] - 3, block["nonce"] + 9) == block["nonce"]


def test_the_last_nonces_of_all_can_be_searched() -> None:
    assert answer("nonces", BLOCKS[0]["header"], (1 << 32) - 1_001, 1 << 32) == ""


@pytest.mark.parametrize("bits", [0x207FFFFF, 0x1F00FFFF, 0x2100FFFF], ids=hex)
def test_easy_targets_agree_with_hashlib(bits: int) -> None:
    """nBits as Bitcoin's test networks use them: the comparison must be right beyond the top word."""
    header = bytes.fromhex(BLOCKS[0]["header"])[:72] + bits.to_bytes(4, "little")
    target = (bits & 0x7FFFFF) << 8 * ((bits >> 24) - 3)
    for start in range(0, 40_000, 10_000):
        winners = (
            nonce
            for nonce in range(start, start + 10_000)
            if int.from_bytes(sha256(sha256(header + nonce.to_bytes(4, "little")).digest()).digest(), "little")
            <= target
        )
        first = next(winners, None)
        expected = "" if first is None else f"{first}\n"
        assert answer("nonces", header.hex() + "0" * 8, start, start + 10_000) == expected


@pytest.mark.parametrize("bits", ["00000000", "ffff801d", "00000020", "ffff7f23"])
def test_a_header_without_a_sound_target_is_refused(bits: str) -> None:
    result = finished("nonces", BLOCKS[0]["header"][:144] + bits + "0" * 8, 0, 10)
    assert result.exit_code == 2
    assert b"nBits" in result.stderr


# --- montecarlo ---


def test_the_hits_do_not_depend_on_the_split() -> None:
    whole = number("montecarlo", 7, 0, 100_000)
    assert whole == sum(number("montecarlo", 7, *piece) for piece in pieces(0, 100_000, 13))


def test_the_hits_are_near_pi() -> None:
    """10⁶ samples: the standard deviation of the estimate is 0.0016."""
    assert 4 * number("montecarlo", 2026, 0, 10**6) / 10**6 == pytest.approx(3.14159, abs=0.01)


def test_another_seed_draws_other_samples() -> None:
    assert len({number("montecarlo", seed, 0, 10_000) for seed in range(20)}) > 10


# --- collatz ---


def test_known_longest_chains() -> None:
    """OEIS A006877 and A006878: the start below each bound with the longest chain."""
    assert answer("collatz", "where", 1, 10) == "19 9\n"
    assert answer("collatz", "where", 1, 1_000) == "178 871\n"
    assert answer("collatz", "where", 1, 1_000_000) == "524 837799\n"
    assert answer("collatz", 1, 1_000_000) == "524\n"


def test_the_maximum_of_the_pieces_is_the_maximum_of_all() -> None:
    assert max(number("collatz", *piece) for piece in pieces(1, 100_000, 9)) == number("collatz", 1, 100_000)


def test_the_highest_chain_below_ten_thousand_million_fits() -> None:
    """8528817511 climbs to 18144594937356598024, just below 2⁶⁴."""
    n, steps = 8_528_817_511, 0
    while n != 1:
        n, steps = (n // 2 if n % 2 == 0 else 3 * n + 1), steps + 1
        assert n < 1 << 64
    assert number("collatz", 8_528_817_511, 8_528_817_512) == steps


# --- echo ---


def test_echo_gives_stdin_or_its_arguments() -> None:
    assert finished("echo", "a", stdin=bytes(range(256)) * 1000).stdout == bytes(range(256)) * 1000
    assert answer("echo", "a", "", "b c") == "a  b c"
    assert answer("echo") == ""


# --- words ---


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"a b", b" a\n\tb \r\n", True),
        (b"", b"  ", True),
        (b"a b", b"ab", False),
        (b"a b", b"a", False),
        (b"a", b"a b", False),
        (b"a b", b"b a", False),
        (b"\xff\x00 1", b"\xff\x00  1", True),
        (b"w " * 100_000, b"w\n" * 100_000, True),
        (b"w " * 100_000, b"w " * 99_999, False),
    ],
)
def test_words_compares_two_answers(one: bytes, other: bytes, same: bool) -> None:
    assert finished("words", len(one), stdin=one + other).exit_code == (0 if same else 1)


# --- all ---

HEADER = BLOCKS[0]["header"]


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("primes", ()),
        ("primes", (1,)),
        ("primes", (1, 2, 3)),
        ("primes", (5, 4)),
        ("primes", (-1, 4)),
        ("primes", ("", 4)),
        ("primes", ("0x1", 4)),
        ("primes", ("1.5", 4)),
        ("primes", (0, 10**14 + 1)),
        ("primes", (0, 1 << 64)),
        ("nonces", (0, 10)),
        ("nonces", (HEADER, 10, 9)),
        ("nonces", (HEADER, 0, (1 << 32) + 1)),
        ("nonces", (HEADER[:-1], 0, 10)),
        ("nonces", (HEADER + "0", 0, 10)),
        ("nonces", ("x" + HEADER[1:], 0, 10)),
        ("montecarlo", (0, 10)),
        ("montecarlo", ("seed", 0, 10)),
        ("montecarlo", (1 << 64, 0, 10)),
        ("collatz", (0, 10)),
        ("collatz", (5, 5)),
        ("collatz", (1, 10**10 + 1)),
        ("collatz", ("there", 1, 10)),
        ("words", ()),
        ("words", (1,)),  # of no answer at all
        ("words", ("two",)),
    ],
)
def test_bad_arguments_fail_with_one_clear_line(name: str, argv: tuple[object, ...]) -> None:
    result = finished(name, *argv)
    assert (result.outcome, result.exit_code, result.stdout) == (Outcome.PROGRAM_ERROR, 2, b"")
    [line] = result.stderr.decode().splitlines()
    assert line.startswith(f"usage: {name} ")


def test_kernels_are_found_by_name_and_others_are_not() -> None:
    assert kernels.names() == ("collatz", "echo", "montecarlo", "nonces", "primes", "words")
    assert kernels.path("primes").read_bytes().startswith(b"\0asm")
    with pytest.raises(NotFound, match=r"no kernel named '\.\./primes'"):
        kernels.path("../primes")


def test_every_kernel_has_its_source_and_is_small() -> None:
    sources = {path.stem for path in (ROOT / "kernels").glob("*.c")}
    assert sources == set(kernels.names())
    assert {name: size for name in kernels.names() if (size := kernels.path(name).stat().st_size) > 40_000} == {}


def test_the_check_says_what_to_install_where_no_compiler_is() -> None:
    script = ROOT / "kernels" / "check.sh"
    done = subprocess.run(
        ["/bin/sh", str(script)],
        env={"PATH": "/usr/bin:/bin", "CLANG": "/nowhere/clang"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "apt-get install clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32" in done.stderr


@pytest.mark.skipif(
    shutil.which("clang-14") is None and not os.environ.get("CI"), reason="needs the compiler kernels/README.md names"
)
def test_committed_modules_are_what_their_sources_compile_to() -> None:
    done = subprocess.run(["/bin/sh", str(ROOT / "kernels" / "check.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
