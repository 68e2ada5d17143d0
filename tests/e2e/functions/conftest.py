"""A grid of this machine, one for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import crowdgrid as cg


@pytest.fixture(scope="module")
def grid() -> Iterator[cg.Grid]:
    with cg.local(agents=1, cpus=2) as started:
        yield started
