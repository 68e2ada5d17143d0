"""Address blocks, by which a hub may count nodes as one witness."""

from __future__ import annotations

import pytest

from crowdgrid.ids import block_of


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("10.1.2.3", "10.1.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("0.0.0.0", ""),
        ("", ""),
        ("attic.local", ""),
    ],
)
def test_block_of(address: str, block: str) -> None:
    assert block_of(address) == block
