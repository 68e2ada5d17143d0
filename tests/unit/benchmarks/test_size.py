"""What `python -m benchmarks.size` says of what it found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import size
from benchmarks.peers.footprint import installed


def test_every_file_of_a_package_counts_and_the_tools_that_install_do_not(tmp_path: Path) -> None:
    files = {
        "wasmtime/lib.so": 3_000,
        "wasmtime/__pycache__/a.cpython-311.pyc": 500,
        "wasmtime-40.0.dist-info/RECORD": 100,
        "typing_extensions.py": 40,
        "pip/__init__.py": 9_000,
    }
    for name, count in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(count))
    assert installed(tmp_path) == {"wasmtime": 3_600, "typing_extensions": 40}


@pytest.mark.parametrize(("largest", "status"), [(80_000_000, 0), (101_000_000, 1)])
def test_the_total_the_largest_and_the_verdict_are_told(
    largest: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Counter({"wasmtime": largest}) + Counter({f"small{at}": 100_000 for at in range(20)})
    monkeypatch.setattr(size, "measured", lambda: found)
    assert size.main() == status
    told = capsys.readouterr().out.splitlines()
    verdict = "≤ 100 MB" if status == 0 else "more than 100 MB"
    assert told[0] == f"installed, without extras: {(largest + 2_000_000) / 1e6:.1f} MB, {verdict}"
    assert told[1].split() == [f"{largest / 1e6:.1f}", "wasmtime"]
    assert told[-1].split() == ["0.9", "9", "others"]
