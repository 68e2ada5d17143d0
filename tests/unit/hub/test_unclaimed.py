"""A node cannot fill the hub's disk with blobs no report names."""

from __future__ import annotations

from crowdgrid.hub.links.unclaimed import BYTES_MAX, Unclaimed


def test_what_is_put_and_never_named_is_bounded() -> None:
    """Putting uses the account up, a report that names the blob gives it back."""
    accounts = Unclaimed(lambda: 0)
    accounts.put(1, BYTES_MAX - 10)
    assert accounts.left(1) == 10
    accounts.put(1, 11)
    assert accounts.left(1) == 0
    accounts.claim(1, 100)
    assert accounts.left(1) == 99


def test_one_nodes_account_is_not_anothers() -> None:
    accounts = Unclaimed(lambda: 0)
    accounts.put(1, BYTES_MAX)
    assert accounts.left(2) == BYTES_MAX


def test_claiming_more_than_was_put_gains_nothing() -> None:
    """A blob that was here already may be named by anybody, as often as they like."""
    accounts = Unclaimed(lambda: 0)
    accounts.put(1, 5)
    accounts.claim(1, 1_000)
    accounts.claim(2, 1_000)
    assert accounts.left(1) == accounts.left(2) == BYTES_MAX


def test_accounts_start_anew_every_hour() -> None:
    """By then the collector has removed what nobody named."""
    now = 0
    accounts = Unclaimed(lambda: now)
    accounts.put(1, BYTES_MAX)
    now = 3_600_000
    assert accounts.left(1) == BYTES_MAX
